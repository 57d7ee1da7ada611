"""MCAP, the container of ROS 2 bags (and some ROS 1 ones), as records, read from front to end.

A record: a byte that says its kind, the length of its content (uint64), the content. Chunks hold records, perhaps compressed.
The index behind them only spares a look for the channels. Knows nothing of messages.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import cast

from pipeline.schema.errors import InputError
from pipeline.sources.compression import Method, unpack
from pipeline.sources.ros_records import MAX_CHUNK_BYTES, Batch, Connection, Container, DamagedRecordError

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
# Opcode, length, start of the summary, start of its offsets, checksum; the magic follows.
_FOOTER_RECORD = struct.Struct("<BQQQI")


class Mcap(Container):
    """An MCAP file. `is_indexed`: all its channels are known from the start."""

    name = "ROS 2 bag (MCAP)"

    def __init__(self, handle: BufferedReader, n_bytes: int) -> None:
        super().__init__(handle, n_bytes)
        self.start = len(MAGIC)
        self._schemas: dict[int, str] = {}
        try:
            self._read_summary()
        except (DamagedRecordError, struct.error, OSError):
            self.is_indexed = False

    def batches(self, place: int) -> Iterator[Batch]:
        """The messages of chunk after chunk, from a place on."""
        at = place
        while True:
            try:
                kind, content_start, at = self._head(at)
            except DamagedRecordError as error:
                self.cut(at, str(error))
                return
            if kind in (_FOOTER, _DATA_END):
                return
            try:
                messages = self._messages(kind, content_start, at)
            except (DamagedRecordError, InputError, struct.error) as error:
                self.skip(at - content_start, str(error))
                continue
            if messages:
                yield Batch(messages, at)

    def _messages(self, kind: int, start: int, end: int) -> list[tuple[int, memoryview]]:
        """The messages of one record; also takes in what it tells of channels."""
        if kind == _CHUNK:
            messages: list[tuple[int, memoryview]] = []
            for inner, content in _records(memoryview(_unpack(self.read(start, end)))):
                if inner == _MESSAGE:
                    messages.append(_message(content))
                else:
                    self._describe(inner, content)
            return messages
        if kind == _MESSAGE:
            return [_message(memoryview(self.read(start, end)))]
        if kind in (_SCHEMA, _CHANNEL):
            self._describe(kind, memoryview(self.read(start, end)))
        return []

    def _describe(self, kind: int, content: memoryview) -> None:
        """Take in a schema or a channel."""
        if kind == _SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            self._schemas[number], _ = _text(content, 2)
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, at = _text(content, 4)
            coding, _ = _text(content, at)
            self.connections[number] = Connection(topic, self._schemas.get(schema, ""), "ros1" if coding == "ros1" else "cdr")

    def _head(self, at: int) -> tuple[int, int, int]:
        """Kind of the record at a place, and where its content begins and ends."""
        kind, n_content = _HEAD.unpack(self.read(at, at + _HEAD.size))
        start = at + _HEAD.size
        if start + n_content > self.n_bytes:
            raise DamagedRecordError("its last record is cut off")
        return kind, start, start + n_content

    def _read_summary(self) -> None:
        """All channels, from the summary at the end; nothing where the file was not closed."""
        at = self.n_bytes - len(MAGIC) - _FOOTER_RECORD.size
        kind, _, summary, *_ = _FOOTER_RECORD.unpack(self.read(at, at + _FOOTER_RECORD.size))
        if kind != _FOOTER or not self.start < summary < at:
            return
        while summary < at:
            kind, start, summary = self._head(summary)
            if kind in (_SCHEMA, _CHANNEL):
                self._describe(kind, memoryview(self.read(start, summary)))
        self.is_indexed = bool(self.connections)


def _records(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The records within a chunk."""
    at = 0
    while at < len(content):
        if at + _HEAD.size > len(content):
            raise DamagedRecordError("a chunk ends within a record")
        kind, n = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if at + n > len(content):
            raise DamagedRecordError("a chunk ends within a record")
        yield kind, content[at : at + n]
        at += n


def _message(content: memoryview) -> tuple[int, memoryview]:
    channel, *_ = _MESSAGE_HEAD.unpack_from(content)
    return channel, content[_MESSAGE_HEAD.size :]


def _text(content: memoryview, at: int) -> tuple[str, int]:
    """A text behind its length, and where it ends."""
    (n,) = struct.unpack_from("<I", content, at)
    if at + 4 + n > len(content):
        raise DamagedRecordError("a text is longer than its record")
    return bytes(content[at + 4 : at + 4 + n]).decode("utf-8", errors="replace"), at + 4 + n


def _unpack(chunk: bytes) -> bytes:
    """The records of a chunk, checked against their sum where it has one."""
    *_, size, checksum = _CHUNK_HEAD.unpack_from(chunk)
    method, at = _text(memoryview(chunk), _CHUNK_HEAD.size)
    if method not in ("", "lz4", "zstd"):
        raise DamagedRecordError(f"a chunk is packed with {method[:20]!r}; only lz4 and zstd are known")
    if size > MAX_CHUNK_BYTES and method:
        raise DamagedRecordError(f"a chunk of {size} bytes cannot be")
    content = unpack(chunk[at + 8 :], cast(Method, method or "none"), limit=MAX_CHUNK_BYTES)
    if checksum and zlib.crc32(content) != checksum:
        raise DamagedRecordError("the sum of a chunk is wrong")
    return content
