"""The FlatBuffers of AEDAT 4, read and written by hand: file header (IOHE), event packet (EVTS), data table (FTAB).

Every buffer begins with its length (uint32) and the offset of its root table; the identifier stands at bytes 8 to 11. A table
begins with the distance back to its vtable, which lists where each field lies, 0 for a field left at its default. All offsets
are checked before use: they come from outside.
"""

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import EVENT_DTYPE, Events

MAGIC = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = ("NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH")
EVENTS_TYPE = b"EVTS"
HEADER_TYPE = b"IOHE"
TABLE_TYPE = b"FTAB"
EVENT_BYTES = 16
PACKET_HEADER = struct.Struct("<ii")  # stream id, size of the payload
NO_TABLE = -1
# FlatBuffers leaves out a field at its default of -1, and then there is nothing to patch when the file is closed.
TABLE_PENDING = -2
_PREFIX_BYTES = 4
_IDENTIFIER = slice(8, 12)
_EVENT_ON_DISK = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])


class FileHeader(NamedTuple):
    """`compression` indexes `COMPRESSIONS`; `table_position` is negative where there is no table; `info_node` is XML."""

    compression: int
    table_position: int
    info_node: str


class TableEntry(NamedTuple):
    """One packet in the data table: `offset` is where its payload begins, times in us."""

    offset: int
    stream: int
    n_bytes: int
    n_events: int
    first_us: int
    last_us: int


def identifier(buffer: bytes) -> bytes:
    """The four letters that say what a buffer is."""
    return bytes(buffer[_IDENTIFIER])


def _number(buffer: bytes, at: int, layout: str) -> int:
    size = struct.calcsize(layout)
    if at < 0 or at + size > len(buffer):
        raise InputError(f"a table points to byte {at} of a buffer of {len(buffer)} bytes; it is damaged")
    value: int = struct.unpack_from(layout, buffer, at)[0]
    return value


def _field(buffer: bytes, index: int) -> int | None:
    """Where field `index` of the root table lies; None when it was left at its default."""
    root = _PREFIX_BYTES + _number(buffer, _PREFIX_BYTES, "<I")
    vtable = root - _number(buffer, root, "<i")
    entry = 4 + 2 * index
    if entry + 2 > _number(buffer, vtable, "<H"):
        return None
    offset = _number(buffer, vtable + entry, "<H")
    return root + offset if offset else None


def _vector(buffer: bytes, index: int) -> tuple[int, int]:
    """First byte and number of elements of the vector (or string) in field `index` of the root table."""
    field = _field(buffer, index)
    if field is None:
        return 0, 0
    at = field + _number(buffer, field, "<I")
    return at + 4, _number(buffer, at, "<I")


def read_file_header(buffer: bytes) -> FileHeader:
    """The header from its size-prefixed buffer; InputError if it is damaged."""
    if identifier(buffer) != HEADER_TYPE:
        raise InputError(f"the header of this AEDAT 4 file is marked {identifier(buffer)!r} instead of IOHE; it is damaged")
    compression, position = _field(buffer, 0), _field(buffer, 1)
    start, n = _vector(buffer, 2)
    if start + n > len(buffer):
        raise InputError("the header of this AEDAT 4 file is longer than it says; it is damaged")
    return FileHeader(
        _number(buffer, compression, "<i") if compression else 0,
        _number(buffer, position, "<q") if position else NO_TABLE,
        buffer[start : start + n].decode("utf-8", errors="replace"),
    )


def read_event_bytes(buffer: bytes) -> memoryview:
    """The 16-byte records of an EVTS buffer, none if it is empty; InputError if it is damaged."""
    start, n = _vector(buffer, 0)
    if start + n * EVENT_BYTES > len(buffer):
        raise InputError(f"an event packet of {len(buffer)} bytes claims {n} events; it is damaged")
    return memoryview(buffer)[start : start + n * EVENT_BYTES]


def write_file_header(compression: int, info_node: str) -> tuple[bytes, int]:
    """A size-prefixed header without a table position, and the byte in it where that position (int64) is to be written."""
    text = info_node.encode()
    # vtable at 18 (its size, size of the table, offsets of compression, position and text), root table at 28, text at 48
    layout = struct.Struct("<I4s6xHHHHHiiIq")
    body = layout.pack(24, HEADER_TYPE, 10, 20, 4, 12, 8, 10, compression, 12, TABLE_PENDING)
    body += struct.pack("<I", len(text)) + text + b"\0" * (4 - len(text) % 4)
    return struct.pack("<I", len(body)) + body, 40


def write_events(events: Events) -> bytes:
    """A size-prefixed EVTS buffer."""
    assert events.dtype == EVENT_DTYPE
    records = np.zeros(events.size, dtype=_EVENT_ON_DISK)
    records["t"], records["x"], records["y"], records["on"] = events["t"], events["x"], events["y"], events["p"]
    # vtable at 14 (its size, size of the table, offset of the vector), root table at 20, vector at 28, records at 32
    head = struct.pack("<I4sHHHHiII", 16, EVENTS_TYPE, 0, 6, 8, 4, 6, 4, events.size)
    return struct.pack("<I", len(head) + records.nbytes) + head + records.tobytes()


def write_table(entries: list[TableEntry]) -> bytes:
    """A size-prefixed FTAB buffer; all entries share one vtable."""
    n = len(entries)
    # vtable of the root at 14, root table at 20, vector of offsets at 28, then the vtable of the entries, then the entries
    entry_vtable = -(-(32 + 4 * n) // 8) * 8 + 4
    first = entry_vtable + 20  # lies at a multiple of 8, so that the int64 fields do too
    rows = np.zeros(n, dtype=_ENTRY_ON_DISK)
    rows["to_vtable"] = first - entry_vtable + np.arange(n, dtype=np.int64) * _ENTRY_ON_DISK.itemsize
    for name in TableEntry._fields:
        rows[name] = [getattr(entry, name) for entry in entries]
    places: npt.NDArray[np.int64] = np.arange(n, dtype=np.int64)
    offsets = (first + places * _ENTRY_ON_DISK.itemsize - (32 + 4 * places)).astype("<u4")
    head = struct.pack("<I4sHHHHiII", 16, TABLE_TYPE, 0, 6, 8, 4, 6, 4, n) + offsets.tobytes()
    head += b"\0" * (entry_vtable - _PREFIX_BYTES - len(head))
    # size of this vtable, size of an entry, offsets of payload position, packet header, number, first and last time
    head += struct.pack("<HHHHHHH6x", 14, _ENTRY_ON_DISK.itemsize, 16, 4, 24, 32, 40)
    return struct.pack("<I", len(head) + rows.nbytes) + head + rows.tobytes()


_ENTRY_ON_DISK = np.dtype(
    {
        "names": ["to_vtable", "stream", "n_bytes", "offset", "n_events", "first_us", "last_us"],
        "formats": ["<i4", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 16, 24, 32, 40],
        "itemsize": 48,
    }
)
