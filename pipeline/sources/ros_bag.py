"""ROS 1 bags (`#ROSBAG V2.0`) as records, read from front to end, so that a bag that was cut off or never indexed is read too.

A record: length and fields (`name=value`) of its header, length and bytes of its data. Chunks are records whose data, perhaps
compressed, are records. Knows nothing of messages.
"""

import bz2
import struct
from collections.abc import Iterator
from io import BufferedReader

from pipeline.schema.errors import InputError
from pipeline.sources.compression import unpack
from pipeline.sources.ros_records import MAX_CHUNK_BYTES, Batch, Connection, Container, DamagedRecordError

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 5, 6, 7
_MAX_HEADER_BYTES = 1 << 20
_Fields = dict[bytes, bytes]


class Bag1(Container):
    """A ROS 1 bag. `is_indexed`: all its connections are known from the start."""

    name = "ROS 1 bag"

    def __init__(self, handle: BufferedReader, n_bytes: int) -> None:
        super().__init__(handle, n_bytes)
        self.start = len(MAGIC)
        try:
            self._read_index()
        except (DamagedRecordError, OSError):
            self.is_indexed = False

    def batches(self, place: int) -> Iterator[Batch]:
        """The messages of chunk after chunk, from a place on."""
        at = place
        while at < self.n_bytes:
            try:
                fields, data_start, data_end = self._header(at)
            except DamagedRecordError as error:
                self.cut(at, str(error))
                return
            at = data_end
            try:
                messages = self._messages(fields, data_start, data_end)
            except (DamagedRecordError, InputError) as error:
                self.skip(data_end - data_start, str(error))
                continue
            if messages:
                yield Batch(messages, at)

    def _messages(self, fields: _Fields, data_start: int, data_end: int) -> list[tuple[int, memoryview]]:
        """The messages of one record; also takes in what it tells of connections."""
        kind = _number(fields, b"op", 1)
        if kind == _CONNECTION:
            self._connect(fields, memoryview(self.read(data_start, data_end)))
        if kind == _MESSAGE:
            return [(_number(fields, b"conn", 4), memoryview(self.read(data_start, data_end)))]
        if kind != _CHUNK:
            return []
        content = _unpack(self.read(data_start, data_end), fields)
        messages: list[tuple[int, memoryview]] = []
        for inner, data in _records(memoryview(content)):
            kind = _number(inner, b"op", 1)
            if kind == _CONNECTION:
                self._connect(inner, data)
            elif kind == _MESSAGE:
                messages.append((_number(inner, b"conn", 4), data))
        return messages

    def _connect(self, fields: _Fields, data: memoryview) -> None:
        inner = _fields(data)
        topic = inner.get(b"topic", b"") or fields.get(b"topic", b"")
        kind = inner.get(b"type", b"").decode("utf-8", errors="replace")
        self.connections[_number(fields, b"conn", 4)] = Connection(topic.decode("utf-8", errors="replace"), kind, "ros1")

    def _read_index(self) -> None:
        """All connections, from the records behind the chunks; nothing where the bag was not closed."""
        fields, _, at = self._header(self.start)
        self.start = at
        place = _number(fields, b"index_pos", 8)
        n_connections = _number(fields, b"conn_count", 4)
        while self.start <= place < self.n_bytes:
            fields, data_start, data_end = self._header(place)
            if _number(fields, b"op", 1) != _CONNECTION:
                break
            self._connect(fields, memoryview(self.read(data_start, data_end)))
            place = data_end
        self.is_indexed = 0 < n_connections <= len(self.connections)

    def _header(self, at: int) -> tuple[_Fields, int, int]:
        """Fields of the record at a place, and where its data begin and end."""
        n_header = int.from_bytes(self.read(at, at + 4), "little")
        if n_header > _MAX_HEADER_BYTES:
            raise DamagedRecordError(f"a header of {n_header} bytes cannot be")
        header = self.read(at + 4, at + 8 + n_header)
        data_start = at + 8 + n_header
        data_end = data_start + int.from_bytes(header[n_header:], "little")
        if data_end > self.n_bytes:
            raise DamagedRecordError("its last record is cut off")
        return _fields(memoryview(header)[:n_header]), data_start, data_end


def _fields(data: memoryview) -> _Fields:
    """The `name=value` fields of a header."""
    fields: _Fields = {}
    at = 0
    while at + 4 <= len(data):
        n = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + n > len(data):
            raise DamagedRecordError("a field is longer than its header")
        name, _, value = bytes(data[at + 4 : at + 4 + n]).partition(b"=")
        fields[name] = value
        at += 4 + n
    return fields


def _number(fields: _Fields, name: bytes, n_bytes: int) -> int:
    value = fields.get(name, b"")
    if len(value) != n_bytes:
        raise DamagedRecordError(f"a header without {name.decode()}")
    return int.from_bytes(value, "little")


def _records(content: memoryview) -> Iterator[tuple[_Fields, memoryview]]:
    """The records within a chunk."""
    at = 0
    while at < len(content):
        if at + 4 > len(content):
            raise DamagedRecordError("a chunk ends within a record")
        (n_header,) = struct.unpack_from("<I", content, at)
        data_start = at + 8 + n_header
        if data_start > len(content):
            raise DamagedRecordError("a chunk ends within a record")
        (n_data,) = struct.unpack_from("<I", content, data_start - 4)
        if data_start + n_data > len(content):
            raise DamagedRecordError("a chunk ends within a record")
        yield _fields(content[at + 4 : data_start - 4]), content[data_start : data_start + n_data]
        at = data_start + n_data


def _unpack(data: bytes, fields: _Fields) -> bytes:
    """The content of a chunk."""
    method, size = fields.get(b"compression", b"none"), _number(fields, b"size", 4)
    if method == b"none":
        return data
    if size > MAX_CHUNK_BYTES:
        raise DamagedRecordError(f"a chunk of {size} bytes cannot be")
    if method == b"lz4":
        return unpack(data, "lz4", limit=MAX_CHUNK_BYTES)
    if method != b"bz2":
        raise DamagedRecordError(f"a chunk is packed with {method.decode('latin-1')[:20]!r}; only bz2 and lz4 are known")
    try:
        return bz2.BZ2Decompressor().decompress(data, max_length=MAX_CHUNK_BYTES)
    except (OSError, EOFError, ValueError) as error:
        raise DamagedRecordError(f"a chunk is damaged: {error}") from None
