"""npz as written: what numpy sees, what comes back, and what is left when the writer is killed."""

from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from killed import assert_killed_writers_leave_what_they_flushed

from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import empty_events, make_events
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

NOT_CLOSED = "the recording was not closed; all that had been written was read"


@pytest.mark.parametrize("n_parts", [1, 13])
def test_every_event_comes_back_through_numpy_and_through_our_reader(tmp_path: Path, n_parts: int) -> None:
    events = random_events(300_000, duration_us=400_000)
    events["t"] += 1_605_537_493_718_345
    with open_sink(tmp_path / "a.npz", SENSOR) as sink:
        for part in np.array_split(events, n_parts):
            sink.write(part)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as columns:
        assert set(columns) == {"t", "x", "y", "p", "width", "height"}
        assert [columns[name].dtype for name in "txyp"] == [np.int64, np.uint16, np.uint16, np.uint8]
        assert (int(columns["width"]), int(columns["height"])) == SENSOR
        assert all(np.array_equal(columns[name], events[name]) for name in "txyp")
    with open_recording(tmp_path / "a.npz") as source:
        assert (source.info.encoding, source.info.sensor_size) == ("stored", SENSOR)
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()
        assert source.n_bytes_read == source.n_bytes
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_equal_events_give_equal_bytes_however_they_were_split(tmp_path: Path) -> None:
    events = random_events(5_000)
    for name, n_parts in (("a.npz", 1), ("b.npz", 11)):
        with open_sink(tmp_path / name, SENSOR) as sink:
            for part in np.array_split(events, n_parts):
                sink.write(part)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_what_was_written_is_readable_before_the_file_is_closed(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.npz", SENSOR) as sink:
        sink.write(make_events([1, 2], [3, 4], [5, 6], [0, 1]))
        with open_recording(tmp_path / "a.npz") as source:
            assert [packet.tolist() for packet in source.packets()] == [[(3, 5, 0, 1), (4, 6, 1, 2)]]
            assert source.report().warnings == (NOT_CLOSED,)
            assert source.info.sensor_size == SENSOR


def test_a_journal_cut_within_an_event_gives_all_before_it(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.npz", SENSOR) as sink:
        sink.write(make_events([1, 2], [3, 4], [5, 6], [0, 1]))
        (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-5])
    with open_recording(tmp_path / "b.npz") as source:
        assert [packet["t"].tolist() for packet in source.packets()] == [[1]]
        assert source.report().n_bytes_skipped == 11
        assert source.report().is_truncated


def test_a_killed_writer_leaves_every_packet_and_a_file_that_is_either_journal_or_archive(tmp_path: Path) -> None:
    assert_killed_writers_leave_what_they_flushed(tmp_path, ".npz", n=30_000, step=100)


def test_a_disk_that_is_full_at_the_end_leaves_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(tmp_path / "a.npz", SENSOR)
    sink.write(make_events([1], [1], [1], [1]))

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SaccadeError, match=r"a\.npz cannot be finished: No space left on device"):
        sink.close()
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    with open_recording(tmp_path / "a.npz") as source:
        assert next(source.packets())["t"].tolist() == [1]


def test_closing_twice_and_writing_nothing_leave_a_whole_file(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.npz", SENSOR)
    sink.write(empty_events())
    sink.close()
    sink.close()
    with open_recording(tmp_path / "a.npz") as source:
        assert list(source.packets()) == []
        assert source.report().warnings == ("header only: no events",)


def test_times_that_no_clock_shows_are_refused(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.npz", SENSOR) as sink, pytest.raises(UsageError, match="no clock"):
        sink.write(make_events([1 << 61], [1], [1], [1]))
