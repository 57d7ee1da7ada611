"""ROS bags written by the library rosbags, of both versions and in every container, and cut or damaged afterwards."""

import sqlite3
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ros_bytes as built
from seeking import assert_spans_are_slices, read_span

from pipeline.schema.errors import UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.index import Index
from pipeline.sources.registry import is_recording, open_recording

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed (extra dev)")

HEADER = "std_msgs/Header header\nuint32 height\nuint32 width\n"
PACKET = HEADER + "uint64 seq\nuint64 time_base\nstring encoding\nbool is_bigendian\nuint8[] events\n"
EVENT = "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity\n"
ROWS = [(1_700_000_000_000_000 + 1000 * i, i % 32, i % 24, i % 2) for i in range(40)]
HOUSE = [(x, y, p, t) for t, x, y, p in ROWS]
KINDS = ("bag", "bag-lz4", "bag-bz2", "mcap", "mcap-zstd", "db3", "db3-zstd")


def typestore(name: str) -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores[name])
    for name, text in (
        ("event_camera_msgs/msg/EventPacket", PACKET),
        ("dvs_msgs/msg/Event", EVENT),
        ("dvs_msgs/msg/EventArray", HEADER + "dvs_msgs/Event[] events\n"),
        ("prophesee_event_msgs/msg/Event", EVENT),
        ("prophesee_event_msgs/msg/EventArray", HEADER + "prophesee_event_msgs/Event[] events\n"),
    ):
        store.register(get_types_from_msg(text, name))
    return store


ROS1, ROS2 = typestore("ROS1_NOETIC"), typestore("ROS2_HUMBLE")
Message = tuple[str, str, dict[str, Any]]


def header(store: Any) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](sec=5, nanosec=6)
    seq = {"seq": 1} if store is ROS1 else {}
    return store.types["std_msgs/msg/Header"](**seq, stamp=stamp, frame_id="camera")


def packet(payload: bytes, *, seq: int = 0, encoding: str = "mono", time_base: int = 0, topic: str = "/events") -> Message:
    fields = {"seq": seq, "time_base": time_base, "encoding": encoding, "is_bigendian": False}
    return topic, "event_camera_msgs/msg/EventPacket", {**fields, "events": np.frombuffer(payload, dtype=np.uint8)}


def array(rows: Iterable[tuple[int, int, int, int]], *, package: str = "dvs_msgs", topic: str = "/dvs") -> Message:
    event, time = ROS2.types[f"{package}/msg/Event"], ROS2.types["builtin_interfaces/msg/Time"]
    events = [event(x=x, y=y, ts=time(sec=t // 10**6, nanosec=t % 10**6 * 1000 + 999), polarity=bool(p)) for t, x, y, p in rows]
    return topic, f"{package}/msg/EventArray", {"events": events}


def mono_messages(n: int = 4) -> list[Message]:
    size = len(ROWS) // n
    parts = [ROWS[i : i + size] for i in range(0, len(ROWS), size)]
    return [packet(built.mono(part, part[0][0]), seq=i, time_base=part[0][0] * 1000) for i, part in enumerate(parts)]


def write_bag(folder: Path, kind: str, messages: list[Message]) -> Path:
    """A bag of messages; gives the file, or the folder of a ROS 2 bag."""
    container, _, packing = kind.partition("-")
    path = folder / ("a.bag" if container == "bag" else f"bag_{kind}")
    store = ROS1 if container == "bag" else ROS2
    serialise: Callable[..., Any] = ROS1.serialize_ros1 if container == "bag" else ROS2.serialize_cdr
    with _writer(path, container, packing) as writer:
        connections: dict[str, Any] = {}
        for i, (topic, name, fields) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=store)
            message = store.types[name](header=header(store), height=24, width=32, **fields)
            writer.write(connections[topic], 1000 + i, bytes(serialise(message, name)))
    return path


def _writer(path: Path, container: str, packing: str) -> Any:
    if container == "bag":
        from rosbags.rosbag1 import Writer as Writer1

        writer = Writer1(path)
        if packing:
            writer.set_compression(Writer1.CompressionFormat[packing.upper()])
        return writer
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    plugin = StoragePlugin.MCAP if container == "mcap" else StoragePlugin.SQLITE3
    writer2 = Writer(path, version=9, storage_plugin=plugin)
    if packing:
        mode = CompressionMode.STORAGE if container == "mcap" else CompressionMode.MESSAGE
        writer2.set_compression(mode, CompressionFormat.ZSTD)
    return writer2


def read(path: Path, **options: Any) -> list[tuple[int, int, int, int]]:
    with open_recording(path, **options) as source:
        return [event for events in source.packets() for event in events.tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_mono_packets_of_every_container_become_events(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path, kind, mono_messages())
    with open_recording(path) as source:
        assert (
            source.info.format
            == {"bag": "ROS 1 bag", "mcap": "ROS 2 bag (MCAP)", "db3": "ROS 2 bag (SQLite)"}[kind[:4].strip("-")]
        )
        assert (source.info.encoding, source.info.sensor_size) == ("mono, /events", SensorSize(32, 24))
        for _ in range(2):
            assert [event for events in source.packets() for event in events.tolist()] == HOUSE
            assert source.report().warnings == ()


@pytest.mark.parametrize("kind", ["bag", "mcap", "db3"])
@pytest.mark.parametrize("package", ["dvs_msgs", "prophesee_event_msgs"])
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_event_arrays_have_their_nanoseconds_cut(tmp_path: Path, kind: str, package: str, n: int) -> None:
    messages = [array(ROWS[i : i + n], package=package) for i in range(0, len(ROWS), n)]
    assert read(write_bag(tmp_path, kind, messages)) == HOUSE


@pytest.mark.parametrize("kind", ["bag", "mcap", "db3"])
def test_evt3_state_goes_on_from_message_to_message(tmp_path: Path, kind: str) -> None:
    words = [0x8000, 0x6005, 0x0007, 0x2801, 0xA601, 0x8001, 0x6002, 0x2003, 0x8000 | 0x800, 0x6000, 0x2804]
    payloads = [struct.pack("<H", word) for word in words] + [b"\x01"]
    path = write_bag(tmp_path, kind, [packet(data, seq=i, encoding="evt3") for i, data in enumerate(payloads)])
    with open_recording(path) as source:
        assert read_span(source).tolist() == [(1, 7, 1, 5), (3, 7, 0, 4098), (4, 7, 1, 0x800 << 12)]
        assert source.take_triggers().tolist() == [(5, 6, 1)]


def test_trigger_messages_become_triggers(tmp_path: Path) -> None:
    edges = struct.pack("<QQ", 1 << 63 | 3 << 48 | 5_999, 3 << 48 | 9_000)
    path = write_bag(
        tmp_path, "bag", [*mono_messages(), packet(edges, seq=4, encoding="trigger", time_base=ROWS[-1][0] * 1000)]
    )
    with open_recording(path) as source:
        assert read_span(source).size == len(ROWS)
        assert source.take_triggers().tolist() == [(ROWS[-1][0] + 5, 3, 1), (ROWS[-1][0] + 9, 3, 0)]


@pytest.mark.parametrize("kind", ["bag", "mcap", "db3"])
def test_first_topic_with_events_is_read_and_others_are_told(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path, kind, [*mono_messages(), array(ROWS[:3])])
    with open_recording(path) as source:
        assert read_span(source).size == len(ROWS)
        assert source.report().warnings == ("2 topics hold events; /events was read (choose with --topic)",)
    assert read(path, topic="/dvs") == HOUSE[:3]
    with pytest.raises(UsageError, match=r"no events in the topic '/none'; its topics are: /events .*EventPacket.*, /dvs"):
        open_recording(path, topic="/none")


def test_lost_messages_are_told_by_their_numbers(tmp_path: Path) -> None:
    messages = mono_messages()
    with open_recording(write_bag(tmp_path, "mcap", [messages[0], messages[1], messages[3]])) as source:
        assert read_span(source).size == 30
        assert source.report().warnings == ("1 messages are missing by their numbers; they were lost while recording",)


def test_bags_without_events_and_in_foreign_encodings_are_refused_by_name(tmp_path: Path) -> None:
    path = write_bag(tmp_path, "bag", [packet(b"\0" * 8, encoding="libcaer_cmp")])
    with pytest.raises(UnknownFormatError, match="libcaer_cmp"):
        open_recording(path)
    with _writer(tmp_path / "b.bag", "bag", "") as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=ROS1)
        text = ROS1.serialize_ros1(ROS1.types["std_msgs/msg/String"](data="a"), "std_msgs/msg/String")
        writer.write(connection, 1, bytes(text))
    with pytest.raises(UnknownFormatError, match=r"without events; its topics are: /chatter \(std_msgs/String\)"):
        open_recording(tmp_path / "b.bag")
    assert not is_recording(tmp_path / "b.bag")
    (tmp_path / "c").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    assert is_recording(tmp_path / "c")
    with sqlite3.connect(tmp_path / "d") as database:
        database.execute("CREATE TABLE notes(text TEXT)")
    database.close()
    with pytest.raises(UnknownFormatError, match="no ROS 2 bag"):
        open_recording(tmp_path / "d")


@pytest.mark.parametrize("is_packed", [False, True])
def test_bags_built_by_hand_become_events(tmp_path: Path, is_packed: bool) -> None:
    parts = [ROWS[i : i + 10] for i in range(0, 40, 10)]
    old, new = [built.packet_ros1(part, seq=i) for i, part in enumerate(parts)], [built.packet_cdr(part) for part in parts]
    for data in (built.bag1(old, is_packed=is_packed), built.mcap(new, is_packed=is_packed), built.db3(new)):
        (tmp_path / "a").write_bytes(data)
        assert read(tmp_path / "a") == HOUSE


def bag_file(path: Path) -> Path:
    return path if path.is_file() else next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))


def test_a_bag_that_was_not_closed_says_so(tmp_path: Path) -> None:
    data = write_bag(tmp_path, "bag", mono_messages()).read_bytes()
    (tmp_path / "cut.bag").write_bytes(data[:-10])
    with open_recording(tmp_path / "cut.bag") as source:
        assert read_span(source).size == len(ROWS)
        assert source.report().is_truncated


def test_split_bags_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for number, part in ((2, mono_messages()[:2]), (10, mono_messages()[2:])):
        made = bag_file(write_bag(tmp_path / str(number), "mcap", part)) if (tmp_path / str(number)).mkdir() is None else None
        assert made is not None
        made.rename(folder / f"bag_{number}.mcap")
    assert read(folder) == HOUSE


@pytest.mark.parametrize("kind", ["bag", "mcap", "db3"])
def test_a_span_equals_the_slice_of_the_whole(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr("pipeline.sources.ros_sqlite._BATCH_ROWS", 2)
    parts = [ROWS[i : i + 2] for i in range(0, 40, 2)]
    old, new = ([pack(part, seq=i) for i, part in enumerate(parts)] for pack in (built.packet_ros1, built.packet_cdr))
    (tmp_path / "a").write_bytes({"bag": built.bag1(old), "mcap": built.mcap(new), "db3": built.db3(new)}[kind])
    assert assert_spans_are_slices(tmp_path / "a") > 40


def test_a_span_of_evt3_takes_over_row_and_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr("pipeline.sources.ros_sqlite._BATCH_ROWS", 1)
    words = [0x8000, 0x0007, *(word for i in range(40) for word in (0x6000 | 50 * i, 0x2800 | i)), 0x8001, 0x6000, 0x2001]
    payloads = [struct.pack("<H", word) for word in words]
    path = write_bag(tmp_path, "db3", [packet(data, seq=i, encoding="evt3") for i, data in enumerate(payloads)])
    assert assert_spans_are_slices(path) > 40


def test_real_bag_meets_its_manifest(shared_data: Path) -> None:
    with open_recording(shared_data / "recordings/rosbag/ros1_evt3_640x480.bag") as source:
        events = np.concatenate(list(source.packets()))
        assert source.report().n_triggers == 4157
        assert source.report().warnings == ()
    assert (events.size, int(events["p"].sum())) == (343_474, 125_183)
    assert (events["t"][0], events["t"][-1]) == (7_139_845, 9_218_023)


def test_real_bag_in_a_foreign_encoding_is_refused_by_its_name(shared_data: Path) -> None:
    for path in ("", "/test_events_2_0.mcap"):
        with pytest.raises(UnknownFormatError, match=r"/event_camera/events is in the encoding 'libcaer_cmp'"):
            open_recording(Path(f"{shared_data}/recordings/rosbag/ros2_libcaer_cmp_346x260{path}"))
