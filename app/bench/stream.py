"""Seeded events to measure with: rows of pixels that fire together as under a moving edge, or single pixels. Knows no file."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.clock import US_PER_S
from pipeline.schema.events import Events, SensorSize, make_events

# A row of pixels that fires together has so many pixels at most: what one vector of EVT2.1 or EVT3 can say.
EDGE_PX = 32
_VGA = SensorSize(640, 480)
# Of the pixels of a row all but the first stay silent this often.
_SILENT_SHARE = 0.5
_PACKET_GROUPS = 1 << 13


@dataclass(frozen=True, slots=True)
class Stream:
    """What to make: `n_events` of a sensor of `sensor_size`, about `rate_hz` a second, in rows of up to `row_px` pixels."""

    n_events: int
    sensor_size: SensorSize = _VGA
    rate_hz: float = 10e6
    row_px: int = EDGE_PX
    seed: int = 0


def make_stream(stream: Stream) -> Iterator[Events]:
    """Packets of exactly `n_events` in all; pixels of a row share time and polarity and come from left to right."""
    rng = np.random.default_rng(stream.seed)
    now_us, n_left = 0.0, stream.n_events
    while n_left:
        n_pixels = rng.integers(1, stream.row_px + 1, _PACKET_GROUPS)
        group, step = _expand(n_pixels)
        is_kept = (step == 0) | (rng.random(group.size) >= _SILENT_SHARE)
        group, step = group[is_kept], step[is_kept]
        mean_gap_us = group.size / _PACKET_GROUPS / stream.rate_hz * US_PER_S
        t = now_us + np.cumsum(rng.exponential(mean_gap_us, _PACKET_GROUPS))
        x = rng.integers(0, stream.sensor_size.width - n_pixels + 1)
        y = rng.integers(0, stream.sensor_size.height, _PACKET_GROUPS)
        p = rng.integers(0, 2, _PACKET_GROUPS)
        events = make_events(t[group].astype(np.int64), x[group] + step, y[group], p[group])[:n_left]
        now_us, n_left = float(t[-1]), n_left - events.size
        yield events


def _expand(n_pixels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each pixel of groups of these lengths, its group and its place in the group."""
    group = np.repeat(np.arange(n_pixels.size), n_pixels)
    first = np.cumsum(n_pixels) - n_pixels
    return group, np.arange(group.size) - first[group]
