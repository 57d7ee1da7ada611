"""ROS messages that hold events, from bytes as ROS 1 or CDR (ROS 2) writes them. Knows no bag.

`EventPacket` (event_camera_msgs): header, height, width, seq, time_base, encoding, is_bigendian, events as bytes. `EventArray`
(dvs_msgs, prophesee_event_msgs): header, height, width, and events one by one: x, y, seconds, nanoseconds, polarity.
"""

import struct
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import Triggers, make_triggers
from pipeline.sources.columns import Columns
from pipeline.sources.compression import unpack
from pipeline.sources.ros_records import MAX_CHUNK_BYTES, Connection, DamagedRecordError

_PACKET_TYPES = ("event_camera_msgs/EventPacket", "event_array_msgs/EventArray")
_ARRAY_TYPES = ("dvs_msgs/EventArray", "prophesee_event_msgs/EventArray")
ARRAY = "EventArray"
_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000
# Far from the end of int64.
_MAX_TIME_NS = 1 << 62
_WORD_BYTES = 8
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# x, y, seconds, nanoseconds, polarity as ROS 1 writes them.
_ROS1_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
# CDR aligns: from one event's seconds to the next one's are 16 bytes, but the x and y of the first lie closer to them.
_CDR_STRIDE, _CDR_SECOND_EVENT = 16, 14


class EventMessage(NamedTuple):
    """One message. `encoding` is `evt3`, `mono`, `trigger` or another one, or `EventArray`, whose list is at `data_start`."""

    encoding: str
    width: int
    height: int
    data: memoryview
    data_start: int = 0
    seq: int | None = None
    time_base_ns: int = 0
    is_bigendian: bool = False
    coding: Literal["ros1", "cdr"] = "ros1"


def holds_events(connection: Connection) -> bool:
    """Whether messages of this type are read here."""
    return _plain(connection.message_type) in _PACKET_TYPES + _ARRAY_TYPES


def parse_message(connection: Connection, data: memoryview) -> EventMessage:
    """One message; DamagedRecordError if its bytes do not fit."""
    data = _unpacked(connection, data)
    try:
        reader = _Reader(connection, data)
        reader.header()
        height, width = reader.number("I"), reader.number("I")
        if _plain(connection.message_type) in _ARRAY_TYPES:
            return EventMessage(ARRAY, width, height, data, reader.at, coding=connection.coding)
        seq, time_base = reader.number("Q"), reader.number("Q")
        encoding, is_bigendian = reader.text(), reader.number("B") != 0
        n = reader.number("I")
    except struct.error as error:
        raise DamagedRecordError(f"a message ends too early ({error})") from None
    if reader.at + n > len(data) or time_base > _MAX_TIME_NS:
        raise DamagedRecordError(f"a message claims {n} bytes of events at {time_base} ns")
    payload = data[reader.at : reader.at + n]
    return EventMessage(encoding, width, height, payload, 0, seq, time_base, is_bigendian)


def mono_columns(message: EventMessage) -> Columns:
    """Events of the encoding `mono`: 64-bit words {ON 63, y 62-48, x 47-32, ns since `time_base` 31-0}."""
    words = _words(message)
    t = (message.time_base_ns + (words & 0xFFFFFFFF)) // _NS_PER_US
    return np.stack((t, words >> 32 & 0xFFFF, words >> 48 & 0x7FFF, words >> 63 & 1))


def trigger_edges(message: EventMessage) -> Triggers:
    """Triggers of the encoding `trigger`: 64-bit words {rising 63, input 62-48, ns since `time_base` 31-0}."""
    words = _words(message)
    t = (message.time_base_ns + (words & 0xFFFFFFFF)) // _NS_PER_US
    return make_triggers(t, words >> 48 & 0x7FFF, words >> 63 & 1)


def array_columns(message: EventMessage) -> Columns:
    """Events of an `EventArray`."""
    data, at = message.data, message.data_start
    if message.coding == "ros1":
        n = _count(data, at, "<", _ROS1_EVENT.itemsize)
        events = np.frombuffer(data, dtype=_ROS1_EVENT, count=n, offset=at + 4)
        return _columns(*(events[name] for name in ("x", "y", "s", "ns", "p")))
    order = "<" if data[1] & 1 else ">"
    at += -(at - 4) % 4
    n = _count(data, at, order, _CDR_SECOND_EVENT - 1)
    at += 4
    if n and at + 13 + _CDR_STRIDE * (n - 1) > len(data):
        raise DamagedRecordError(f"a message claims {n} events, more than it holds")

    def column(kind: str, first: int, count: int) -> npt.NDArray[np.int64]:
        return np.ndarray((count,), f"{order}{kind}", data, at + first, (_CDR_STRIDE,)).astype(np.int64)

    if n == 0:
        return np.zeros((4, 0), dtype=np.int64)
    x, y = (
        np.concatenate(
            (column("u2", first, 1), column("u2", _CDR_SECOND_EVENT + first, n - 1) if n > 1 else column("u2", 0, 0))
        )
        for first in (0, 2)
    )
    return _columns(x, y, column("i4", 4, n), column("u4", 8, n), column("u1", 12, n))


def _columns(*fields: npt.NDArray[np.generic]) -> Columns:
    x, y, seconds, nanoseconds, p = (field.astype(np.int64) for field in fields)
    return np.stack(((seconds * _NS_PER_S + nanoseconds) // _NS_PER_US, x, y, p))


def _words(message: EventMessage) -> npt.NDArray[np.int64]:
    """The whole 64-bit words of a message, int64 (n,)."""
    dtype = np.dtype(">i8" if message.is_bigendian else "<i8")
    return np.frombuffer(message.data, dtype=dtype, count=len(message.data) // _WORD_BYTES).astype(np.int64)


def _count(data: memoryview, at: int, order: str, least_bytes: int) -> int:
    """How many events follow; DamagedRecordError if there is no room for them."""
    if at + 4 > len(data):
        raise DamagedRecordError("a message ends too early")
    n: int = struct.unpack_from(f"{order}I", data, at)[0]
    if n * least_bytes > len(data) - at:
        raise DamagedRecordError(f"a message claims {n} events, more than it holds")
    return n


def _unpacked(connection: Connection, data: memoryview) -> memoryview:
    """A message of a bag whose messages are packed one by one; no CDR begins like Zstandard."""
    if connection.coding != "cdr" or data[:4] != _ZSTD_MAGIC:
        return data
    try:
        return memoryview(unpack(bytes(data), "zstd", limit=MAX_CHUNK_BYTES))
    except InputError as error:
        raise DamagedRecordError(str(error)) from None


def _plain(message_type: str) -> str:
    """A type as ROS 1 writes it, without the `msg` of ROS 2."""
    return message_type.replace("/msg/", "/")


class _Reader:
    """Fields of a message, one after another; CDR has each at a multiple of its size, counted from behind four bytes."""

    def __init__(self, connection: Connection, data: memoryview) -> None:
        self._data = data
        self._is_cdr = connection.coding == "cdr"
        self._order = ">" if self._is_cdr and len(data) > 1 and not data[1] & 1 else "<"
        self.at = 4 if self._is_cdr else 0

    def number(self, kind: str) -> int:
        size = struct.calcsize(f"<{kind}")
        if self._is_cdr:
            self.at += -(self.at - 4) % size
        value: int = struct.unpack_from(f"{self._order}{kind}", self._data, self.at)[0]
        self.at += size
        return value

    def text(self) -> str:
        n = self.number("I")
        if self.at + n > len(self._data):
            raise struct.error(f"a text of {n} bytes")
        value = bytes(self._data[self.at : self.at + n]).rstrip(b"\0").decode("utf-8", errors="replace")
        self.at += n
        return value

    def header(self) -> None:
        """Step over a std_msgs header: (seq in ROS 1), stamp, frame."""
        for _ in range(2 if self._is_cdr else 3):
            self.number("I")
        self.text()
