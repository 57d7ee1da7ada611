"""Filters against noise: hot pixels, background activity, refractory period. They remember something of every pixel."""

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pipeline.filters.base import Filter, FilterState
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize

# A time so long ago that no duration reaches it, and differences to it still have 64 bits.
LONG_AGO_US = -(1 << 62)


@dataclass(frozen=True, slots=True)
class HotPixels(Filter):
    """Find pixels that fire far more often than the others, and drop their events.

    Time is cut at multiples of `learn_us` after the first event. At the end of such a stretch a pixel is hot when its events in
    it are more than `factor` times those of the median pixel of the sensor (at least 1), and more than `factor` times those of
    the second busiest of its 8 neighbours: the second, so that two hot pixels side by side are found, while lines and corners
    of the scene are spared. It stays masked until a stretch ends in which it was not hot. So nothing is masked in the first
    stretch, and a stretch without any event changes nothing.
    """

    name: ClassVar[str] = "hot-pixels"
    learn_us: int = 1_000_000
    factor: int = 10

    def __post_init__(self) -> None:
        _require_positive("hot-pixels", self.learn_us)
        if self.factor < 2:
            raise UsageError(f"hot-pixels: a factor of {self.factor} would mask ordinary pixels; use 2 or more")

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:
        shape = (sensor_size.height, sensor_size.width)
        # events of each pixel in the open stretch, who is masked, begin and end of the open stretch (none yet)
        return np.zeros(shape, np.uint32), np.zeros(shape, np.bool_), np.full(2, LONG_AGO_US, np.int64)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import count_and_drop

        counts, is_hot, span_us = state.memory
        times = np.ascontiguousarray(events["t"])
        kept = np.empty_like(events)
        n = start = 0
        while start < events.size:
            if times[start] >= span_us[1]:
                self._begin_stretch(int(times[start]), state)
            # at least one, whatever the times are like
            stop = start + max(1, int(np.searchsorted(times[start:], span_us[1])))
            n += count_and_drop(events[start:stop], kept[n:], counts, is_hot)
            start = stop
        return kept[:n]

    def _begin_stretch(self, t_us: int, state: FilterState) -> None:
        """End the open stretch, if there is one, and open the one that holds `t_us`."""
        counts, is_hot, span_us = state.memory
        begin_us = int(span_us[0])
        if begin_us == LONG_AGO_US:
            begin_us = t_us
        else:
            is_hot[:] = find_hot_pixels(counts, self.factor)
            counts[:] = 0
        begin_us += (t_us - begin_us) // self.learn_us * self.learn_us
        span_us[:] = begin_us, begin_us + self.learn_us


def find_hot_pixels(counts: npt.NDArray[np.uint32], factor: int) -> npt.NDArray[np.bool_]:
    """Which pixels, bool (H, W), had far more events than the median pixel and than their neighbours; `counts` is (H, W)."""
    is_hot: npt.NDArray[np.bool_] = counts > factor * max(float(np.median(counts)), 1.0)
    if not is_hot.any():
        return is_hot
    bordered = np.pad(counts, 1)
    height, width = counts.shape
    busiest, second = np.zeros_like(counts), np.zeros_like(counts)
    for y, x in product(range(3), range(3)):
        if (y, x) != (1, 1):
            neighbour = bordered[y : y + height, x : x + width]
            second = np.maximum(second, np.minimum(busiest, neighbour))
            busiest = np.maximum(busiest, neighbour)
    # a product of 32-bit counts needs more bits
    return is_hot & (counts > second.astype(np.int64) * factor)


@dataclass(frozen=True, slots=True)
class BackgroundActivity(Filter):
    """Keep an event only if one of its 8 neighbours fired less than `delta_t_us` before it, whatever the polarities.

    Delbruck, Frame-free dynamic digital vision (2008). A pixel does not support itself; dropped events support others.
    """

    name: ClassVar[str] = "background"
    delta_t_us: int = 2_000

    def __post_init__(self) -> None:
        _require_positive("background", self.delta_t_us)

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:
        # one pixel more on every side, so that every pixel has 8 neighbours
        return (np.full((sensor_size.height + 2, sensor_size.width + 2), LONG_AGO_US, np.int64),)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import drop_background

        kept = np.empty_like(events)
        return kept[: drop_background(events, kept, state.memory[0], self.delta_t_us)]


@dataclass(frozen=True, slots=True)
class Refractory(Filter):
    """Drop the events of a pixel for `period_us` after each one that passed, whatever the polarities.

    An event exactly `period_us` later passes. Dropped events do not prolong the silence.
    """

    name: ClassVar[str] = "refractory"
    period_us: int = 1_000

    def __post_init__(self) -> None:
        _require_positive("refractory", self.period_us)

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:
        return (np.full((sensor_size.height, sensor_size.width), LONG_AGO_US, np.int64),)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import drop_refractory

        kept = np.empty_like(events)
        return kept[: drop_refractory(events, kept, state.memory[0], self.period_us)]


def _require_positive(name: str, duration_us: int) -> None:
    if duration_us <= 0:
        raise UsageError(f"{name}: a duration of {duration_us} us is too short; it must last at least 1 us")
