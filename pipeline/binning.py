"""Cuts events into time bins and counts them into SpikeFrames. Training, replay and live all use this file.

Bins begin at the stamp of the first event and are `delta_t_us` long, so the frames do not depend on how events were split into
packets. Knows no clock, no file and no queue.
"""

from collections.abc import Callable, Iterator
from itertools import chain
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
# Events located by the same instructions: two of the widest registers there are.
_LANES = 16
# The lower half of a number of 64 bits.
_LOW = 0xFFFFFFFF
# Place of an event outside the sensor: behind every cell.
_NOWHERE = 1 << 30
# Pixels times cells of one axis, beyond which `_divide` is not exact any more.
_MAX_PIXELS_TIMES_CELLS = 1 << 30
# One to be filled, and one that its receiver still looks at.
_MAX_SHEETS = 2

Places = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]
# Sensor and frame as the compiled code takes them: width and height in pixels, factors and shifts of x and of y (`_divide`),
# cells in a row and in a plane. Without names, because named values take longer to hand over.
Grid = tuple[int, int, int, int, int, int, int, int]


def _divide(n_pixels: int, n_cells: int) -> tuple[int, int]:
    """Factor and shift with which `pixel * factor >> shift` is `pixel * n_cells // n_pixels` for every pixel.

    The factor is cells a pixel with as many binary places as fit into 32 bits, rounded up by less than 1. What that adds to a
    product is less than n_pixels, which stays below the next whole cell because n_pixels ** 2 <= 1 << shift.
    """
    shift = ((n_pixels << 31) // n_cells).bit_length() - 1
    return -(-(n_cells << shift) // n_pixels), shift


def _grid(sensor_size: SensorSize, frame_size: SensorSize) -> Grid:
    (x_factor, x_shift), (y_factor, y_shift) = map(_divide, sensor_size, frame_size)
    n_cells = frame_size.width * frame_size.height
    return *sensor_size, x_factor, y_factor, x_shift, y_shift, frame_size.width, n_cells


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


@intrinsic
def _vector_places(_: Any, events: Any, grid: Any, places: Any, index: Any) -> Any:
    """Write where in the counts `_LANES` events from `index` on belong, to the same indices of `places`.

    Gives a number that is not 0 when some lie outside the sensor, which belong `_NOWHERE`. Spelled in vectors because the
    compiler, left to itself, picks the events apart one by one: three times slower.
    """
    numbers, bits = ir.VectorType(ir.IntType(64), _LANES), ir.VectorType(ir.IntType(32), _LANES)

    def constant(value: int) -> Any:
        return ir.Constant(numbers, [value] * _LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(which: int, kind: Any) -> Any:
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.bitcast(builder.gep(array.data, [arguments[3]]), kind.as_pointer())

        def spread(field: int) -> Any:
            # numbers known to have 32 bits are multiplied three times as fast
            value = builder.and_(builder.extract_value(arguments[1], field), ir.IntType(64)(_LOW))
            one = builder.insert_element(ir.Constant(numbers, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, ir.Constant(bits, [0] * _LANES))

        def cell(pixel: Any, factor: Any, shift: Any) -> Any:
            return builder.lshr(builder.mul(pixel, factor), shift)

        width, height, x_factor, y_factor, x_shift, y_shift, row_cells, plane_cells = (spread(field) for field in range(8))
        words = pointer(0, numbers)
        halves = [builder.load(builder.gep(words, [ir.IntType(32)(half)]), align=8) for half in range(2)]
        # of the two words of an event the first holds x, y and p
        pixel = builder.shuffle_vector(*halves, ir.Constant(bits, [2 * lane for lane in range(_LANES)]))
        x = builder.and_(pixel, constant(0xFFFF))
        y = builder.and_(builder.lshr(pixel, constant(16)), constant(0xFFFF))
        is_on = builder.icmp_unsigned("!=", builder.and_(pixel, constant(0xFF << 32)), constant(0))
        place = builder.add(builder.mul(cell(y, y_factor, y_shift), row_cells), cell(x, x_factor, x_shift))
        place = builder.add(place, builder.select(is_on, plane_cells, constant(0)))
        is_outside = builder.or_(builder.icmp_unsigned(">=", x, width), builder.icmp_unsigned(">=", y, height))
        place = builder.select(is_outside, constant(_NOWHERE), place)
        builder.store(builder.trunc(place, bits), pointer(2, bits), align=4)
        return builder.zext(builder.bitcast(is_outside, ir.IntType(_LANES)), ir.IntType(64))

    return types.int64(events, grid, places, index), generate


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
def _locate_lanes(events: Events, grid: Grid, places: Places, index: int) -> int:
    return _vector_places(events, grid, places, index)  # type: ignore[call-arg] # the first argument is the compiler's


@njit(cache=True, nogil=True)
def _locate(events: Events, grid: Grid, places: Places) -> int:
    """Write where in the counts each of a few events belongs, uint32 (n,), and give how many belong somewhere at all.

    `places` has room for `_LANES` at least.
    """
    n = events.size
    if n < _LANES:
        few = np.zeros(_LANES, events.dtype)
        few[:n] = events
        outside = _locate_lanes(few, grid, places, 0)
    else:
        # the last ones once more, together with those before them
        outside = _locate_lanes(events, grid, places, n - _LANES)
        for i in range(0, n - _LANES, _LANES):
            outside |= _locate_lanes(events, grid, places, i)
    if outside == 0:
        return n
    n_inside = 0
    for i in range(n):
        places[n_inside] = places[i]
        n_inside += places[i] != _NOWHERE
    return n_inside


@njit(cache=True, nogil=True)
def _increment(counts: Counts, places: Places, coming: Events) -> None:
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
def _increment_one(counts: Counts, place: int) -> None:
    # unsigned, because signed indices are checked for being counted from the end
    count = counts[np.uint64(place)]
    counts[np.uint64(place)] = count + np.uint8(count < MAX_COUNT)


@njit(cache=True, nogil=True)
def _count(events: Events, start: int, span_us: tuple[int, int], grid: Grid, counts: Counts) -> tuple[int, int]:
    """Count events from index `start` on into one bin until one belongs to a later bin.

    `counts` is uint8 (2 * H * W,), OFF first, saturating. Gives the index of the first event not taken, and how many were
    dropped for lying before the bin or outside the sensor.
    """
    start_us, end_us = span_us
    places = np.empty(_BLOCK_EVENTS, np.uint32)
    is_late = start < events.size and events[start].t < start_us
    first = _first_at(events, start, events.size, start_us) if is_late else start
    n_dropped = first - start
    while first < events.size:
        stop = min(first + _BLOCK_EVENTS, events.size)
        if events[stop - 1].t >= end_us:
            stop = _first_at(events, first, stop, end_us)
        n = _locate(events[first:stop], grid, places)
        n_dropped += stop - first - n
        _increment(counts, places[:n], events[stop : stop + _BLOCK_EVENTS])
        if stop < min(first + _BLOCK_EVENTS, events.size):
            return stop, n_dropped
        first = stop
    return first, n_dropped


def _check(sensor_size: SensorSize, frame_size: SensorSize, delta_t_us: int) -> None:
    """Raise UsageError for sizes and durations that make no frames."""
    if delta_t_us <= 0:
        raise UsageError(f"a time bin of {delta_t_us} us is too short; it must last at least 1 us")
    if min(*sensor_size, *frame_size) <= 0:
        raise UsageError(f"cannot bin {tuple(sensor_size)} pixels into frames of {tuple(frame_size)}; both need a size")
    most = max(pixels * cells for pixels, cells in zip(sensor_size, frame_size, strict=True))
    if 2 * frame_size.width * frame_size.height > _NOWHERE or most > _MAX_PIXELS_TIMES_CELLS:
        raise UsageError(f"frames of {frame_size.width}x{frame_size.height} are too large; choose smaller ones (--size)")


def _is_free(sheet: bytearray) -> bool:
    """Whether no array shows this memory any more: as long as one does, Python refuses to resize it."""
    try:
        sheet.append(0)
    except BufferError:
        return False
    sheet.pop()
    return True


class _Sheets:
    """Memory for the counts of frames, used again once nobody can see it any more.

    New memory would cost as much as counting: the system hands it out page by page, and it lies in no cache.
    """

    def __init__(self, n_cells: int) -> None:
        self._n_cells = n_cells
        self._sheets: list[bytearray] = []

    def take(self) -> Counts:
        """Zeros, uint8 (n_cells,), that nothing else shows."""
        sheet = next(filter(_is_free, self._sheets), None)
        if sheet is None:
            sheet = bytearray(self._n_cells)
            # what somebody keeps for long gives way
            self._sheets = [*self._sheets[1 - _MAX_SHEETS :], sheet]
        counts = np.frombuffer(memoryview(sheet), dtype=np.uint8)
        counts.fill(0)
        return counts


class TimeBinner:
    """Events in, SpikeFrames out; remembers the open bin between calls.

    `push`, `advance` and `flush` give iterators that must be run to their end before the next call: a long silence is then many
    empty frames made one at a time, not a list that fills the memory. `sensor_size` is that of the events, `frame_size` that of
    the frames: column x goes to x * W // width, rows alike.

    The counts of a frame never change while anything refers to them. Who drops each frame before asking for the next one is
    served fastest, for its memory is then used again. `memory`, if given, is asked for the counts of each frame in turn: zeros,
    uint8 (2 * H * W,), contiguous.
    """

    def __init__(
        self,
        sensor_size: SensorSize,
        frame_size: SensorSize,
        delta_t_us: int,
        memory: Callable[[], Counts] | None = None,
    ) -> None:
        _check(sensor_size, frame_size, delta_t_us)
        self._delta_t_us = delta_t_us
        self._shape = (2, frame_size.height, frame_size.width)
        self._grid = _grid(sensor_size, frame_size)
        self._start_us: int | None = None
        self._seq = 0
        self._take_memory = memory or _Sheets(2 * frame_size.width * frame_size.height).take
        self._counts: Counts | None = None
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
            self._counts = self._take_memory()
        span_us = (self._start_us, self._start_us + self._delta_t_us)
        stop, n_dropped = _count(events, start, span_us, self._grid, self._counts)
        self._n_events += stop - start - n_dropped
        self._n_dropped += n_dropped
        return int(stop)

    def _close(self) -> SpikeFrame:
        """The open bin as a frame; opens the next one."""
        assert self._start_us is not None
        counts = self._counts if self._counts is not None else self._take_memory()
        end_us = self._start_us + self._delta_t_us
        frame = SpikeFrame(counts.reshape(self._shape), self._start_us, end_us, self._seq, self._n_events, self._n_dropped)
        self._start_us, self._seq = end_us, self._seq + 1
        self._counts, self._n_events, self._n_dropped = None, 0, 0
        return frame


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
    _check(sensor_size, frame_size, delta_t_us)
    plane = (2, frame_size.height, frame_size.width)
    if events.size == 0:
        return np.zeros((0, *plane), dtype=np.uint8), np.zeros(0, dtype=np.int64)
    first_us = int(events["t"][0])
    n_time_bins = count_time_bins(first_us, int(events["t"].max()), delta_t_us)
    check_memory(n_time_bins, frame_size)
    counts = np.zeros((n_time_bins, *plane), dtype=np.uint8)
    binner = TimeBinner(sensor_size, frame_size, delta_t_us, iter(counts.reshape(n_time_bins, -1)).__next__)
    for _ in chain(binner.push(events), binner.flush()):
        pass
    return counts, first_us + np.arange(n_time_bins, dtype=np.int64) * delta_t_us
