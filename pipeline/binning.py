"""Cuts events into time bins and counts them into SpikeFrames. Training, replay and live all use this file.

Bins begin at the stamp of the first event and are `delta_t_us` long, so the frames do not depend on how events were split into
packets. Knows no clock, no file and no queue.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from pipeline.schema.errors import UsageError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize
from pipeline.schema.frames import SpikeFrame

MAX_COUNT = 255
# Frames of one recording in memory; above this a typing error is likelier than a wish.
MAX_COUNTS_BYTES = 4_000_000_000
# Events located before they are counted: few enough that they, the next ones and their places stay in the first-level cache.
_BLOCK_EVENTS = 512
# Events in one line of the cache, 64 bytes.
_LINE_EVENTS = 4
# Part of a place that belongs to a pixel outside the sensor: behind every cell, and the sum of two still has 32 bits.
_NOWHERE = 1 << 30

Places = npt.NDArray[np.uint32]


@intrinsic
def _prefetch(_: Any, events: Any, index: Any) -> Any:
    """Ask the processor for one of the events before it is needed; waits for nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        event = builder.bitcast(builder.gep(array.data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        # to read, into every level of the cache, as data
        builder.call(prefetch, [event, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(events, index), generate


@njit(cache=True, nogil=True)
def _first_at(events: Events, start: int, stop: int, t_us: int) -> int:
    """Index in `[start, stop)` of the first event at or after `t_us`; `stop` when there is none."""
    while start < stop:
        middle = (start + stop) // 2
        if events[middle].t < t_us:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True, nogil=True)
def _locate_pixels(events: Events, size: tuple[int, int], n_cells: int, places: Places) -> bool:
    """Write where in the counts each of a few events belongs, uint32 (n,), when every pixel is a cell of its own.

    False when some lie outside the sensor; their places are then wrong. Only sums and products of 32 bits and no branch, so
    that the loop becomes vector instructions.
    """
    width, height = np.uint32(size[0]), np.uint32(size[1])
    outside = np.uint32(0)
    for i in range(events.size):
        event = events[i]
        x, y = np.uint32(event.x), np.uint32(event.y)
        is_on = np.uint32(np.uint32(event.p) + np.uint32(255)) >> np.uint32(8)
        on_plane = np.uint32(np.uint32(0) - is_on) & np.uint32(n_cells)
        places[i] = np.uint32(np.uint32(y * width) + x) + on_plane
        # the highest bit is set where the difference is below zero
        outside |= np.uint32(width - np.uint32(1) - x) | np.uint32(height - np.uint32(1) - y)
    return bool(outside >> np.uint32(31) == 0)


@njit(cache=True, nogil=True)
def _locate_cells(events: Events, axes: tuple[Places, Places], n_cells: int, places: Places) -> int:
    """Write where in the counts each of a few events belongs, uint32 (n,), and give how many belong somewhere at all.

    `axes` holds the parts of a place that belong to x and to y; their last entries are for coordinates outside the sensor.
    Events outside are taken out in a second loop, so that the first has no branch.
    """
    columns, rows = axes
    width, height = np.uint32(columns.size - 1), np.uint32(rows.size - 1)
    n_places = np.uint32(2 * n_cells)
    n_outside = 0
    for i in range(events.size):
        event = events[i]
        column = columns[np.uint64(min(np.uint32(event.x), width))]
        row = rows[np.uint64(min(np.uint32(event.y), height))]
        place = column + row + (np.uint32(n_cells) if event.p != 0 else np.uint32(0))
        places[i] = place
        n_outside += place >= n_places
    if n_outside == 0:
        return events.size
    n = 0
    for i in range(events.size):
        if places[i] < n_places:
            places[n] = places[i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def _increment(counts: npt.NDArray[np.uint8], places: Places, coming: Events) -> None:
    """Count one more at each place, no further than MAX_COUNT; meanwhile fetch the events that come next."""
    n_lines = places.size // _LINE_EVENTS
    for line in range(n_lines):
        if line * _LINE_EVENTS < coming.size:
            _prefetch(coming, line * _LINE_EVENTS)  # type: ignore[call-arg] # the first argument is the compiler's
        for i in range(_LINE_EVENTS):
            _increment_one(counts, places[np.uint64(line * _LINE_EVENTS + i)])
    for i in range(n_lines * _LINE_EVENTS, places.size):
        _increment_one(counts, places[i])


@njit(cache=True, nogil=True)
def _increment_one(counts: npt.NDArray[np.uint8], place: int) -> None:
    # unsigned, because signed indices are checked for being counted from the end
    count = counts[np.uint64(place)]
    counts[np.uint64(place)] = count + np.uint8(count < MAX_COUNT)


@njit(cache=True, nogil=True)
def _count(
    events: Events,
    start: int,
    span_us: tuple[int, int],
    axes: tuple[Places, Places],
    counts: npt.NDArray[np.uint8],
    is_whole: bool,
) -> tuple[int, int]:
    """Count events from index `start` on into one bin until one belongs to a later bin.

    `counts` is uint8 (2 * H * W,), OFF first, saturating; `is_whole` when every pixel is a cell. Gives the index of the first
    event not taken, and how many were dropped for lying before the bin or outside the sensor.
    """
    start_us, end_us = span_us
    size = (axes[0].size - 1, axes[1].size - 1)
    places = np.empty(_BLOCK_EVENTS, np.uint32)
    is_late = start < events.size and events[start].t < start_us
    first = _first_at(events, start, events.size, start_us) if is_late else start
    n_dropped = first - start
    while first < events.size:
        stop = min(first + _BLOCK_EVENTS, events.size)
        if events[stop - 1].t >= end_us:
            stop = _first_at(events, first, stop, end_us)
        n, n_cells = stop - first, counts.size // 2
        if not (is_whole and _locate_pixels(events[first:stop], size, n_cells, places)):
            n = _locate_cells(events[first:stop], axes, n_cells, places)
        n_dropped += stop - first - n
        _increment(counts, places[:n], events[stop : stop + _BLOCK_EVENTS])
        if stop < min(first + _BLOCK_EVENTS, events.size):
            return stop, n_dropped
        first = stop
    return first, n_dropped


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
        if 2 * frame_size.width * frame_size.height > _NOWHERE:
            raise UsageError(f"frames of {frame_size.width}x{frame_size.height} are too large; choose smaller ones (--size)")
        self._delta_t_us = delta_t_us
        self._shape = (2, frame_size.height, frame_size.width)
        self._axes = (
            _parts(sensor_size.width, frame_size.width, 1),
            _parts(sensor_size.height, frame_size.height, frame_size.width),
        )
        self._is_whole = sensor_size == frame_size
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
        stop, n_dropped = _count(events, start, span_us, self._axes, self._counts.reshape(-1), self._is_whole)
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


def _parts(n_pixels: int, n_cells: int, stride: int) -> Places:
    """What each pixel of one axis adds to a place, uint32 (n_pixels + 1,); the last entry is for pixels outside."""
    cells = np.arange(n_pixels, dtype=np.int64) * n_cells // n_pixels
    return np.append(cells * stride, _NOWHERE).astype(np.uint32)


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
