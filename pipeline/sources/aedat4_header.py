"""What the header of an AEDAT 4 file says: the FlatBuffer of its head, and its streams, named in XML."""

import xml.etree.ElementTree as ET
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.compression import Method

UNKNOWN_SIZE = SensorSize(0, 0)
# Coordinates are int16, read as unsigned; a sensor this wide lets every valid one pass while its size is being found.
WIDEST = SensorSize(1 << 15, 1 << 15)
_MAX_HEADER_BYTES = 1 << 24
_MAX_DIGITS = 9  # of a stream id (int32) or a width


class Stream(NamedTuple):
    """One stream as the info node tells of it; the size is (0, 0) and the name of the camera empty where it does not say."""

    id: int
    type: str
    sensor_size: SensorSize
    camera: str


def read_header(path: Path, handle: BufferedReader) -> tuple[tables.FileHeader, int]:
    """File header and the offset of the first packet; InputError if it is cut off or damaged."""
    handle.seek(len(tables.MAGIC))
    prefix = handle.read(4)
    n_bytes = int.from_bytes(prefix, "little")
    buffer = prefix + handle.read(n_bytes) if n_bytes <= _MAX_HEADER_BYTES else b""
    if len(prefix) < 4 or len(buffer) < 4 + n_bytes:
        raise InputError(f"{path}: the header of this AEDAT 4 file is cut off or damaged; nothing can be read")
    try:
        return tables.read_file_header(buffer), len(tables.MAGIC) + len(buffer)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_streams(info_node: str) -> tuple[Stream, ...]:
    """Streams named in the XML of the header, lowest id first; none if it is no XML or declares entities."""
    if "<!" in info_node:
        return ()
    try:
        root = ET.fromstring(info_node)  # nothing is expanded: entity declarations were refused above
    except (ET.ParseError, ValueError):
        return ()
    nodes = [node for parent in root.iter("node") if parent.get("name") == "outInfo" for node in parent.findall("node")]
    streams = [
        Stream(int(node.get("name", "")), _attribute(node, "typeIdentifier"), _stream_size(node), _camera(node))
        for node in nodes
        if _is_number(node.get("name", ""))
    ]
    return tuple(sorted(streams))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _attribute(node: ET.Element, key: str) -> str:
    found = node.find(f"attr[@key='{key}']")
    return (found.text or "").strip() if found is not None else ""


def _camera(node: ET.Element) -> str:
    info = node.find("node[@name='info']")
    return _attribute(info, "source") if info is not None else ""


def _stream_size(node: ET.Element) -> SensorSize:
    info = node.find("node[@name='info']")
    if info is None:
        return UNKNOWN_SIZE
    texts = (_attribute(info, "sizeX"), _attribute(info, "sizeY"))
    if not all(_is_number(text) and 0 < int(text) <= WIDEST.width for text in texts):
        return UNKNOWN_SIZE
    return SensorSize(int(texts[0]), int(texts[1]))


def choose_stream(path: Path, streams: tuple[Stream, ...], wanted: int | None) -> int | None:
    """Id of the event stream to read, the one wanted or the lowest; None where the header names none at all."""
    ids = [stream.id for stream in streams if stream.type == "EVTS"]
    if wanted is not None and wanted not in ids and streams:
        there = ", ".join(map(str, ids)) or "none"
        raise UsageError(f"{path} has no event stream {wanted}; its event streams: {there} (--stream)")
    return wanted if wanted is not None else min(ids, default=None)


def method_of(path: Path, compression: int) -> Method:
    """How packets are compressed, by the number of it; InputError for one that is not known."""
    if not 0 <= compression < len(tables.COMPRESSIONS):
        raise InputError(f"{path}: compression number {compression} of this AEDAT 4 file is not known; it is damaged or newer")
    methods: tuple[Method, ...] = ("none", "lz4", "lz4", "zstd", "zstd")
    return methods[compression]
