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
from pipeline.sources.lz4_frame import DAMAGED, NOT_PLAIN, SLACK_BYTES, bound, load16, load32, unpack_frame
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    NO_RESET,
    DecodeState,
    move_to,
    order,
    signed,
)

HEADER_BYTES = 8
EVENT_BYTES = 16
# Enough of a packet to tell it from the data table.
HEAD_BYTES = 12
NONE, LZ4, ZSTD = 0, 1, 2
ANY_STREAM, NO_STREAM = -1, -2
# Larger than any packet that cameras or writers make (1 MiB and below), small enough that a forged one cannot fill the memory.
MAX_UNPACKED_BYTES = 1 << 27
# Why walking stopped: more bytes are needed, no room for more events, more room needed to unpack, a packet that the caller must
# unpack or keep, or something that is no packet.
NEED, FULL, GROW, ASK, STOP = 0, 1, 2, 3, 4
_GO_ON = -1

_EVTS, _TRIG, _FTAB = 0x53545645, 0x47495254, 0x42415446
_LZ4_MAGIC, _ZSTD_MAGIC = 0x184D2204, 0xFD2FB528
# Events checked and converted in one go; one that needs care sends them all through the careful loop.
_CHUNK = 512


class Rules(NamedTuple):
    """What to deliver: the stream of events, that of triggers, how payloads are packed, and the sensor that events lie in."""

    stream: int
    trigger_stream: int
    method: int
    sensor_size: SensorSize


class Place(NamedTuple):
    """Where reading stands in a block: the packet at hand begins at `position`, `n_done` of its events were delivered.

    Of an open packet, `n_left` records follow from byte `at` on, in the block or, where `n_unpacked` is not 0, among as many
    bytes that were unpacked. `n_damaged` packets of `n_damaged_bytes` in all were left out so far.
    """

    position: int = 0
    n_done: int = 0
    at: int = 0
    n_left: int = 0
    n_unpacked: int = 0
    n_damaged: int = 0
    n_damaged_bytes: int = 0


@njit(cache=True, nogil=True)
def _convert(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, shift_us: int, last_us: int
) -> bool:
    """Write all records as events, and say whether that was right: all lie inside the sensor, and time never falls or leaps.

    Without a branch, so that the compiler works on many events at once; where it was wrong, the careful loop begins again.
    """
    width, height = sensor_size
    previous = last_us
    wrong = 0
    for i in range(records.size // 2):
        t = signed(records[2 * i]) + shift_us
        word = signed(records[2 * i + 1])
        on = 1 if word & 0xFF00000000 else 0
        step = t - previous
        wrong |= (width - 1 - (word & 0xFFFF)) | (height - 1 - ((word >> 16) & 0xFFFF)) | step | (LEAP_US - step)
        previous = t
        words[2 * i] = (word & 0xFFFFFFFF) | (on << 32)
        words[2 * i + 1] = t
    return wrong >= 0


@njit(cache=True, nogil=True)
def _decode_with_care(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Any records, one by one; gives how many were written to `words`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    width, height = sensor_size
    n = 0
    for i in range(records.size // 2):
        word = signed(records[2 * i + 1])
        x, y = word & 0xFFFF, (word >> 16) & 0xFFFF
        if x >= width or y >= height:
            n_outside += 1
            continue
        raw = signed(records[2 * i])
        t = raw + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(raw, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        on = 1 if word & 0xFF00000000 else 0
        words[2 * n] = x | (y << 16) | (on << 32)
        words[2 * n + 1] = t
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


@njit(cache=True, nogil=True)
def _decode_events(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Records, uint64 (2 n,), to events in `words`, uint64 (2 n,) or more; gives how many there were."""
    n = 0
    for start in range(0, records.size, 2 * _CHUNK):
        chunk = records[start : start + 2 * _CHUNK]
        room = words[2 * n :]
        if _convert(chunk, room, sensor_size, state.shift_us, state.last_us):
            n += chunk.size // 2
            state = move_to(signed(words[2 * n - 1]), state)
        else:
            n_new, state = _decode_with_care(chunk, room, sensor_size, state)
            n += n_new
    return n, state


@njit(cache=True, nogil=True)
def _signed32(word: int) -> int:
    return word - ((word & 0x80000000) << 1)


@njit(cache=True, nogil=True)
def _find_records(data: npt.NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """First byte and number of the records of the EVTS buffer in `[start, end)`; the number is `DAMAGED` if it is so."""
    root = start + 4 + load32(data, start + 4)
    if root + 4 > end:
        return 0, DAMAGED
    vtable = root - _signed32(load32(data, root))
    if vtable < start or vtable + 4 > end:
        return 0, DAMAGED
    # a vtable begins with its own size and the table's, then come the places of the fields, of which there is one
    if load16(data, vtable) < 6:
        return 0, 0
    if vtable + 6 > end:
        return 0, DAMAGED
    field = load16(data, vtable + 4)
    if field == 0:
        return 0, 0
    if root + field + 4 > end:
        return 0, DAMAGED
    vector = root + field + load32(data, root + field)
    if vector + 4 > end:
        return 0, DAMAGED
    n = load32(data, vector)
    return vector + 4, n if vector + 4 + n * EVENT_BYTES <= end else DAMAGED


@njit(cache=True, nogil=True)
def _opened(place: Place, at: int, n: int, n_unpacked: int) -> Place:
    """The packet at hand with `n` records from byte `at` on, of which `n_done` were delivered before."""
    n_done = min(place.n_done, n)
    at += n_done * EVENT_BYTES
    return Place(place.position, n_done, at, n - n_done, n_unpacked, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def _delivered(place: Place, n: int) -> Place:
    at = place.at + n * EVENT_BYTES
    return Place(
        place.position, place.n_done + n, at, place.n_left - n, place.n_unpacked, place.n_damaged, place.n_damaged_bytes
    )


@njit(cache=True, nogil=True)
def with_unpacked(place: Place, n_unpacked: int) -> Place:
    """The packet at hand, unpacked to so many bytes."""
    return Place(place.position, place.n_done, 0, 0, n_unpacked, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def stream_of(data: npt.NDArray[np.uint8], place: Place) -> int:
    """Stream of the packet at hand."""
    return _signed32(load32(data, place.position))


@njit(cache=True, nogil=True)
def payload_of(data: npt.NDArray[np.uint8], place: Place) -> tuple[int, int]:
    """First byte of the payload of the packet at hand, and the byte behind it."""
    start = place.position + HEADER_BYTES
    return start, start + load32(data, place.position + 4)


@njit(cache=True, nogil=True)
def step_over(data: npt.NDArray[np.uint8], place: Place) -> Place:
    """The place behind the packet at hand, perhaps behind all that is in `data`."""
    position = place.position + HEADER_BYTES + load32(data, place.position + 4)
    return Place(position, 0, 0, 0, 0, place.n_damaged, place.n_damaged_bytes)


@njit(cache=True, nogil=True)
def leave_out(data: npt.NDArray[np.uint8], place: Place) -> Place:
    """The place behind the packet at hand, which is damaged."""
    n_bytes = HEADER_BYTES + load32(data, place.position + 4)
    return Place(place.position + n_bytes, 0, 0, 0, 0, place.n_damaged + 1, place.n_damaged_bytes + n_bytes)


@njit(cache=True, nogil=True)
def _open_buffer(
    data: npt.NDArray[np.uint8], buffer: npt.NDArray[np.uint8], span: tuple[int, int], rules: Rules, place: Place
) -> tuple[int, Place]:
    """Open the unpacked payload in `span` of `buffer`, which is `data` itself where nothing was packed."""
    start, end = span
    kind = load32(buffer, start + 8) if end - start >= HEAD_BYTES else 0
    if kind == _TRIG and rules.stream == ANY_STREAM:
        return ASK, place
    if kind != _EVTS:
        return _GO_ON, step_over(data, place)
    at, n = _find_records(buffer, start, end)
    if n == DAMAGED:
        return _GO_ON, leave_out(data, place)
    if n == 0:
        return _GO_ON, step_over(data, place)
    return _GO_ON, _opened(place, at, n, place.n_unpacked)


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
    stream, size = _signed32(load32(data, place.position)), _signed32(load32(data, place.position + 4))
    end = start + size
    if _is_table(data, place.position, rules.method) or stream < 0 or size <= 0 or end > n_left:
        return STOP, place
    is_other = stream == rules.trigger_stream
    if stream != rules.stream and rules.stream != ANY_STREAM and not is_other:
        return _GO_ON, step_over(data, place)
    if size > MAX_UNPACKED_BYTES:
        return _GO_ON, leave_out(data, place)
    if end > data.size:
        return NEED, place
    if is_other or rules.method == ZSTD:
        return ASK, place
    if rules.method == NONE:
        return _open_buffer(data, data, (start, end), rules, place)
    return _unpack(data, scratch, (start, end), place)


@njit(cache=True, nogil=True)
def _unpack(
    data: npt.NDArray[np.uint8], scratch: npt.NDArray[np.uint8], span: tuple[int, int], place: Place
) -> tuple[int, Place]:
    n_bytes = bound(data, span[0], span[1])
    if n_bytes == NOT_PLAIN:
        return ASK, place
    if n_bytes == DAMAGED or n_bytes > MAX_UNPACKED_BYTES:
        return _GO_ON, leave_out(data, place)
    if n_bytes + SLACK_BYTES > scratch.size:
        return GROW, place
    n_unpacked = unpack_frame(data, span[0], scratch)
    if n_unpacked == DAMAGED:
        return _GO_ON, leave_out(data, place)
    if n_unpacked == 0:
        return _GO_ON, step_over(data, place)
    return _GO_ON, with_unpacked(place, n_unpacked)


@njit(cache=True, nogil=True)
def walk(
    data: npt.NDArray[np.uint8],
    scratch: npt.NDArray[np.uint8],
    words: npt.NDArray[np.uint64],
    rules: Rules,
    n_left: int,
    place: Place,
    state: DecodeState,
) -> tuple[int, int, Place, DecodeState]:
    """Deliver events from `place` on until something stops it: how many, the reason, and where it stands then.

    `data`, uint8 (n,), are bytes of the file, `n_left` how many of it there are from their start on; payloads are unpacked to
    `scratch`, events go to `words`, uint64 (2 n,).
    """
    n = 0
    while True:
        verdict = _GO_ON
        if place.n_left > 0:
            source = scratch if place.n_unpacked > 0 else data
            n_now = min(place.n_left, words.size // 2 - n)
            records = source[place.at : place.at + n_now * EVENT_BYTES].view(np.uint64)
            n_new, state = _decode_events(records, words[2 * n :], rules.sensor_size, state)
            n += n_new
            place = _delivered(place, n_now)
            if place.n_left == 0:
                place = step_over(data, place)
            elif n == words.size // 2:
                verdict = FULL
        elif place.n_unpacked > 0:
            verdict, place = _open_buffer(data, scratch, (0, place.n_unpacked), rules, place)
        else:
            verdict, place = _open_packet(data, scratch, rules, place, n_left)
        if verdict != _GO_ON:
            return n, verdict, place, state
