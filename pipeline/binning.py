"""Cuts events into time bins and counts them into SpikeFrames. Training, replay and live all use this file.

Bins begin at the stamp of the first event and are `delta_t_us` long, so the frames do not depend on how events were split into
packets. Knows no clock, no file and no queue.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize
from pipeline.schema.frames import SpikeFrame

MAX_COUNT = 255
# Frames of one recording in memory; above this a typing error is likelier than a wish.
MAX_COUNTS_BYTES = 4_000_000_000


@njit(cache=True, nogil=True)
def _count(
    events: Events,
    start: int,
    span_us: tuple[int, int],
    places: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
    counts: npt.NDArray[np.uint8],
) -> tuple[int, int]:
    """Count events from index `start` on into one bin until one belongs to a later bin.

    `counts` is uint8 (2 * H * W,), OFF first, saturating; `places` are the parts of a place in it that belong to x and to y.
    Gives the index of the first event not taken, and how many were dropped for lying before the bin or outside the sensor.
    """
    start_us, end_us = span_us
    columns, rows = places
    n_cells = np.uint64(counts.size // 2)
    n_dropped = 0
    i = start
    while i < events.size:
        event = events[i]
        if event.t >= end_us:
            break
        i += 1
        if event.t < start_us or event.x >= columns.size or event.y >= rows.size:
            n_dropped += 1
            continue
        # unsigned, because signed indices are checked for being counted from the end
        place = np.uint64(rows[event.y]) + np.uint64(columns[event.x]) + np.uint64(event.p != 0) * n_cells
        count = counts[place]
        counts[place] = count + np.uint8(count < MAX_COUNT)
    return i, n_dropped


class TimeBinner:
    """Events in, SpikeFrames out; remembers the open bin between calls.

    `push`, `advance` and `flush` give iterators that must be run to their end before the next call: a long silence is then many
    empty frames made one at a time, not a list that fills the memory. Each frame owns its array. `sensor_size` is that of the
    events, `frame_size` that of the frames: column x goes to x * W // width, rows alike.
    """

    def __init__(self, sensor_size: SensorSize, frame_size: SensorSize, delta_t_us: int) -> None:
        if delta_t_us <= 0:
            raise UsageError(f"a time bin of {delta_t_us} us is too short; it must last at least 1 us")
        if min(*sensor_size, *frame_size) <= 0:
            raise UsageError(f"cannot bin {tuple(sensor_size)} pixels into frames of {tuple(frame_size)}; both need a size")
        self._delta_t_us = delta_t_us
        self._shape = (2, frame_size.height, frame_size.width)
        columns, rows = _cells(sensor_size.width, frame_size.width), _cells(sensor_size.height, frame_size.height)
        self._places = (columns.astype(np.uint32), (rows * frame_size.width).astype(np.uint32))
        self._start_us: int | None = None
        self._seq = 0
        self._counts: npt.NDArray[np.uint8] | None = None
        self._n_events = 0
        self._n_dropped = 0

    def push(self, events: Events) -> Iterator[SpikeFrame]:
        """Every bin that these events close; an event on the edge closes the bin before it.

        `events` is EVENT_DTYPE (n,), non-decreasing in t. Events before the open bin are dropped and counted in its frame.
        """
        assert events.dtype == EVENT_DTYPE
        events = np.ascontiguousarray(events)
        if events.size == 0:
            return
        if self._start_us is None:
            self._start_us = int(events["t"][0])
        i = 0
        while True:
            i = self._take(events, i)
            if i == events.size:
                return
            yield self._close()

    def advance(self, until_us: int) -> Iterator[SpikeFrame]:
        """Every bin that ends at or before `until_us`: sensor time got there although no event said so.

        Nothing before the first event, which alone says where bins begin.
        """
        while self._start_us is not None and self._start_us + self._delta_t_us <= until_us:
            yield self._close()

    def flush(self) -> Iterator[SpikeFrame]:
        """The last bin, if it holds anything, as long as the others; the next event then begins a new row of bins."""
        if self._start_us is not None and self._n_events + self._n_dropped:
            yield self._close()
        self._start_us = None

    def _take(self, events: Events, start: int) -> int:
        """Count events from index `start` on into the open bin; gives the index of the first one after it."""
        assert self._start_us is not None
        if self._counts is None:
            self._counts = np.zeros(self._shape, dtype=np.uint8)
        span_us = (self._start_us, self._start_us + self._delta_t_us)
        stop, n_dropped = _count(events, start, span_us, self._places, self._counts.reshape(-1))
        self._n_events += stop - start - n_dropped
        self._n_dropped += n_dropped
        return int(stop)

    def _close(self) -> SpikeFrame:
        """The open bin as a frame; opens the next one."""
        assert self._start_us is not None
        counts = self._counts if self._counts is not None else np.zeros(self._shape, dtype=np.uint8)
        end_us = self._start_us + self._delta_t_us
        frame = SpikeFrame(counts, self._start_us, end_us, self._seq, self._n_events, self._n_dropped)
        self._start_us, self._seq = end_us, self._seq + 1
        self._counts, self._n_events, self._n_dropped = None, 0, 0
        return frame


def _cells(n_pixels: int, n_cells: int) -> npt.NDArray[np.int64]:
    """Cell of each pixel along one axis, int64 (n_pixels,)."""
    return np.arange(n_pixels, dtype=np.int64) * n_cells // n_pixels


def count_time_bins(first_us: int, last_us: int, delta_t_us: int) -> int:
    """How many bins cover the stamps from the first to the last event, both included."""
    return (last_us - first_us) // delta_t_us + 1


def check_memory(n_time_bins: int, frame_size: SensorSize) -> None:
    """Raise UsageError when that many frames would fill the memory."""
    n_bytes = n_time_bins * 2 * frame_size.height * frame_size.width
    if n_bytes > MAX_COUNTS_BYTES:
        raise UsageError(
            f"{n_time_bins} frames of {frame_size.width}x{frame_size.height} are {n_bytes / 1e9:.1f} GB; "
            "take longer bins (--delta-t), smaller frames (--size), or cut the recording"
        )


def bin_events(
    events: Events, sensor_size: SensorSize, frame_size: SensorSize, delta_t_us: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """All bins of a stretch of events at once: counts, uint8 (T, 2, H, W), OFF first, and start_us, int64 (T,).

    The same frames as `TimeBinner` gives; T is 0 without events. UsageError when they would fill the memory.
    """
    binner = TimeBinner(sensor_size, frame_size, delta_t_us)
    if events.size == 0:
        return np.zeros((0, 2, frame_size.height, frame_size.width), dtype=np.uint8), np.zeros(0, dtype=np.int64)
    first_us = int(events["t"][0])
    n_time_bins = count_time_bins(first_us, int(events["t"].max()), delta_t_us)
    check_memory(n_time_bins, frame_size)
    counts = np.zeros((n_time_bins, 2, frame_size.height, frame_size.width), dtype=np.uint8)
    for frames in (binner.push(events), binner.flush()):
        for frame in frames:
            counts[frame.seq] = frame.counts
    return counts, first_us + np.arange(n_time_bins, dtype=np.int64) * delta_t_us
