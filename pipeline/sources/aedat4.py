"""AEDAT 4.0, as DV, dv-processing, jAER 3 and faery write it: a header, then packets of several streams, then a data table.

Reading goes from packet to packet and needs no table; the table only tells whether the file was closed. Whole packets are
always recovered, wherever the file was cut. The FlatBuffers inside are known to `aedat4_tables`.
"""

import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.base import SourceInfo
from pipeline.sources.compression import MAX_UNPACKED_BYTES, Method, unpack
from pipeline.sources.file import FileSource
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, NO_RESET, DecodeState, allocate, order, signed

_MAX_HEADER_BYTES = 1 << 24
# Records decoded in one go: small packets are joined up to here, so that calls do not outweigh the work.
_BATCH_BYTES = 1 << 18
_MAX_DIGITS = 9  # of a stream id (int32) or a width
_UNKNOWN_SIZE = SensorSize(0, 0)
# Coordinates are int16, read as unsigned; a sensor this wide lets every valid one pass while its size is being found.
_WIDEST = SensorSize(1 << 15, 1 << 15)
_FRAME_MAGICS: dict[Method, bytes] = {"lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}


class Stream(NamedTuple):
    """One stream as the info node tells of it; the size is (0, 0) where it does not say."""

    id: int
    type: str
    sensor_size: SensorSize


@njit(cache=True, nogil=True)
def _decode(
    records: npt.NDArray[np.uint64], out: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Records, uint64 (n, 2): time, then x, y (16 bits each) and ON (8 bits); gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    width, height = sensor_size
    n = 0
    for i in range(records.shape[0]):
        word = signed(records[i, 1])
        x, y = word & 0xFFFF, (word >> 16) & 0xFFFF
        if x >= width or y >= height:
            n_outside += 1
            continue
        raw = signed(records[i, 0])
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
        out[n, 0] = x | (y << 16) | (on << 32)
        out[n, 1] = t
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


class Aedat4Source(FileSource):
    """One event stream of an AEDAT 4.0 recording: `stream` by its id, else the lowest."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, stream: int | None = None) -> None:
        header, self._data_start = read_header(path, handle)
        self._method: Method = _method(path, header.compression)
        self._has_table = header.table_position >= 0
        self._streams = read_streams(header.info_node)
        self._stream = _choose_stream(path, self._streams, stream)
        encoding = tables.COMPRESSIONS[header.compression]
        super().__init__(path, SourceInfo(name, "AEDAT 4.0", encoding, self._named_size()), handle)
        if self._info.sensor_size == _UNKNOWN_SIZE:
            self._info = replace(self._info, sensor_size=self._measured_size())

    def _decode(self) -> Iterator[Events]:
        pieces: list[memoryview] = []
        n_bytes = 0
        for piece in self._event_bytes():
            pieces.append(piece)
            n_bytes += len(piece)
            if n_bytes >= _BATCH_BYTES:
                yield self._decode_block(pieces)
                pieces, n_bytes = [], 0
        if pieces:
            yield self._decode_block(pieces)
        self._note_streams()

    def _decode_block(self, pieces: list[memoryview]) -> Events:
        records = np.frombuffer(pieces[0] if len(pieces) == 1 else b"".join(pieces), dtype="<u8").reshape(-1, 2)
        if not records.flags.aligned:
            records = records.copy()
        events, out = allocate(len(records))
        n, self._state = _decode(records, out, self._info.sensor_size, self._state)
        return events[:n]

    def _event_bytes(self) -> Iterator[memoryview]:
        """The 16-byte records of each packet of the stream."""
        n_damaged = 0
        for payload in self._payloads():
            try:
                buffer = unpack(payload, self._method)
                if tables.identifier(buffer) == tables.EVENTS_TYPE:
                    yield tables.read_event_bytes(buffer)
            except InputError:
                n_damaged += 1
                self._n_bytes_skipped += len(payload) + tables.PACKET_HEADER.size
        if n_damaged:
            self._note(f"{n_damaged} packets could not be unpacked and were left out")

    def _payloads(self) -> Iterator[bytes]:
        """Payloads of the stream's packets, up to the data table or the last whole packet."""
        position = self._data_start
        while position < self.n_bytes:
            self._handle.seek(position)
            head = self._handle.read(12)
            if self._is_table(head):
                self._check_table(position)
                return
            left = self.n_bytes - position - tables.PACKET_HEADER.size
            if left < 0:
                self._note_cut(len(head), "the last packet is cut off")
                return
            stream, size = tables.PACKET_HEADER.unpack_from(head)
            if stream < 0 or size <= 0:
                self._note_cut(self.n_bytes - position, f"the packet header at byte {position} is damaged")
                return
            if size > left:
                self._note_cut(self.n_bytes - position, "the last packet is cut off")
                return
            if self._wants(stream) and size <= MAX_UNPACKED_BYTES:
                self._handle.seek(position + tables.PACKET_HEADER.size)
                yield self._handle.read(size)
            position += tables.PACKET_HEADER.size + size
        self._note_no_table()

    def _wants(self, stream: int) -> bool:
        """Whether a packet may be of the chosen stream; where no stream is named, the identifier of the packet decides."""
        return stream == self._stream if self._stream is not None else not self._streams

    def _is_table(self, head: bytes) -> bool:
        """Whether the data table begins here instead of a packet: no stream id looks like the start of a compressed frame."""
        if self._method == "none":
            return tables.identifier(head) == tables.TABLE_TYPE
        return head.startswith(_FRAME_MAGICS[self._method])

    def _check_table(self, position: int) -> None:
        self._handle.seek(position)
        left = self.n_bytes - position
        try:
            table = unpack(self._handle.read(min(left, MAX_UNPACKED_BYTES)), self._method)
            is_whole = tables.identifier(table) == tables.TABLE_TYPE and len(table) >= 4 + struct.unpack_from("<I", table)[0]
        except InputError:
            is_whole = False
        if not is_whole:
            self._note_cut(left, "the data table is cut off or damaged (no event was lost)")

    def _note_no_table(self) -> None:
        if self._has_table:
            self._note_cut(0, "the file ends before its data table")
        elif self._data_start == self.n_bytes:
            self._note_header_only()
        else:
            self._note("no data table: the recording was not closed; all packets were read")

    def _note_streams(self) -> None:
        ids = [stream.id for stream in self._streams if stream.type == "EVTS"]
        if self._streams and not ids:
            self._note(f"no event stream; the file holds {', '.join(sorted({stream.type for stream in self._streams}))}")
        elif len(ids) > 1:
            self._note(f"{len(ids)} event streams ({', '.join(map(str, ids))}); this is {self._stream}, choose with --stream")
        if ids and self._state.last_us == DecodeState().last_us and not self._is_truncated:
            self._note("the event stream is empty")

    def _named_size(self) -> SensorSize:
        """Size of the chosen stream, or of any other stream that tells one."""
        sizes = sorted(self._streams, key=lambda stream: (stream.id != self._stream, stream.id))
        return next((stream.sensor_size for stream in sizes if stream.sensor_size != _UNKNOWN_SIZE), _UNKNOWN_SIZE)

    def _measured_size(self) -> SensorSize:
        """The smallest sensor that holds all events of the stream, for files that do not tell."""
        max_x = max_y = -1
        for piece in self._event_bytes():
            xy = np.frombuffer(piece, dtype="<u2").reshape(-1, 8)[:, 4:6]
            xy = xy[(xy < _WIDEST.width).all(axis=1)]
            if xy.size:
                max_x, max_y = max(max_x, int(xy[:, 0].max())), max(max_y, int(xy[:, 1].max()))
        return SensorSize(max_x + 1, max_y + 1)


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
        Stream(int(node.get("name", "")), _attribute(node, "typeIdentifier"), _stream_size(node))
        for node in nodes
        if _is_number(node.get("name", ""))
    ]
    return tuple(sorted(streams))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _attribute(node: ET.Element, key: str) -> str:
    found = node.find(f"attr[@key='{key}']")
    return (found.text or "").strip() if found is not None else ""


def _stream_size(node: ET.Element) -> SensorSize:
    info = node.find("node[@name='info']")
    if info is None:
        return _UNKNOWN_SIZE
    texts = (_attribute(info, "sizeX"), _attribute(info, "sizeY"))
    if not all(_is_number(text) and 0 < int(text) <= _WIDEST.width for text in texts):
        return _UNKNOWN_SIZE
    return SensorSize(int(texts[0]), int(texts[1]))


def _choose_stream(path: Path, streams: tuple[Stream, ...], wanted: int | None) -> int | None:
    ids = [stream.id for stream in streams if stream.type == "EVTS"]
    if wanted is not None and wanted not in ids and streams:
        there = ", ".join(map(str, ids)) or "none"
        raise UsageError(f"{path} has no event stream {wanted}; its event streams: {there} (--stream)")
    return wanted if wanted is not None else min(ids, default=None)


def _method(path: Path, compression: int) -> Method:
    if not 0 <= compression < len(tables.COMPRESSIONS):
        raise InputError(f"{path}: compression number {compression} of this AEDAT 4 file is not known; it is damaged or newer")
    methods: tuple[Method, ...] = ("none", "lz4", "lz4", "zstd", "zstd")
    return methods[compression]
