"""The FlatBuffers of AEDAT 4, read and written by hand: file header (IOHE), events (EVTS), triggers (TRIG), data table (FTAB).

Every buffer begins with its length (uint32) and the offset of its root table; the identifier stands at bytes 8 to 11. A table
begins with the distance back to its vtable, which lists where each field lies, 0 for a field left at its default. All offsets
are checked before use: they come from outside.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import EVENT_DTYPE, Events, Triggers, make_triggers

MAGIC = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = ("NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH")
EVENTS_TYPE = b"EVTS"
HEADER_TYPE = b"IOHE"
TABLE_TYPE = b"FTAB"
TRIGGERS_TYPE = b"TRIG"
EVENT_BYTES = 16
PACKET_HEADER = struct.Struct("<ii")  # stream id, size of the payload
NO_TABLE = -1
# FlatBuffers leaves out a field at its default of -1, and then there is nothing to patch when the file is closed.
TABLE_PENDING = -2
_PREFIX_BYTES = 4
_IDENTIFIER = slice(8, 12)
_EVENT_ON_DISK = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])


# What a trigger is about (`id`) and which edge of it (`p`), by its kind, 0 to 9: reset (no trigger), external input rising,
# falling and pulse, generator rising and falling, frame begins and ends, exposure begins and ends.
_TRIGGER_IDS = np.array([-1, 0, 0, 1, 2, 2, 3, 3, 4, 4])
_TRIGGER_EDGES = np.array([0, 1, 0, 1, 1, 0, 1, 0, 1, 0])

# Rows of the data table: structured array (n,) of `offset`, `stream`, `n_bytes`, `n_events`, `first_us`, `last_us`, all int64.
Table = npt.NDArray[Any]


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


def read_triggers(buffer: bytes) -> Triggers:
    """Triggers of a TRIG buffer, times in us as they are; timestamp resets and kinds that are not known are left out."""
    t, kind = _rows(buffer, ((0, 0, "<i8"), (1, 0, "<i1")))
    is_known = (kind > 0) & (kind < _TRIGGER_IDS.size)
    t, kind = t[is_known], kind[is_known]
    return make_triggers(t, _TRIGGER_IDS[kind], _TRIGGER_EDGES[kind])


def read_table(buffer: bytes) -> Table:
    """Rows of an FTAB buffer in the order of the file, none if it is empty; InputError if it is damaged."""
    table = np.zeros(0, dtype=_TABLE_ROW)
    if not buffer:
        return table
    if identifier(buffer) != TABLE_TYPE:
        raise InputError(f"the data table is marked {identifier(buffer)!r} instead of FTAB; it is damaged")
    columns = _rows(buffer, ((0, 0, "<i8"), (1, 0, "<i4"), (1, 4, "<i4"), (2, 0, "<i8"), (3, 0, "<i8"), (4, 0, "<i8")))
    table = np.zeros(columns[0].size, dtype=_TABLE_ROW)
    for name, column in zip(TableEntry._fields, columns, strict=True):
        table[name] = column
    return table


def _rows(buffer: bytes, fields: tuple[tuple[int, int, str], ...]) -> list[npt.NDArray[np.int64]]:
    """Numbers in the tables that the vector in field 0 of the root table lists, one array for each of `fields`.

    A field is its index in those tables, the byte of the number within it, and the number's layout; 0 where it was left out.
    """
    start, n = _vector(buffer, 0)
    if start + 4 * n > len(buffer):
        raise InputError(f"a buffer of {len(buffer)} bytes claims to list {n} tables; it is damaged")
    data = np.frombuffer(buffer, dtype=np.uint8)
    places = start + 4 * np.arange(n, dtype=np.int64)
    rows = places + _gather(data, places, "<u4")
    vtables = rows - _gather(data, rows, "<i4")
    n_bytes = _gather(data, vtables, "<u2")
    columns = []
    for index, byte, layout in fields:
        entry = 4 + 2 * index
        has = n_bytes >= entry + 2
        at = np.zeros(n, dtype=np.int64)
        at[has] = _gather(data, vtables[has] + entry, "<u2")
        column = np.zeros(n, dtype=np.int64)
        has = at > 0
        column[has] = _gather(data, rows[has] + at[has] + byte, layout)
        columns.append(column)
    return columns


def _gather(data: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], layout: str) -> npt.NDArray[np.int64]:
    """The numbers at `places`, bytes of `data`; InputError if one lies outside."""
    size = np.dtype(layout).itemsize
    if places.size and not (places.min() >= 0 and places.max() + size <= data.size):
        raise InputError(f"a table points outside its buffer of {data.size} bytes; it is damaged")
    numbers: npt.NDArray[np.int64] = data[places[:, None] + np.arange(size)].view(layout)[:, 0].astype(np.int64)
    return numbers


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


def write_triggers(triggers: Triggers) -> bytes:
    """A size-prefixed TRIG buffer of triggers that `can_hold`."""
    rows = np.zeros(triggers.size, dtype=_TRIGGER_ON_DISK)
    rows["kind"] = _kinds_of(triggers)
    rows["t"] = triggers["t"]
    return _write_rows(TRIGGERS_TYPE, rows, (8, 4))


def can_hold(triggers: Triggers) -> bool:
    """Whether there is a kind for each of these triggers."""
    return bool((_kinds_of(triggers) > 0).all())


def _kinds_of(triggers: Triggers) -> npt.NDArray[np.int64]:
    """Kind of each trigger, 0 where there is none."""
    kinds = np.zeros(triggers.size, dtype=np.int64)
    for kind in range(1, _TRIGGER_IDS.size):
        kinds[(triggers["id"] == _TRIGGER_IDS[kind]) & (triggers["p"] == _TRIGGER_EDGES[kind])] = kind
    return kinds


def write_table(entries: list[TableEntry]) -> bytes:
    """A size-prefixed FTAB buffer."""
    rows = np.zeros(len(entries), dtype=_ENTRY_ON_DISK)
    for name in TableEntry._fields:
        rows[name] = [getattr(entry, name) for entry in entries]
    # payload position, packet header, number, first and last time
    return _write_rows(TABLE_TYPE, rows, (16, 4, 24, 32, 40))


def _write_rows(letters: bytes, rows: npt.NDArray[Any], offsets: tuple[int, ...]) -> bytes:
    """A size-prefixed buffer with a vector of tables in field 0; the tables share one vtable of their fields' `offsets`.

    `rows` are the tables as they will lie there, whole multiples of 8 bytes; their `to_vtable` is filled in.
    """
    n = rows.size
    # vtable of the root at 14, root table at 20, vector of offsets at 28, then the vtable of the rows, then the rows
    vtable = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), rows.dtype.itemsize, *offsets)
    at_vtable = -(-(32 + 4 * n) // 8) * 8 + 4
    # at a multiple of 8, so that the int64 fields are too
    first = -(-(at_vtable + len(vtable)) // 8) * 8
    places = first + np.arange(n, dtype=np.int64) * rows.dtype.itemsize
    rows["to_vtable"] = places - at_vtable
    in_vector = 32 + 4 * np.arange(n, dtype=np.int64)
    head = struct.pack("<I4sHHHHiII", 16, letters, 0, 6, 8, 4, 6, 4, n) + (places - in_vector).astype("<u4").tobytes()
    head = head.ljust(at_vtable - _PREFIX_BYTES, b"\0") + vtable
    head = head.ljust(first - _PREFIX_BYTES, b"\0")
    return struct.pack("<I", len(head) + rows.nbytes) + head + rows.tobytes()


_TRIGGER_ON_DISK = np.dtype([("to_vtable", "<i4"), ("kind", "i1"), ("padding", "V3"), ("t", "<i8")])
_TABLE_ROW = np.dtype([(name, np.int64) for name in TableEntry._fields])
_ENTRY_ON_DISK = np.dtype(
    {
        "names": ["to_vtable", "stream", "n_bytes", "offset", "n_events", "first_us", "last_us"],
        "formats": ["<i4", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 16, 24, 32, 40],
        "itemsize": 48,
    }
)
