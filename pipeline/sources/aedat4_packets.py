"""The packets of AEDAT 4, compiled: from one to the next, unpacked if they are plain LZ4 frames, and their events delivered.

A packet is {int32 stream, int32 size} and a payload, which unpacks to a FlatBuffer: its length (uint32), the offset of its
root table, and at bytes 8 to 11 an identifier. An EVTS buffer holds one vector of 16-byte records {int64 time, int16 x, int16
y, bool ON, 3 bytes}. All offsets are checked before use: they come from outside. Knows no file.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.aedat4_records import EVENT_BYTES, decode_records
from pipeline.sources.little_endian import load16, load32, load_signed32
from pipeline.sources.lz4_frame import DAMAGED, NOT_PLAIN, SLACK_BYTES, bound, unpack_frame
from pipeline.sources.ordering import DecodeState

HEADER_BYTES = 8
# Enough of a packet to tell it from the data table.
HEAD_BYTES = 12
NONE, LZ4, ZSTD = 0, 1, 2
ANY_STREAM, NO_STREAM = -1, -2
# Larger than any packet that cameras or writers make (1 MiB and below), small enough that a forged one cannot fill the memory.
MAX_UNPACKED_BYTES = 1 << 27
# The same for what a small packet may unpack to.
_MAX_FRAME_BYTES = 1 << 25
# Why walking stopped: more bytes are needed, no room for more events, more room needed to unpack, a packet that the caller must
# unpack or keep, or something that is no packet.
NEED, FULL, GROW, ASK, STOP = 0, 1, 2, 3, 4
_GO_ON = -1
# Number of records that cannot be told before more bytes are there, besides `DAMAGED`.
_UNSEEN = -3
# Bytes at the beginning of an EVTS buffer that tell its kind and where its root is.
_HEAD_OF_EVENTS = 16

_EVTS, _TRIG, _FTAB = 0x53545645, 0x47495254, 0x42415446
_LZ4_MAGIC, _ZSTD_MAGIC = 0x184D2204, 0xFD2FB528


class Rules(NamedTuple):
    """What to deliver: the stream of events, that of triggers, how payloads are packed, and the sensor that events lie in."""

    stream: int
    trigger_stream: int
    method: int
    sensor_size: SensorSize


class Place(NamedTuple):
    """Where reading stands in a block: the packet at hand begins at `position`, `n_done` of its events were delivered.

    An open packet ends before byte `end`, and `n_left` records follow from byte `at` on, in the block or, where `n_unpacked` is
    not 0, among as many bytes that were unpacked. `n_damaged` packets of `n_damaged_bytes` in all were left out so far.
    """

    position: int = 0
    n_done: int = 0
    end: int = 0
    at: int = 0
    n_left: int = 0
    n_unpacked: int = 0
    n_damaged: int = 0
    n_damaged_bytes: int = 0


@njit(cache=True, nogil=True)
def _find_records(data: npt.NDArray[np.uint8], span: tuple[int, int], seen: int) -> tuple[int, int]:
    """First byte and number of the records of the EVTS buffer in `span`, of which the bytes before `seen` are there.

    In place of the number: `DAMAGED`, or `_UNSEEN` where that takes more bytes.
    """
    start, end = span
    outside = DAMAGED if seen == end else _UNSEEN
    root = start + 4 + load32(data, start + 4)
    if root + 4 > seen:
        return 0, outside
    vtable = root - load_signed32(data, root)
    if vtable < start:
        return 0, DAMAGED
    if vtable + 4 > seen:
        return 0, outside
    # a vtable begins with its own size and the table's, then come the places of the fields, of which there is one
    if load16(data, vtable) < 6:
        return 0, 0
    if vtable + 6 > seen:
        return 0, outside
    field = load16(data, vtable + 4)
    if field == 0:
        return 0, 0
    if root + field + 4 > seen:
        return 0, outside
    vector = root + field + load32(data, root + field)
    if vector + 4 > seen:
        return 0, outside
    n = load32(data, vector)
    return vector + 4, n if vector + 4 + n * EVENT_BYTES <= end else DAMAGED


@njit(cache=True, nogil=True)
def _opened(data: npt.NDArray[np.uint8], place: Place, at: int, n: int) -> Place:
    """The packet at hand with `n` records from byte `at` on, of which `n_done` were delivered before."""
    n_done = min(place.n_done, n)
    at += n_done * EVENT_BYTES
    end = place.position + HEADER_BYTES + load32(data, place.position + 4)
    return Place(place.position, n_done, end, at, n - n_done, place.n_unpacked, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def _delivered(place: Place, n: int) -> Place:
    """The place behind `n` more records, which is the next packet if they were the last."""
    if n == place.n_left:
        return Place(place.end, 0, 0, 0, 0, 0, place.n_damaged, place.n_damaged_bytes)
    at, n_left = place.at + n * EVENT_BYTES, place.n_left - n
    return Place(
        place.position, place.n_done + n, place.end, at, n_left, place.n_unpacked, place.n_damaged, place.n_damaged_bytes
    )


@njit(cache=True, nogil=True)
def _with_unpacked(place: Place, n_unpacked: int) -> Place:
    """The packet at hand, unpacked to so many bytes."""
    return Place(place.position, place.n_done, 0, 0, 0, n_unpacked, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def _step_over(data: npt.NDArray[np.uint8], place: Place) -> Place:
    """The place behind the packet at hand, perhaps behind all that is in `data`."""
    position = place.position + HEADER_BYTES + load32(data, place.position + 4)
    return Place(position, 0, 0, 0, 0, 0, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def _leave_out(data: npt.NDArray[np.uint8], place: Place) -> Place:
    """The place behind the packet at hand, which is damaged."""
    n_bytes = HEADER_BYTES + load32(data, place.position + 4)
    return Place(place.position + n_bytes, 0, 0, 0, 0, 0, place.n_damaged + 1, place.n_damaged_bytes + n_bytes)


@njit(cache=True, nogil=True)
def _open_buffer(
    data: npt.NDArray[np.uint8], buffer: npt.NDArray[np.uint8], span: tuple[int, int], rules: Rules, place: Place
) -> tuple[int, Place]:
    """Open the unpacked payload in `span` of `buffer`, which is `data` itself where nothing was packed."""
    start, end = span
    kind = load32(buffer, start + 8) if min(end, buffer.size) - start >= HEAD_BYTES else 0
    if end > buffer.size and (end - start < _HEAD_OF_EVENTS or start + _HEAD_OF_EVENTS > buffer.size):
        return NEED, place
    if kind == _TRIG and rules.stream == ANY_STREAM:
        return ASK, place
    if kind != _EVTS:
        return _GO_ON, _step_over(data, place)
    at, n = _find_records(buffer, span, min(end, buffer.size))
    if n == _UNSEEN:
        return NEED, place
    if n == DAMAGED:
        return _GO_ON, _leave_out(data, place)
    if n == 0:
        return _GO_ON, _step_over(data, place)
    return _GO_ON, _opened(data, place, at, n)


@njit(cache=True, nogil=True)
def _is_table(data: npt.NDArray[np.uint8], at: int, method: int) -> bool:
    """Whether the data table begins here instead of a packet: no stream id looks like the start of a compressed frame."""
    if method == NONE:
        return load32(data, at + 8) == _FTAB
    return load32(data, at) == (_LZ4_MAGIC if method == LZ4 else _ZSTD_MAGIC)


@njit(cache=True, nogil=True)
def _open_packet(
    data: npt.NDArray[np.uint8], scratch: npt.NDArray[np.uint8], rules: Rules, place: Place, n_left: int
) -> tuple[int, Place]:
    """Unpack or open the packet at `place`, or step over it; `n_left` bytes of the file follow from the start of `data` on."""
    start = place.position + HEADER_BYTES
    if place.position + HEAD_BYTES > data.size:
        return NEED, place
    stream, size = load_signed32(data, place.position), load_signed32(data, place.position + 4)
    end = start + size
    if _is_table(data, place.position, rules.method) or stream < 0 or size <= 0 or end > n_left:
        return STOP, place
    is_other = stream == rules.trigger_stream
    if stream != rules.stream and rules.stream != ANY_STREAM and not is_other:
        return _GO_ON, _step_over(data, place)
    if size > MAX_UNPACKED_BYTES:
        return _GO_ON, _leave_out(data, place)
    # records that are not packed may be delivered as they come
    if rules.method == NONE and not is_other:
        return _open_buffer(data, data, (start, end), rules, place)
    if end > data.size:
        return NEED, place
    if is_other or rules.method == ZSTD:
        return ASK, place
    return _unpack(data, scratch, (start, end), place)


@njit(cache=True, nogil=True)
def _unpack(
    data: npt.NDArray[np.uint8], scratch: npt.NDArray[np.uint8], span: tuple[int, int], place: Place
) -> tuple[int, Place]:
    n_bytes = bound(data, span[0], span[1])
    if n_bytes == NOT_PLAIN:
        return ASK, place
    if n_bytes == DAMAGED or n_bytes > _MAX_FRAME_BYTES:
        return _GO_ON, _leave_out(data, place)
    if n_bytes + SLACK_BYTES > scratch.size:
        return GROW, place
    n_unpacked = unpack_frame(data, span[0], scratch)
    if n_unpacked == DAMAGED:
        return _GO_ON, _leave_out(data, place)
    if n_unpacked == 0:
        return _GO_ON, _step_over(data, place)
    return _GO_ON, _with_unpacked(place, n_unpacked)


@njit(cache=True, nogil=True)
def _walk(
    data: npt.NDArray[np.uint8],
    scratch: npt.NDArray[np.uint8],
    words: npt.NDArray[np.uint64],
    rules: Rules,
    n_left: int,
    place: Place,
    state: DecodeState,
) -> tuple[int, int, Place, DecodeState]:
    """Deliver events from `place` on until something stops it: how many, the reason, and where it stands then."""
    n = 0
    while True:
        verdict = _GO_ON
        if place.n_left > 0:
            source = scratch if place.n_unpacked > 0 else data
            n_now = min(place.n_left, words.size // 2 - n, (source.size - place.at) // EVENT_BYTES)
            records = source[place.at : place.at + n_now * EVENT_BYTES].view(np.uint64)
            n_new, state = decode_records(records, words[2 * n :], rules.sensor_size, state)
            n += n_new
            place = _delivered(place, n_now)
            if place.n_left > 0:
                verdict = FULL if n == words.size // 2 else NEED if n_now == 0 else _GO_ON
        elif place.n_unpacked > 0:
            verdict, place = _open_buffer(data, scratch[: place.n_unpacked], (0, place.n_unpacked), rules, place)
        else:
            verdict, place = _open_packet(data, scratch, rules, place, n_left)
        if verdict != _GO_ON:
            return n, verdict, place, state


@njit(cache=True, nogil=True)
def walk(
    data: npt.NDArray[np.uint8],
    scratch: npt.NDArray[np.uint8],
    words: npt.NDArray[np.uint64],
    n_left: int,
    numbers: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Deliver events from where `numbers` stand: how many, why no more, and the byte of `data` from which on it is needed.

    `data`, uint8 (n,), are bytes of the file, `n_left` how many of it there are from their start on; payloads are unpacked to
    `scratch`, events go to `words`, uint64 (2 n,). `numbers`, those of a `Walk`, are kept up to date: named values take as long
    to hand over as thousands of events.
    """
    rules = Rules(numbers[0], numbers[1], numbers[2], SensorSize(numbers[3], numbers[4]))
    place = _place_in(numbers)
    state = DecodeState(numbers[13], numbers[14], numbers[15], numbers[16], numbers[17], numbers[18])
    n, verdict, place, state = _walk(data, scratch, words, rules, n_left, place, state)
    needed_from = place.position
    if verdict == NEED:
        needed_from = place.at if place.n_left > 0 else place.position
        place = _moved_back(place, needed_from)
    _put_place(place, numbers)
    for i in range(6):
        numbers[13 + i] = state[i]
    return n, verdict, needed_from


@njit(cache=True, nogil=True)
def resume(data: npt.NDArray[np.uint8], n_unpacked: int, numbers: npt.NDArray[np.int64]) -> None:
    """Go on after `ASK`: the packet at hand is unpacked to so many bytes, or to be stepped over (0), or `DAMAGED`."""
    place = _place_in(numbers)
    if n_unpacked > 0:
        place = _with_unpacked(place, n_unpacked)
    else:
        place = _leave_out(data, place) if n_unpacked == DAMAGED else _step_over(data, place)
    _put_place(place, numbers)


@njit(cache=True, nogil=True)
def _place_in(numbers: npt.NDArray[np.int64]) -> Place:
    return Place(numbers[5], numbers[6], numbers[7], numbers[8], numbers[9], numbers[10], numbers[11], numbers[12])


@njit(cache=True, nogil=True)
def _put_place(place: Place, numbers: npt.NDArray[np.int64]) -> None:
    for i in range(8):
        numbers[5 + i] = place[i]


@njit(cache=True, nogil=True)
def _moved_back(place: Place, n_bytes: int) -> Place:
    """The same place in a block that begins so many bytes later."""
    position, end, at = place.position - n_bytes, place.end - n_bytes, place.at - n_bytes
    return Place(position, place.n_done, end, at, place.n_left, place.n_unpacked, place.n_damaged, place.n_damaged_bytes)


class Walk:
    """Rules, place and decoder's state as the numbers that `walk` takes.

    When it stopped because bytes were `NEED`ed, the place counts from the first of them.
    """

    def __init__(self, rules: Rules, place: Place, state: DecodeState) -> None:
        self.numbers: npt.NDArray[np.int64] = np.array([*rules[:3], *rules.sensor_size, *place, *state], dtype=np.int64)

    @property
    def position(self) -> int:
        """Where the packet at hand begins."""
        return int(self.numbers[5])

    @property
    def place(self) -> Place:
        """Where reading stands."""
        return Place._make(self.numbers[5:13].tolist())

    @property
    def state(self) -> DecodeState:
        """What the decoder remembers."""
        return DecodeState._make(self.numbers[13:].tolist())
