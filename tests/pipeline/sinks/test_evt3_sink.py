"""The words of EVT3 files, one by one."""

from pathlib import Path

import numpy as np

from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sinks.evt3 import Evt3Sink


def words(path: Path, sensor_size: SensorSize, *packets: Events) -> list[int]:
    with Evt3Sink(path / "a.raw", sensor_size) as sink:
        for packet in packets:
            sink.write(packet)
    body = (path / "a.raw").read_bytes().split(b"% end\n")[1]
    return [int(word) for word in np.frombuffer(body, "<u2")]


def row_of(*xs: int, t: int = 5, y: int = 3, p: int = 1) -> Events:
    return make_events([t] * len(xs), xs, [y] * len(xs), [p] * len(xs))


def test_only_what_changes_is_told(tmp_path: Path) -> None:
    # 2 * 4096 + 5, the same moment, the next one, the next row, the next TIME_HIGH
    events = make_events([8197, 8197, 8198, 8198, 12288], [63, 1, 1, 2, 2], [7, 7, 7, 8, 8], [0, 1, 1, 0, 0])
    assert words(tmp_path, SensorSize(64, 24), events[:2], events[2:]) == [
        0x8002, 0x6005, 0x0007, 0x203F, 0x2801, 0x6006, 0x2801, 0x0008, 0x2002, 0x8003, 0x6000, 0x2002,
    ]  # fmt: skip


def test_five_events_of_32_pixels_make_one_whole_group(tmp_path: Path) -> None:
    # bits 0, 11 of the first 12, 12, 23 of the next and 31 of the last 8
    assert words(tmp_path, SensorSize(64, 24), row_of(10, 21, 22, 33, 41)) == [
        0x8000, 0x6005, 0x0003, 0x3800 | 10, 0x4801, 0x4801, 0x5080,
    ]  # fmt: skip


def test_four_events_or_those_that_do_not_rise_stay_single(tmp_path: Path) -> None:
    for xs in ((1, 2, 3, 4), (1, 2, 2, 3, 4), (5, 4, 3, 2, 1), (1, 2, 3, 4, 33)):
        told = words(tmp_path, SensorSize(64, 24), row_of(*xs))
        assert told == [0x8000, 0x6005, 0x0003, *(0x2800 | x for x in xs)]


def test_no_group_reaches_past_the_sensor(tmp_path: Path) -> None:
    # the group of the last five pixels begins 32 before the edge
    told = words(tmp_path, SensorSize(64, 24), row_of(59, 60, 61, 62, 63))
    assert told == [0x8000, 0x6005, 0x0003, 0x3800 | 32, 0x4000, 0x4000, 0x50F8]
    told = words(tmp_path, SensorSize(30, 24), row_of(0, 1, 2, 3, 4))
    assert told == [0x8000, 0x6005, 0x0003, *(0x2800 | x for x in range(5))]


def test_row_moment_and_polarity_end_a_group(tmp_path: Path) -> None:
    whole = row_of(*range(6))
    for field, value in (("y", 4), ("t", 6), ("p", 0)):
        events = row_of(*range(12))
        events[field][6:] = value
        told = words(tmp_path, SensorSize(64, 24), events)
        assert told[: len(words(tmp_path, SensorSize(64, 24), whole))] == words(tmp_path, SensorSize(64, 24), whole)
        assert [word >> 12 for word in told].count(3) == 2


def test_each_turn_of_the_clock_is_told_by_its_last_and_first_value(tmp_path: Path) -> None:
    times = [100 * 4096, (4096 + 50) * 4096 + 9, (4096 + 2500) * 4096]
    told = words(tmp_path, SensorSize(64, 24), make_events(times, [1, 1, 1], [0, 0, 0], [0, 0, 0]))
    assert [word & 0xFFF for word in told if word >> 12 == 8] == [100, 2147, 4095, 0, 50, 2097, 2500]
    assert [word & 0xFFF for word in told if word >> 12 == 6] == [0, 9, 0]


def test_recording_that_begins_late_tells_the_turns_before(tmp_path: Path) -> None:
    told = words(tmp_path, SensorSize(64, 24), make_events([(2 * 4096 + 3) * 4096], [1], [0], [0]))
    assert [word & 0xFFF for word in told if word >> 12 == 8] == [4095, 0, 2047, 4094, 4095, 0, 3]
