"""How fast are events counted into spike frames? 640x480 pixels, bins of 10 ms, beside the rate of reading the same memory."""

from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from app.bench.stream import Stream, make_stream
from app.bench.timing import one_core, summarise, time_runs
from pipeline.binning import TimeBinner
from pipeline.schema.events import Events, SensorSize

DELTA_T_US = 10_000


def count_frames(packets: list[Events], sensor_size: SensorSize) -> int:
    """Bin packets, and drop each frame before the next is asked for; how many frames there were."""
    binner = TimeBinner(sensor_size, sensor_size, DELTA_T_US)
    frames = chain(chain.from_iterable(map(binner.push, packets)), binner.flush())
    return 1 + max(map(attrgetter("seq"), frames), default=-1)


def measure(n_events: int, repeats: int) -> dict[str, Any]:
    """Rate of binning, and the time to read every record once and fill every frame once as a share of the time taken."""
    stream = Stream(n_events)
    packets = list(make_stream(stream))
    with one_core():
        binning = summarise(time_runs(partial(count_frames, packets, stream.sensor_size), repeats), n_events)
        n_frames = count_frames(packets, stream.sensor_size)
        limit = summarise(time_runs(partial(_read_and_fill, packets, n_frames, stream.sensor_size), repeats), n_events)
    share = limit["median_s"] / binning["median_s"]
    return {
        "name": f"{stream.sensor_size.width}x{stream.sensor_size.height}, {DELTA_T_US / 1000:g} ms, {n_frames} frames",
        **binning,
        "limit_mev_s": limit["mev_s"],
        "share_of_limit": round(share, 3),
    }


def _read_and_fill(packets: list[Events], n_frames: int, sensor_size: SensorSize) -> None:
    for events in packets:
        events.view(np.uint64).max()
    for _ in range(n_frames):
        np.empty(2 * sensor_size.width * sensor_size.height, dtype=np.uint8).fill(1)
