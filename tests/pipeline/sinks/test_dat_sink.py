"""DAT files record by record."""

import struct
from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sinks.dat import DatSink
from pipeline.sources.registry import open_recording

TURN = 1 << 32


def at(*times: int) -> Events:
    return make_events(times, [1] * len(times), [2] * len(times), [1] * len(times))


def test_file_is_header_type_size_and_records(tmp_path: Path) -> None:
    with DatSink(tmp_path / "a.dat", SensorSize(16384, 300)) as sink:
        sink.write(make_events([7, TURN - 1], [16383, 0], [299, 1], [1, 0]))
    assert (tmp_path / "a.dat").read_bytes() == (
        b"% Height 300\n% Version 2\n% Width 16384\n% end\n\x0c\x08"
        + struct.pack("<IIII", 7, 1 << 28 | 299 << 14 | 16383, TURN - 1, 1 << 14)
    )


def test_everything_written_comes_back(tmp_path: Path) -> None:
    events = random_events(5000, seed=2, duration_us=5 * TURN)
    with DatSink(tmp_path / "a.dat", SENSOR) as sink:
        for start in range(0, 5000, 700):
            sink.write(events[start : start + 700])
    with open_recording(tmp_path / "a.dat") as source:
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()


def test_times_that_its_clock_cannot_tell_are_refused(tmp_path: Path) -> None:
    with DatSink(tmp_path / "a.dat", SENSOR) as sink:
        for t in (-1, TURN):
            with pytest.raises(UsageError, match=r"DAT has 32 bits.*--from-zero"):
                sink.write(at(t))
        # a long pause is told while the clock has not turned
        sink.write(at(5, 5 + (1 << 31), TURN + 4))
        with pytest.raises(UsageError, match=r"cannot tell a pause of 2147 s"):
            sink.write(at(TURN + 4 + (1 << 31)))
        sink.write(at(TURN + 3 + (1 << 31)))
    with open_recording(tmp_path / "a.dat") as source:
        assert np.concatenate(list(source.packets()))["t"].tolist() == [5, 5 + (1 << 31), TURN + 4, TURN + 3 + (1 << 31)]


def test_sensor_that_does_not_fit_and_triggers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="14 bits"):
        DatSink(tmp_path / "a.dat", SensorSize(16385, 1))
    assert not DatSink.holds_triggers
