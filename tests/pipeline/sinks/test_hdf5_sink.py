"""HDF5 as written: what comes back, what OpenEB's own files hold, and what is left when the writer is killed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import assert_killed_writers_leave_what_they_flushed

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, empty_events, make_events, make_triggers
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")


@pytest.mark.parametrize("n_parts", [1, 37])
@pytest.mark.parametrize("n", [1, 16_384, 50_001])
def test_every_event_comes_back(tmp_path: Path, n: int, n_parts: int) -> None:
    events = random_events(n, duration_us=400_000)
    events["t"] += 1_605_537_493_718_345
    with open_sink(tmp_path / "a.h5", SENSOR) as sink:
        for part in np.array_split(events, n_parts):
            sink.write(part)
    with open_recording(tmp_path / "a.h5") as source:
        assert (source.info.format, source.info.encoding, source.info.sensor_size) == ("HDF5", "ECF", SENSOR)
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 30), cuts=st.lists(st.integers(0, 40_000), max_size=6), flushes=st.booleans())
def test_any_split_and_any_flush_give_the_same_events_and_index(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int], flushes: bool
) -> None:
    folder = tmp_path_factory.mktemp("split")
    events = random_events(40_000, seed=seed, duration_us=90_000)
    for name, at in (("whole.h5", []), ("split.h5", sorted(cuts))):
        with open_sink(folder / name, SENSOR) as sink:
            for part in np.split(events, at):
                sink.write(part)
                if flushes:
                    sink.flush()
    with h5py.File(folder / "whole.h5", "r") as whole, h5py.File(folder / "split.h5", "r") as split:
        assert whole["CD/indexes"][:].tolist() == split["CD/indexes"][:].tolist()
    with open_recording(folder / "split.h5") as source:
        assert np.array_equal(np.concatenate(list(source.packets())), events)


def test_index_names_the_first_record_of_the_last_period_that_has_any(tmp_path: Path) -> None:
    times = [10_000, 10_001, 12_500, 17_000]
    with open_sink(tmp_path / "a.h5", SENSOR) as sink:
        sink.write(make_events(times[:1], [0], [0], [0]))
        sink.write(make_events(times[1:], [0] * 3, [0] * 3, [0] * 3))
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["CD/indexes"].attrs["offset"] == "-10000"
        assert file["CD/indexes"][:].tolist() == [(0, -1), (0, 0), (2, 2500), (2, 2500), (3, 7000)]


def test_layout_is_that_of_files_written_by_openeb(tmp_path: Path, shared_data: Path) -> None:
    for name in ("evt3_whole_ecf", "evt3_triggers_a_0_300ms_ecf"):
        path = shared_data / f"recordings/openeb/{name}.hdf5"
        with open_recording(path) as source, open_sink(tmp_path / "a.hdf5", source.info.sensor_size) as sink:
            for packet in source.packets():
                sink.write(packet)
                sink.write_triggers(source.take_triggers())
        with h5py.File(path, "r", locking=False) as theirs, h5py.File(tmp_path / "a.hdf5", "r") as ours:
            for key in ("version", "geometry"):
                assert ours.attrs[key] == theirs.attrs[key]
                assert ours.attrs.get_id(key).get_type().get_cset() == theirs.attrs.get_id(key).get_type().get_cset()
            for key in ("CD/events", "CD/indexes", "EXT_TRIGGER/events", "EXT_TRIGGER/indexes"):
                assert ours[key].dtype == theirs[key].dtype, key
                assert ours[key].shape == theirs[key].shape, key
                assert ours[key].chunks == theirs[key].chunks, key
            assert ours["CD/indexes"][:].tolist() == theirs["CD/indexes"][:].tolist()
            assert ours["CD/indexes"].attrs["offset"] == theirs["CD/indexes"].attrs["offset"]
            assert ours["EXT_TRIGGER/events"][:].tolist() == theirs["EXT_TRIGGER/events"][:].tolist()


def test_triggers_come_back_in_step_with_the_events(tmp_path: Path) -> None:
    triggers = make_triggers([1_000, 30_000, 90_000_000], [6, 6, 1], [1, 0, 1])
    with open_sink(tmp_path / "a.h5", SENSOR) as sink:
        sink.write_triggers(triggers[:0])
        sink.write(make_events([500, 2_000], [1, 2], [3, 4], [0, 1]))
        sink.write_triggers(triggers[:2])
        sink.write(make_events([40_000], [1], [1], [1]))
        sink.write_triggers(triggers[2:])
    with open_recording(tmp_path / "a.h5") as source:
        assert sum(packet.size for packet in source.packets()) == 3
        assert source.take_triggers().tolist() == triggers.tolist()
        assert source.report().n_triggers == 3


def test_what_was_flushed_is_readable_while_the_file_grows(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.h5", SENSOR) as sink:
        sink.write(make_events([1, 2], [3, 4], [5, 6], [0, 1]))
        sink.flush()
        sink.write(make_events([3], [3], [3], [1]))
        # a copy, for within one process HDF5 shares an open file
        shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
        with open_recording(tmp_path / "b.h5") as source:
            assert [packet["t"].tolist() for packet in source.packets()] == [[1, 2]]
            assert source.report().warnings == ("the recording was not closed; all that had been flushed was read",)


def test_a_killed_writer_leaves_everything_up_to_the_last_flush(tmp_path: Path) -> None:
    assert_killed_writers_leave_what_they_flushed(tmp_path, ".h5", n=200_000, step=4999)


def test_closing_twice_and_writing_nothing_leave_a_whole_file(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a.h5", SENSOR)
    sink.write(empty_events())
    sink.close()
    sink.close()
    with open_recording(tmp_path / "a.h5") as source:
        assert list(source.packets()) == []
        assert source.report().warnings == ("header only: no events",)


def test_a_long_pause_ends_the_index_but_not_the_recording(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.h5", SENSOR) as sink:
        sink.write(make_events([0, 1 << 50, (1 << 50) + 5000], [1] * 3, [1] * 3, [1] * 3))
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["CD/indexes"].shape == (0,)
    with open_recording(tmp_path / "a.h5") as source:
        assert next(source.packets())["t"].tolist() == [0, 1 << 50, (1 << 50) + 5000]


def test_what_the_format_cannot_hold_is_refused_and_nothing_of_it_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="11 bits"):
        open_sink(tmp_path / "a.h5", SensorSize(2049, 10))
    with open_sink(tmp_path / "b.h5", SENSOR) as sink:
        for t in (-1, 1 << 60):
            with pytest.raises(UsageError, match="--from-zero"):
                sink.write(make_events([t], [1], [1], [1]))
        sink.write(make_events([5], [1], [1], [1]))
    with open_recording(tmp_path / "b.h5") as source:
        assert [packet["t"].tolist() for packet in source.packets()] == [[5]]
