"""AEDAT 3.1 as written: bytes by hand, the overflow counter."""

import struct
from pathlib import Path

import numpy as np
import pytest
from builders import random_events

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events, make_triggers
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

DVS128 = SensorSize(128, 128)


def test_packet_header_and_event_are_as_specified(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat3", DVS128) as sink:
        sink.write(make_events([(1 << 31) + 5], [3], [4], [1]))
    header, _, data = (tmp_path / "a.aedat3").read_bytes().partition(b"#!END-HEADER\r\n")
    assert header.splitlines()[:3] == [b"#!AER-DAT3.1", b"#Format: RAW", b"#Source 1: DVS128"]
    assert data == struct.pack("<hhiiiiiiIi", 1, 1, 8, 4, 1, 1, 1, 1, 3 << 17 | 4 << 2 | 1 << 1 | 1, 5)


@pytest.mark.parametrize("sensor", [DVS128, SensorSize(346, 260), SensorSize(320, 240), SensorSize(1280, 720)])
def test_every_event_and_the_sensor_come_back(tmp_path: Path, sensor: SensorSize) -> None:
    # longer than a packet may be, and across two turns of the 31-bit clock
    events = random_events(70_000, sensor=sensor, duration_us=5 << 30)
    with open_sink(tmp_path / "a.aedat", sensor) as sink:
        sink.write(events)
    with open_recording(tmp_path / "a.aedat") as source:
        assert source.info.sensor_size == sensor
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()


def test_unix_times_fit(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat", DVS128) as sink:
        sink.write(make_events([1_605_537_493_718_345], [0], [0], [0]))
    with open_recording(tmp_path / "a.aedat") as source:
        assert next(source.packets())["t"].tolist() == [1_605_537_493_718_345]


def test_negative_times_are_refused(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat", DVS128) as sink, pytest.raises(UsageError, match="--from-zero"):
        sink.write(make_events([-1], [0], [0], [0]))


def test_every_trigger_comes_back_across_turns_of_the_clock(tmp_path: Path) -> None:
    turn = 1 << 31
    triggers = make_triggers([5, turn - 1, turn, turn + 9, 3 * turn], [0, 1, 0, 0, 1], [1, 1, 0, 1, 1])
    with open_sink(tmp_path / "a.aedat", DVS128) as sink:
        assert sink.holds_triggers
        sink.write(make_events([7], [1], [2], [1]))
        sink.write_triggers(triggers)
    with open_recording(tmp_path / "a.aedat") as source:
        assert sum(packet.size for packet in source.packets()) == 1
        assert np.array_equal(source.take_triggers(), triggers)


def test_triggers_without_a_kind_are_refused(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat", DVS128) as sink:
        for number, p in ((1, 0), (2, 1)):
            with pytest.raises(UsageError, match="id 0"):
                sink.write_triggers(make_triggers([1, 2], [0, number], [1, p]))
        with pytest.raises(UsageError, match="--from-zero"):
            sink.write_triggers(make_triggers([-1], [0], [1]))
    assert (tmp_path / "a.aedat").read_bytes().endswith(b"END-HEADER\r\n")
