"""ROS bags built byte by byte: EventPacket messages in the encoding `mono`, in each container."""

import sqlite3
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lz4.frame

Row = tuple[int, int, int, int]
PACKET = "event_camera_msgs/EventPacket"
TOPIC = b"/events"


def mono(rows: Sequence[Row], base_us: int) -> bytes:
    """Events of (t, x, y, p) as words of 64 bits, times in ns since `base_us`."""
    return b"".join(struct.pack("<Q", p << 63 | y << 48 | x << 32 | (t - base_us) * 1000) for t, x, y, p in rows)


def packet_ros1(rows: Sequence[Row], *, seq: int = 0) -> bytes:
    """An EventPacket of a sensor of 32x24 as ROS 1 writes it."""
    payload = mono(rows, rows[0][0])
    header = struct.pack("<III", 7, 5, 6) + struct.pack("<I", 3) + b"cam"
    fields = struct.pack("<IIQQ", 24, 32, seq, rows[0][0] * 1000)
    return header + fields + struct.pack("<I", 4) + b"mono" + b"\0" + struct.pack("<I", len(payload)) + payload


def packet_cdr(rows: Sequence[Row], *, seq: int = 0) -> bytes:
    """The same in CDR: each field at a multiple of its size, texts with a zero behind them."""
    payload = mono(rows, rows[0][0])
    data = struct.pack("<iI", 5, 6) + struct.pack("<I", 4) + b"cam\0"
    data += struct.pack("<II", 24, 32) + struct.pack("<QQ", seq, rows[0][0] * 1000)
    data += struct.pack("<I", 5) + b"mono\0" + b"\0"
    data += b"\0" * (-len(data) % 4) + struct.pack("<I", len(payload)) + payload
    return b"\0\1\0\0" + data


def record1(fields: dict[bytes, bytes], data: bytes) -> bytes:
    """A record of a ROS 1 bag."""
    header = b"".join(struct.pack("<I", len(name) + 1 + len(value)) + name + b"=" + value for name, value in fields.items())
    return struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data


def bag1(messages: Sequence[bytes], *, is_packed: bool = False) -> bytes:
    """A ROS 1 bag with one chunk a message and an index of connections at its end."""
    connection = record1(
        {b"op": b"\7", b"conn": struct.pack("<I", 0), b"topic": TOPIC},
        record1({b"topic": TOPIC, b"type": PACKET.encode(), b"md5sum": b"*", b"message_definition": b""}, b"")[4:-4],
    )
    chunks = b""
    for number, message in enumerate(messages):
        content = (connection if number == 0 else b"") + record1(
            {b"op": b"\2", b"conn": struct.pack("<I", 0), b"time": struct.pack("<II", 1, number)}, message
        )
        fields = {b"op": b"\5", b"compression": b"lz4" if is_packed else b"none", b"size": struct.pack("<I", len(content))}
        chunks += record1(fields, lz4.frame.compress(content) if is_packed else content)
    magic = b"#ROSBAG V2.0\n"
    fields = {b"op": b"\3", b"index_pos": bytes(8), b"conn_count": struct.pack("<I", 1), b"chunk_count": bytes(4)}
    fields[b"index_pos"] = struct.pack("<Q", len(magic) + len(record1(fields, b"")) + len(chunks))
    return magic + record1(fields, b"") + chunks + connection


def record_mcap(kind: int, content: bytes) -> bytes:
    """A record of an MCAP file."""
    return struct.pack("<BQ", kind, len(content)) + content


def text_mcap(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def mcap(messages: Sequence[bytes], *, is_packed: bool = False) -> bytes:
    """An MCAP file with one chunk a message, and a summary that names the channel."""
    schema = record_mcap(
        3, struct.pack("<H", 1) + text_mcap(PACKET.replace("/", "/msg/")) + text_mcap("ros2msg") + text_mcap("")
    )
    channel = record_mcap(4, struct.pack("<HH", 5, 1) + text_mcap(TOPIC.decode()) + text_mcap("cdr") + struct.pack("<I", 0))
    data = b"\x89MCAP0\r\n" + record_mcap(1, text_mcap("ros2") + text_mcap("tests"))
    for number, message in enumerate(messages):
        content = schema + channel if number == 0 else b""
        content += record_mcap(5, struct.pack("<HIQQ", 5, number, number, number) + message)
        packed = lz4.frame.compress(content) if is_packed else content
        head = struct.pack("<QQQI", number, number, len(content), 0) + text_mcap("lz4" if is_packed else "")
        data += record_mcap(6, head + struct.pack("<Q", len(packed)) + packed)
    data += record_mcap(15, bytes(4))
    return data + schema + channel + record_mcap(2, struct.pack("<QQI", len(data), 0, 0)) + b"\x89MCAP0\r\n"


def db3(messages: Sequence[bytes]) -> bytes:
    """A ROS 2 bag in SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag.db3"
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
        database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
        database.execute("INSERT INTO topics VALUES(1, ?, ?, 'cdr')", (TOPIC.decode(), PACKET.replace("/", "/msg/")))
        database.executemany("INSERT INTO messages VALUES(NULL, 1, ?, ?)", list(enumerate(messages)))
        database.commit()
        database.close()
        return path.read_bytes()
