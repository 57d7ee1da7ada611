"""AEDAT 3.1 and 3.0, as cAER and libcaer write them: text lines, then little-endian packets.

Layout: `#` lines up to `#!END-HEADER` (3.0 has no such line), then packets of a 28-byte header {int16 type, int16 source, int32
event size, int32 offset of the time, int32 overflow counter, int32 capacity, int32 number, int32 valid} and a body of capacity
times event size. Time is the counter << 31 plus the 31 bits of the event. 3.0 counts y from the bottom and has other shifts.
"""

import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.chips import CHIPS, find_chip, require_chip
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, DecodeState, allocate, order, signed

MAGICS = {b"#!AER-DAT3.0": "AEDAT 3.0", b"#!AER-DAT3.1": "AEDAT 3.1"}
_MAGIC_BYTES = 12
END_OF_HEADER = b"#!END-HEADER"
PACKET_HEADER_BYTES = 28
SPECIAL, POLARITY = 0, 1
EVENT_BYTES = 8
ANY_SOURCE = -1
_TIMESTAMP_RESET = 1
_MAX_LINE_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 22
# Events that are read one by one are 8 bytes long; leave room for wider ones, none for nonsense.
_MAX_EVENT_BYTES = 64


class WordLayout(NamedTuple):
    """Where the data word of a polarity event keeps x and y; `is_y_up` when y counts from the bottom."""

    x_shift: int
    x_mask: int
    y_shift: int
    y_mask: int
    is_y_up: bool


LAYOUT_3_1 = WordLayout(x_shift=17, x_mask=0x7FFF, y_shift=2, y_mask=0x7FFF, is_y_up=False)
LAYOUT_3_0 = WordLayout(x_shift=18, x_mask=0x3FFF, y_shift=4, y_mask=0x3FFF, is_y_up=True)


class _Packet(NamedTuple):
    """The packet being read: its header, how many events and bytes of it are left, and what was met on the way.

    `wanted` is the source whose events are delivered; the first polarity packet sets it when it is `ANY_SOURCE`.
    `n_other` counts events of other sources, `was_reset` says that the clock was reset since the last event.
    """

    wanted: int = ANY_SOURCE
    type: int = SPECIAL
    source: int = 0
    event_bytes: int = EVENT_BYTES
    time_offset: int = 4
    overflow: int = 0
    n_left: int = 0
    bytes_left: int = 0
    n_other: int = 0
    was_reset: bool = False
    is_damaged: bool = False


@njit(cache=True, nogil=True)
def _word(data: npt.NDArray[np.uint8], i: int) -> int:
    """The little-endian word at byte `i`; unsigned indices, because only then the compiler makes one load of the four."""
    j = np.uint64(i)
    low = np.uint64(data[j]) | np.uint64(data[j + np.uint64(1)]) << np.uint64(8)
    high = np.uint64(data[j + np.uint64(2)]) | np.uint64(data[j + np.uint64(3)]) << np.uint64(8)
    return signed(low | high << np.uint64(16))


@njit(cache=True, nogil=True)
def _signed_word(data: npt.NDArray[np.uint8], i: int) -> int:
    word = _word(data, i)
    return word - ((word & 0x80000000) << 1)


@njit(cache=True, nogil=True)
def _open_packet(data: npt.NDArray[np.uint8], i: int, before: _Packet) -> _Packet:
    """Read the packet header at byte `i`; `is_damaged` when no writer can have meant it."""
    first = _word(data, i)
    kind, source = first & 0xFFFF, (first >> 16) & 0xFFFF
    size, time_offset = _signed_word(data, i + 4), _signed_word(data, i + 8)
    overflow, capacity, number = _signed_word(data, i + 12), _signed_word(data, i + 16), _signed_word(data, i + 20)
    damaged = kind >= 0x8000 or size <= 0 or capacity < 0 or number < 0 or number > capacity
    if kind <= POLARITY:
        damaged = damaged or size < EVENT_BYTES or size > _MAX_EVENT_BYTES or time_offset < 0 or time_offset + 4 > size
    wanted = before.wanted
    if kind == POLARITY and wanted == ANY_SOURCE:
        wanted = source
    n_other = before.n_other
    if kind == POLARITY and source != wanted:
        n_other += number
    return _Packet(
        wanted, kind, source, size, time_offset, overflow, number, capacity * size, n_other, before.was_reset, damaged
    )


@njit(cache=True, nogil=True)
def _has_reset(data: npt.NDArray[np.uint8], start: int, n: int, event_bytes: int) -> bool:
    """Whether one of `n` special events from byte `start` on is a valid timestamp reset."""
    for i in range(n):
        word = _word(data, start + i * event_bytes)
        if word & 1 and (word >> 1) & 0x7F == _TIMESTAMP_RESET:
            return True
    return False


@njit(cache=True, nogil=True)
def _gather(data: npt.NDArray[np.uint8], start: int, n_events: int, packet: _Packet) -> npt.NDArray[np.uint64]:
    """Data word (low half) and time (high half) of each event, uint64 (n_events,); a view wherever writers are sane."""
    if packet.event_bytes == EVENT_BYTES and packet.time_offset == EVENT_BYTES // 2:
        return data[start : start + n_events * EVENT_BYTES].view(np.uint64)
    records = np.empty(n_events, dtype=np.uint64)
    for i in range(n_events):
        at = start + i * packet.event_bytes
        records[i] = _word(data, at) | _word(data, at + packet.time_offset) << 32
    return records


@njit(cache=True, nogil=True)
def _decode_events(
    records: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    packet: _Packet,
    state: DecodeState,
) -> tuple[int, DecodeState]:
    """Polarity events as `_gather` gives them; gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    layout, sensor_size = view
    width, height = sensor_size
    was_reset = packet.was_reset
    high = packet.overflow << 31
    n = 0
    for record in records:
        word = signed(record)
        if word & 1 == 0:
            continue
        x, y = (word >> layout.x_shift) & layout.x_mask, (word >> layout.y_shift) & layout.y_mask
        if x >= width or y >= height:
            n_outside += 1
            continue
        raw = high + (word >> 32)
        t = raw + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(raw, last, shift, was_reset)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        was_reset = False
        last = t
        y = height - 1 - y if layout.is_y_up else y
        out[n, 0] = x | (y << 16) | (((word >> 1) & 1) << 32)
        out[n, 1] = t
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


@njit(cache=True, nogil=True)
def _decode(
    data: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    packet: _Packet,
    state: DecodeState,
) -> tuple[int, int, _Packet, DecodeState]:
    """As many bytes of `data` as make whole headers and events; gives events written, bytes used, and where it stands."""
    i = n = 0
    while not packet.is_damaged:
        n_bytes = data.size - i
        if packet.bytes_left == 0:
            if n_bytes < PACKET_HEADER_BYTES:
                break
            packet = _open_packet(data, i, packet)
            i += PACKET_HEADER_BYTES
            continue
        n_events, was_reset = 0, packet.was_reset
        if packet.type <= POLARITY and packet.n_left > 0:
            n_events = min(packet.n_left, n_bytes // packet.event_bytes)
            used = n_events * packet.event_bytes
            if packet.type == SPECIAL:
                was_reset = was_reset or _has_reset(data, i, n_events, packet.event_bytes)
            elif packet.source == packet.wanted and n_events > 0:
                n_new, state = _decode_events(_gather(data, i, n_events, packet), out[n:], view, packet, state)
                n += n_new
                was_reset = was_reset and n_new == 0
        else:
            used = min(packet.bytes_left, n_bytes)
        if used == 0:
            break
        i += used
        packet = _advance(packet, n_events, used, was_reset)
    return n, i, packet, state


@njit(cache=True, nogil=True)
def _advance(packet: _Packet, n_events: int, n_bytes: int, was_reset: bool) -> _Packet:
    return _Packet(
        packet.wanted,
        packet.type,
        packet.source,
        packet.event_bytes,
        packet.time_offset,
        packet.overflow,
        packet.n_left - n_events,
        packet.bytes_left - n_bytes,
        packet.n_other,
        was_reset,
        packet.is_damaged,
    )


class Aedat3Source(FileSource):
    """An AEDAT 3.1 or 3.0 recording; `chip` overrules the device named in the header, `stream` chooses a source by its id."""

    def __init__(
        self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None, stream: int | None = None
    ) -> None:
        format_name, lines, self._data_start = read_header(path, handle)
        self._layout = LAYOUT_3_0 if format_name == "AEDAT 3.0" else LAYOUT_3_1
        self._wanted = ANY_SOURCE if stream is None else stream
        sensor_size = CHIPS[require_chip(chip)] if chip else _sensor_size(path, lines)
        super().__init__(path, SourceInfo(name, format_name, "RAW", sensor_size), handle)

    def _decode(self) -> Iterator[Events]:
        self._handle.seek(self._data_start)
        view = (self._layout, self._info.sensor_size)
        packet = _Packet(wanted=self._wanted)
        block = np.empty(BLOCK_BYTES, dtype=np.uint8)
        position, n_kept = self._data_start, 0
        while not packet.is_damaged and (n_read := self._read_into(block[n_kept:])):
            n_bytes = n_kept + n_read
            events, out = allocate(n_bytes // EVENT_BYTES)
            n, n_used, packet, self._state = _decode(block[:n_bytes], out, view, packet, self._state)
            position += n_used
            n_kept = n_bytes - n_used
            block[:n_kept] = block[n_used:n_bytes].copy()
            yield events[:n]
        self._note_end(packet, position)

    def _note_end(self, packet: _Packet, position: int) -> None:
        if packet.n_other:
            self._note(f"{packet.n_other} events of other sources than {packet.wanted} left out; choose one with --stream")
        if packet.is_damaged:
            where = position - PACKET_HEADER_BYTES
            self._note_cut(self.n_bytes - where, f"the packet header at byte {where} is damaged")
        elif position < self.n_bytes or packet.bytes_left:
            self._note_cut(self.n_bytes - position, "the last packet is cut off")
        elif self.n_bytes == self._data_start:
            self._note_header_only()


def read_header(path: Path, handle: BufferedReader) -> tuple[str, list[bytes], int]:
    """Name of the format, header lines, and the offset of the first packet; InputError if the header has no end."""
    handle.seek(0)
    lines = [handle.readline(_MAX_LINE_BYTES).rstrip()]
    format_name = MAGICS[lines[0][:_MAGIC_BYTES]]
    start = handle.tell()
    while start < _MAX_HEADER_BYTES:
        line = handle.readline(_MAX_LINE_BYTES)
        if not line.startswith(b"#"):
            break
        start += len(line)
        lines.append(line.rstrip())
        if lines[-1] == END_OF_HEADER:
            break
    if format_name == "AEDAT 3.1" and lines[-1] != END_OF_HEADER:
        raise InputError(f"{path}: the header of this AEDAT 3.1 file has no #!END-HEADER line; it is cut off or damaged")
    for line in lines:
        if line.startswith(b"#Format:") and line.partition(b":")[2].strip().upper() != b"RAW":
            encoding = line.partition(b":")[2].strip().decode("latin-1")
            raise InputError(f"{path}: {format_name} with the encoding {encoding!r} is not read, only RAW; export it as RAW")
    return format_name, lines, start


def _sensor_size(path: Path, lines: list[bytes]) -> SensorSize:
    """Size of the first known device in the `#Source` lines, which may also say WIDTHxHEIGHT."""
    sources = [line.partition(b":")[2].decode("latin-1").strip() for line in lines if re.match(rb"#Source\b", line)]
    for source in sources:
        size = re.search(r"\b(\d{1,5})x(\d{1,5})\b", source)
        if size:
            return SensorSize(int(size[1]), int(size[2]))
        chip = find_chip(source)
        if chip:
            return CHIPS[chip]
    named = ", ".join(repr(source) for source in sources) or "no device"
    raise InputError(f"{path} names {named}, whose sensor size is not known; say which chip it was with --chip")
