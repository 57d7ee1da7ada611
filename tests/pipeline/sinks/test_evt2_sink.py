"""The words of EVT2 files, one by one."""

from pathlib import Path

import numpy as np

from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sinks.evt2 import Evt2Sink

TURN_STEPS = 1 << 28


def words(path: Path, *packets: Events) -> list[int]:
    with Evt2Sink(path / "a.raw", SensorSize(2048, 2048)) as sink:
        for packet in packets:
            sink.write(packet)
    body = (path / "a.raw").read_bytes().split(b"% end\n")[1]
    return [int(word) for word in np.frombuffer(body, "<u4")]


def test_event_tells_the_low_time_and_the_time_word_the_rest(tmp_path: Path) -> None:
    # 1000 * 64 + 63 us, the same moment, the next one
    events = make_events([64_063, 64_063, 64_064], [2047, 0, 5], [2047, 1, 6], [1, 0, 1])
    assert words(tmp_path, events[:2], events[2:]) == [
        0x8 << 28 | 1000,
        0x1 << 28 | 63 << 22 | 2047 << 11 | 2047,
        0x0 << 28 | 63 << 22 | 0 << 11 | 1,
        0x8 << 28 | 1001,
        0x1 << 28 | 0 << 22 | 5 << 11 | 6,
    ]


def test_each_turn_of_the_clock_is_told_by_its_last_and_first_value(tmp_path: Path) -> None:
    times = [(TURN_STEPS - 5) * 64, (TURN_STEPS + 3) * 64, (TURN_STEPS * 3 // 2 + 4) * 64]
    told = words(tmp_path, make_events(times, [1, 1, 1], [0, 0, 0], [0, 0, 0]))
    highs = [word & (TURN_STEPS - 1) for word in told if word >> 28 == 8]
    assert highs == [TURN_STEPS - 5, TURN_STEPS - 1, 0, 3, TURN_STEPS // 2 + 2, TURN_STEPS // 2 + 4]
