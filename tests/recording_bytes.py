"""Recordings built byte by byte, so that tests know every number in them without asking our own writers."""

import struct
from collections.abc import Iterable

import flatbuffers
import lz4.frame
import zstandard

DVS128_CHIP = b"ch.unizh.ini.jaer.chip.retina.DVS128"
DAVIS240_CHIP = b"eu.seebetter.ini.chips.davis.DAVIS240C"
AEDAT2_LINE = b"#!AER-DAT2.0\r\n"
AEDAT2_END = b"#End Of ASCII Header\r\n"
AEDAT3_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2020-01-01 00:00:00 (TZ+0100)\r\n#!END-HEADER\r\n"
)


def dvs128_address(x: int, y: int, p: int) -> int:
    """AEDAT 2.0 address of a DVS128 event in house coordinates."""
    return (127 - y) << 8 | (127 - x) << 1 | (1 - p)


def davis240_address(x: int, y: int, p: int) -> int:
    """AEDAT 2.0 address of a DAVIS240 event in house coordinates."""
    return (179 - y) << 22 | (239 - x) << 12 | p << 11


def aedat2(records: Iterable[tuple[int, int]], *, chip: bytes | None = DVS128_CHIP, end: bytes = AEDAT2_END) -> bytes:
    """An AEDAT 2.0 file of (address, time) records."""
    header = AEDAT2_LINE + (b"# AEChip: " + chip + b"\r\n" if chip else b"") + end
    return header + b"".join(struct.pack(">II", address, t % (1 << 32)) for address, t in records)


def polarity(t: int, x: int, y: int, p: int, *, is_valid: bool = True) -> bytes:
    """One AEDAT 3.1 polarity event."""
    return struct.pack("<Ii", x << 17 | y << 2 | p << 1 | is_valid, t)


def special(t: int, kind: int) -> bytes:
    """One valid AEDAT 3.1 special event; kind 1 is a timestamp reset."""
    return struct.pack("<Ii", kind << 1 | 1, t)


def packet3(
    events: Iterable[bytes], *, kind: int = 1, source: int = 1, overflow: int = 0, capacity: int | None = None
) -> bytes:
    """One AEDAT 3.1 packet; unused capacity is filled with zeros."""
    bodies = list(events)
    n = len(bodies)
    size = len(bodies[0]) if bodies else 8
    capacity = n if capacity is None else capacity
    header = struct.pack("<hhiiiiii", kind, source, size, 4, overflow, capacity, n, n)
    return header + b"".join(bodies) + b"\0" * (size * (capacity - n))


AEDAT4_LINE = b"#!AER-DAT4.0\r\n"
AEDAT4_METHODS = {0: "none", 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}


def info_node(streams: dict[int, str], width: int = 32, height: int = 24) -> str:
    """The XML of an AEDAT 4 header: stream ids and their four-letter types."""
    nodes = "".join(
        f'<node name="{stream}"><attr key="typeIdentifier" type="string">{kind}</attr><node name="info">'
        f'<attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr></node></node>'
        for stream, kind in streams.items()
    )
    return f'<dv version="2.0"><node name="outInfo">{nodes}</node></dv>'


def header4(compression: int, position: int, xml: str) -> bytes:
    """First line and IOHE buffer of an AEDAT 4 file, made with the FlatBuffers library."""
    builder = flatbuffers.Builder()
    text = builder.CreateString(xml)
    builder.StartObject(3)
    builder.PrependInt32Slot(0, compression, 0)
    builder.PrependInt64Slot(1, position, -1)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"IOHE")
    return AEDAT4_LINE + bytes(builder.Output())


def events4(events: Iterable[tuple[int, int, int, int]]) -> bytes:
    """EVTS buffer of (t, x, y, p) events, made with the FlatBuffers library."""
    rows = list(events)
    builder = flatbuffers.Builder()
    builder.StartVector(16, len(rows), 8)
    for t, x, y, p in reversed(rows):
        builder.Prep(8, 16)
        builder.Pad(3)
        builder.PrependBool(bool(p))
        builder.PrependInt16(y)
        builder.PrependInt16(x)
        builder.PrependInt64(t)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"EVTS")
    return bytes(builder.Output())


def triggers4(triggers: Iterable[tuple[int, int]]) -> bytes:
    """TRIG buffer of (t, kind) triggers, made with the FlatBuffers library."""
    builder = flatbuffers.Builder()
    rows = []
    for t, kind in triggers:
        builder.StartObject(2)
        builder.PrependInt64Slot(0, t, 0)
        builder.PrependInt8Slot(1, kind, 0)
        rows.append(builder.EndObject())
    builder.StartVector(4, len(rows), 4)
    for row in reversed(rows):
        builder.PrependUOffsetTRelative(row)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"TRIG")
    return bytes(builder.Output())


def rows4(rows: Iterable[tuple[int, int, int, int, int, int]]) -> bytes:
    """FTAB buffer of (offset, stream, size, number, first us, last us), made with the FlatBuffers library."""
    builder = flatbuffers.Builder()
    entries = []
    for offset, stream, size, number, first_us, last_us in rows:
        builder.StartObject(5)
        builder.PrependInt64Slot(0, offset, 0)
        builder.Prep(4, 8)
        builder.PrependInt32(size)
        builder.PrependInt32(stream)
        builder.PrependStructSlot(1, builder.Offset(), 0)
        for slot, value in ((2, number), (3, first_us), (4, last_us)):
            builder.PrependInt64Slot(slot, value, 0)
        entries.append(builder.EndObject())
    builder.StartVector(4, len(entries), 4)
    for entry in reversed(entries):
        builder.PrependUOffsetTRelative(entry)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"FTAB")
    return bytes(builder.Output())


def table4() -> bytes:
    """FTAB buffer that lists no packet, made with the FlatBuffers library."""
    builder = flatbuffers.Builder()
    builder.StartObject(1)
    builder.FinishSizePrefixed(builder.EndObject(), b"FTAB")
    return bytes(builder.Output())


def packed4(buffer: bytes, compression: int) -> bytes:
    """A buffer as compressed in an AEDAT 4 file."""
    if AEDAT4_METHODS[compression] == "lz4":
        return bytes(lz4.frame.compress(buffer))
    return zstandard.compress(buffer) if AEDAT4_METHODS[compression] == "zstd" else buffer


def packet4(buffer: bytes, *, stream: int = 0, compression: int = 0) -> bytes:
    """One packet of an AEDAT 4 file."""
    payload = packed4(buffer, compression)
    return struct.pack("<ii", stream, len(payload)) + payload


def aedat4(packets: Iterable[bytes], *, compression: int = 0, xml: str | None = None, table: bool = True) -> bytes:
    """An AEDAT 4 file: closed, with a data table, or (`table` False) as a crash leaves it."""
    xml = info_node({0: "EVTS"}) if xml is None else xml
    body = b"".join(packets)
    if not table:
        return header4(compression, -2, xml) + body
    position = len(header4(compression, 1, xml)) + len(body)
    return header4(compression, position, xml) + body + packed4(table4(), compression)
