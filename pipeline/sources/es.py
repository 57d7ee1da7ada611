"""Event Stream (`.es`) version 2, type dvs: a header of 20 bytes, then events of 5 bytes with the time since the one before.

Layout: `Event Stream`, version (3 bytes), type (1 byte), width, height (uint16); all little-endian. An event is a byte with the
time step in bits 7-1 and ON in bit 0, then x and y (uint16), y counted from the bottom. The byte 0xFF stands alone and lets
127 us pass; 0xFE stands alone and means nothing. The other types (generic, ATIS, colour) hold no CD events of this kind.
"""

import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError, UnknownFormatError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import DecodeState, allocate, signed

MAGIC = b"Event Stream"
_TYPED_BYTES = len(MAGIC) + 4
HEADER_BYTES = _TYPED_BYTES + 4
_EVENT_BYTES = 5
_VERSION = 2
_TYPES = {0: "generic", 1: "dvs", 2: "ATIS", 4: "colour"}
_DVS = 1
_PASS, _NOTHING = 0xFF, 0xFE
_PASS_US = 127


class EventStreamSource(FileSource):
    """An Event Stream recording."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str) -> None:
        size, version = _read_header(path, handle)
        super().__init__(path, SourceInfo(name, "Event Stream", f"{version} dvs", size), handle)

    def _decode(self) -> Iterator[Events]:
        if self._begin is None:
            # time begins at 0 and is kept in the state: it is the sum of all steps
            self._state = DecodeState(last_us=0)
        self._handle.seek(HEADER_BYTES if self._begin is None else self._begin.position)
        block = np.empty(BLOCK_BYTES + _EVENT_BYTES, dtype=np.uint8)
        n_total = n_left = 0
        while n_read := self._read_into(block[n_left : n_left + BLOCK_BYTES]):
            n_bytes = n_left + n_read
            events, out = allocate(n_bytes // _EVENT_BYTES)
            n, n_used, self._state = _decode(block[:n_bytes], out, self._info.sensor_size, self._state)
            n_total += n
            n_left = n_bytes - n_used
            block[:n_left] = block[n_used:n_bytes].copy()
            yield events[:n]
            self._mark(self._handle.tell() - n_left)
        if n_total == 0 and self._begin is None:
            self._note_header_only()
        if n_left:
            self._note_cut(n_left, "the last event is cut off")


def _read_header(path: Path, handle: BufferedReader) -> tuple[SensorSize, str]:
    """Sensor size and version; UnknownFormatError for other versions and types."""
    handle.seek(0)
    head = handle.read(HEADER_BYTES)
    if len(head) < _TYPED_BYTES:
        raise InputError(f"{path} is cut off within the header of its Event Stream; nothing can be read")
    *version, kind = head[len(MAGIC) : _TYPED_BYTES]
    text = ".".join(str(number) for number in version)
    if version[0] != _VERSION:
        raise UnknownFormatError(
            f"{path} is Event Stream {text}; only version {_VERSION} is read, convert it with event_stream"
        )
    if kind != _DVS:
        named = _TYPES.get(kind, f"unknown ({kind})")
        raise UnknownFormatError(f"{path} is an Event Stream of type {named}, which holds no dvs events; only dvs is read")
    if len(head) < HEADER_BYTES:
        raise InputError(f"{path} is cut off within the header of its Event Stream; nothing can be read")
    size = SensorSize(*struct.unpack("<HH", head[_TYPED_BYTES:]))
    if 0 in size:
        raise InputError(f"{path}: a sensor of {size.width}x{size.height} pixels cannot be; the header is damaged")
    return size, text


@njit(cache=True, nogil=True)
def _decode(
    block: npt.NDArray[np.uint8], out: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, int, DecodeState]:
    """Bytes, uint8 (n,), to events; gives how many were written to `out` and how many bytes were used up.

    Times are sums of steps: they never fall, and no file is long enough to make them overflow.
    """
    t, n_outside = state.last_us, state.n_outside
    n = at = 0
    while at < block.size:
        first = signed(block[at])
        if first >= _NOTHING:
            t += _PASS_US * (first == _PASS)
            at += 1
            continue
        if at + _EVENT_BYTES > block.size:
            break
        t += first >> 1
        x = signed(block[at + 1]) | signed(block[at + 2]) << 8
        y = sensor_size.height - 1 - (signed(block[at + 3]) | signed(block[at + 4]) << 8)
        at += _EVENT_BYTES
        if x >= sensor_size.width or y < 0:
            n_outside += 1
            continue
        out[n, 0] = x | (y << 16) | ((first & 1) << 32)
        out[n, 1] = t
        n += 1
    return n, at, DecodeState(t, state.shift_us, state.n_backward, state.n_jumps, n_outside, state.n_impossible)
