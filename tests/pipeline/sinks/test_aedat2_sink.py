"""AEDAT 2.0 as written: bytes by hand, and what its 32-bit clock cannot hold."""

import struct
from pathlib import Path

import numpy as np
import pytest
from builders import random_events

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

DVS128 = SensorSize(128, 128)
TURN = 1 << 32


def round_trip(path: Path, times: list[int]) -> list[int]:
    with open_sink(path, DVS128, format="aedat2") as sink:
        for t in times:
            sink.write(make_events([t], [1], [2], [1]))
    with open_recording(path) as source:
        return [t for packet in source.packets() for t in packet["t"].tolist()]


def test_dvs128_event_is_mirrored_and_big_endian(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat2", DVS128) as sink:
        sink.write(make_events([258], [0], [127], [1]))
    header, _, data = (tmp_path / "a.aedat2").read_bytes().partition(b"#End Of ASCII Header\r\n")
    assert header.startswith(b"#!AER-DAT2.0\r\n")
    assert b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n" in header
    assert data == struct.pack(">II", 127 << 1, 258)


@pytest.mark.parametrize("sensor", [DVS128, SensorSize(240, 180), SensorSize(346, 260), SensorSize(640, 480)])
def test_every_event_comes_back(tmp_path: Path, sensor: SensorSize) -> None:
    events = random_events(5000, sensor=sensor)
    with open_sink(tmp_path / "a", sensor, format="aedat2") as sink:
        for part in np.array_split(events, 7):
            sink.write(part)
    with open_recording(tmp_path / "a") as source:
        assert source.info.sensor_size == sensor
        assert np.array_equal(np.concatenate(list(source.packets())), events)
        assert source.report().warnings == ()


def test_other_sensors_are_refused_with_what_can_hold_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"128x128.*aedat3 or aedat4"):
        open_sink(tmp_path / "a.aedat2", SensorSize(320, 240))
    assert not (tmp_path / "a.aedat2").exists()


def test_times_across_the_turn_of_the_clock_come_back(tmp_path: Path) -> None:
    times = [5, 3_000_000_000, TURN - 1, TURN, TURN + 2_000_000_000, 2 * TURN + 7]
    assert round_trip(tmp_path / "a", times[:-1]) == times[:-1]
    with pytest.raises(UsageError, match="pause"):
        round_trip(tmp_path / "a", [*times[:-1], 2 * TURN + (1 << 31) + 7])


@pytest.mark.parametrize("first", [-1, TURN, 1_605_537_493_718_345])
def test_recording_cannot_begin_beyond_32_bits(tmp_path: Path, first: int) -> None:
    with pytest.raises(UsageError, match="--from-zero"):
        round_trip(tmp_path / "a", [first])


def test_refused_packet_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a", DVS128, format="aedat2") as sink:
        sink.write(make_events([1], [1], [1], [1]))
        with pytest.raises(UsageError):
            sink.write(make_events([2, 2 + 2 * TURN], [1, 1], [1, 1], [1, 1]))
    with open_recording(tmp_path / "a") as source:
        assert [packet["t"].tolist() for packet in source.packets()] == [[1]]
