"""AEDAT 4.0 as written: what comes back, what a crash leaves, and that the file is whole after closing."""

import struct
from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, Triggers, empty_events, empty_triggers, make_events, make_triggers
from pipeline.sinks.registry import open_sink
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.compression import unpack
from pipeline.sources.registry import open_recording


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("n_parts", [1, 13])
def test_every_event_comes_back(tmp_path: Path, compression: str, n_parts: int) -> None:
    events = random_events(50_000, duration_us=400_000)
    events["t"] += 1_605_537_493_718_345
    with open_sink(tmp_path / "a.aedat4", SENSOR, compression=compression) as sink:
        for part in np.array_split(events, n_parts):
            sink.write(part)
    with open_recording(tmp_path / "a.aedat4") as source:
        assert source.info.sensor_size == SENSOR
        assert source.info.encoding == compression.upper()
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()
        assert not source.report().is_truncated


def test_equal_events_give_equal_bytes_however_they_were_split(tmp_path: Path) -> None:
    events = random_events(50_000, duration_us=400_000)
    for name, n_parts in (("a", 1), ("b", 11)):
        with open_sink(tmp_path / name, SENSOR, format="aedat4") as sink:
            for part in np.array_split(events, n_parts):
                sink.write(part)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_was_flushed_is_readable_before_the_file_is_closed(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(make_events([1, 2], [3, 4], [5, 6], [0, 1]))
        sink.flush()
        sink.write(make_events([3], [3], [3], [1]))
        with open_recording(tmp_path / "a.aedat4") as source:
            assert [packet["t"].tolist() for packet in source.packets()] == [[1, 2]]
            assert source.report().warnings == ("no data table: the recording was not closed; all packets were read",)


def test_sensor_time_alone_makes_packets_so_that_a_crash_costs_little(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(make_events([0, 49_999, 50_000, 3_000_000], [0] * 4, [0] * 4, [0] * 4))
        with open_recording(tmp_path / "a.aedat4") as source:
            assert [t for packet in source.packets() for t in packet["t"].tolist()] == [0, 49_999, 50_000]


def test_closing_twice_and_writing_nothing_leave_a_whole_file(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.aedat4", SENSOR)
    sink.write(empty_events())
    sink.close()
    sink.close()
    with open_recording(tmp_path / "a.aedat4") as source:
        assert list(source.packets()) == []
        assert not source.report().is_truncated
        assert source.report().warnings == ("the event stream is empty",)


def test_data_table_lists_every_packet_behind_its_header(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR, compression="lz4") as sink:
        sink.write(make_events([10, 20, 60_010], [1, 2, 3], [1, 2, 3], [0, 1, 0]))
    data = (tmp_path / "a.aedat4").read_bytes()
    length = struct.unpack_from("<I", data, len(tables.MAGIC))[0]
    start = len(tables.MAGIC) + 4 + length
    header = tables.read_file_header(data[len(tables.MAGIC) : start])
    table = unpack(data[header.table_position :], "lz4")
    stream, size = struct.unpack_from("<ii", data, start)
    entry = struct.pack("<iixxxxqqqq", stream, size, start + 8, 2, 10, 20)
    assert tables.identifier(table) == b"FTAB"
    assert struct.unpack_from("<I", table, 28)[0] == 2
    assert entry in table


def test_events_are_copied_because_sources_may_reuse_their_memory(tmp_path: Path) -> None:
    events = make_events([1], [1], [1], [1])
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(events)
        events["x"] = 9
    with open_recording(tmp_path / "a.aedat4") as source:
        assert next(source.packets())["x"].tolist() == [1]


def test_sensor_too_wide_for_int16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="15 bits"):
        open_sink(tmp_path / "a.aedat4", SensorSize(40_000, 10))


def triggers_in(path: Path) -> Triggers:
    with open_recording(path) as source:
        for _ in source.packets():
            pass
        return source.take_triggers()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_every_trigger_comes_back(tmp_path: Path, compression: str) -> None:
    kinds = [(0, 1), (0, 0), (1, 1), (2, 1), (2, 0), (3, 1), (3, 0), (4, 1), (4, 0)] * 300
    triggers = make_triggers(np.arange(2700) * 11 + 5, *np.array(kinds).T)
    events = random_events(5000)
    with open_sink(tmp_path / "a.aedat4", SENSOR, compression=compression) as sink:
        assert sink.holds_triggers
        for part, met in zip(np.array_split(events, 7), np.array_split(triggers, 7), strict=True):
            sink.write(part)
            sink.write_triggers(met)
            sink.write_triggers(empty_triggers())
    assert np.array_equal(triggers_in(tmp_path / "a.aedat4"), triggers)
    with open_recording(tmp_path / "a.aedat4") as source:
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()


@pytest.mark.parametrize(("number", "p"), [(1, 0), (5, 1), (6, 0), (-1, 0)])
def test_triggers_without_a_kind_are_refused_and_nothing_of_them_is_written(tmp_path: Path, number: int, p: int) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        with pytest.raises(UsageError, match="ids 0"):
            sink.write_triggers(make_triggers([1, 2], [0, number], [1, p]))
        sink.write_triggers(make_triggers([3], [0], [0]))
    assert triggers_in(tmp_path / "a.aedat4").tolist() == [(3, 0, 0)]


def test_flushed_triggers_are_readable_before_the_file_is_closed(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write_triggers(make_triggers([3], [0], [1]))
        sink.flush()
        assert triggers_in(tmp_path / "a.aedat4").tolist() == [(3, 0, 1)]


def test_triggers_may_come_before_or_after_the_events_around_them(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(make_events([100], [0], [0], [0]))
        sink.write_triggers(make_triggers([50, 200], [0, 0], [1, 0]))
    assert triggers_in(tmp_path / "a.aedat4")["t"].tolist() == [50, 200]
