"""Text as written."""

from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from killed import assert_killed_writers_leave_what_they_flushed

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_names_of_the_columns_then_one_event_a_line(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name, SENSOR) as sink:
        sink.write(make_events([-1_000_000, 0, 9, 10], [0, 9, 10, 31], [23, 0, 1, 2], [0, 1, 0, 1]))
        sink.write(make_events([(1 << 60) - 1], [5], [6], [1]))
    lines = "t,x,y,p\n-1000000,0,23,0\n0,9,0,1\n9,10,1,0\n10,31,2,1\n1152921504606846975,5,6,1\n"
    assert (tmp_path / name).read_text() == lines


@pytest.mark.parametrize("n_parts", [1, 7])
def test_every_event_comes_back(tmp_path: Path, n_parts: int) -> None:
    sensor = SensorSize(65_536, 65_536)
    events = random_events(100_000, sensor=sensor, duration_us=1 << 40)
    with open_sink(tmp_path / "a.csv", sensor) as sink:
        for part in np.array_split(events, n_parts):
            sink.write(part)
    with open_recording(tmp_path / "a.csv") as source:
        assert source.info.encoding == "t x y p, t in microseconds"
        assert np.array_equal(np.concatenate(list(source.packets())), events)


def test_a_line_cut_off_by_a_crash_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.csv", SENSOR) as sink:
        sink.write(make_events([10, 20, 30], [1, 2, 3], [1, 2, 3], [1, 1, 1]))
    whole = (tmp_path / "a.csv").read_bytes()
    for n in range(whole.index(b"30") + 1, len(whole) - 2):
        (tmp_path / "b.csv").write_bytes(whole[:n])
        with open_recording(tmp_path / "b.csv") as source:
            assert [t for packet in source.packets() for t in packet["t"].tolist()] == [10, 20]
            assert source.report().is_truncated


def test_times_that_no_clock_shows_are_refused(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.csv", SENSOR) as sink, pytest.raises(UsageError, match="no clock"):
        sink.write(make_events([1 << 60], [1], [1], [1]))


def test_a_killed_writer_leaves_every_packet(tmp_path: Path) -> None:
    assert_killed_writers_leave_what_they_flushed(tmp_path, ".csv", n=30_000, step=100)
