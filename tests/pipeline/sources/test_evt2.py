"""EVT2 files built word by word."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, truncations

from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.evt2 import Evt2Decoder
from pipeline.sources.ordering import DecodeState
from pipeline.sources.registry import open_recording

HEADER = b"% evt 2.0\n% format EVT2;height=24;width=32\n% geometry 32x24\n% end\n"
TURN = 1 << 34
OTHERS = [0xD << 28 | 0x0FFFFFFF, 0xE << 28 | 0x14, 0xF << 28 | 0x55, 0x2 << 28, 0x7 << 28 | 5, 0xB << 28]


def time_high(t: int) -> int:
    return 0x8 << 28 | (t >> 6) % (1 << 28)


def event(t: int, x: int, y: int, p: int) -> int:
    return p << 28 | (t & 63) << 22 | x << 11 | y


def evt2(words: list[int], header: bytes = HEADER) -> bytes:
    return header + struct.pack(f"<{len(words)}I", *words)


def read(path: Path, data: bytes) -> tuple[list[tuple[int, ...]], ReadReport]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording") as source:
        width, height = source.info.sensor_size
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert all(x < width and y < height and p <= 1 for x, y, p, _ in events)
        return events, source.report()


def test_event_has_the_time_of_both_words(tmp_path: Path) -> None:
    # 1000 * 64 + 63 us
    words = [0x8 << 28 | 1000, 0x1 << 28 | 63 << 22 | 31 << 11 | 23, 0x8 << 28 | 1001, 0x0 << 28 | 0 << 22 | 0 << 11 | 7]
    events, report = read(tmp_path, evt2(words))
    assert events == [(31, 23, 1, 64_063), (0, 7, 0, 64_064)]
    assert report == ReadReport()


def test_events_before_the_first_time_word_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt2([event(1, 1, 1, 1), event(2, 1, 1, 1), time_high(64), event(65, 2, 2, 0)]))
    assert events == [(2, 2, 0, 65)]
    assert report.warnings == ("2 events before the first words that tell time and place dropped",)
    assert not report.is_truncated


def test_words_of_other_types_are_stepped_over(tmp_path: Path) -> None:
    words = [*OTHERS, time_high(0), *OTHERS, event(3, 1, 2, 1), *OTHERS]
    assert read(tmp_path, evt2(words)) == ([(1, 2, 1, 3)], ReadReport())


def test_pixels_outside_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt2([time_high(0), event(1, 32, 0, 1), event(2, 0, 24, 1), event(3, 31, 23, 1)]))
    assert events == [(31, 23, 1, 3)]
    assert report.warnings == ("2 events outside the sensor of 32x24 pixels dropped",)


def test_clock_turns_and_a_late_time_word_is_no_second_turn(tmp_path: Path) -> None:
    times = [TURN - 1, TURN + 5, TURN - 2, TURN + 70]
    words = [word for t in times for word in (time_high(t), event(t, 1, 1, 1))]
    events, report = read(tmp_path, evt2(words))
    assert [t for *_, t in events] == [TURN - 1, TURN + 5, TURN + 5, TURN + 70]
    assert report.warnings == ("1 events ran backwards, held at the running maximum",)


def test_small_step_back_is_held_and_a_long_one_continues_from_the_event_before(tmp_path: Path) -> None:
    words = [word for t in (2_000_000, 1_999_000, 5_000, 5_010) for word in (time_high(t), event(t, 1, 1, 1))]
    events, report = read(tmp_path, evt2(words))
    assert [t for *_, t in events] == [2_000_000, 2_000_000, 2_000_000, 2_000_010]
    assert not report.is_monotonic


def test_triggers_are_kept_with_their_times(tmp_path: Path) -> None:
    trigger = [0xA << 28 | 1, 0xA << 28 | 7 << 22 | 5 << 8 | 1, 0xA << 28 | 20 << 22 | 31 << 8]
    words = [trigger[0], time_high(640), trigger[1], event(650, 1, 1, 1), trigger[2]]
    (tmp_path / "recording").write_bytes(evt2(words))
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 1
        # the first comes before any time is known
        assert source.take_triggers().tolist() == [(647, 5, 1), (660, 31, 0)]
        assert source.report().n_triggers == 2


def test_turn_within_ten_milliseconds_of_the_end_of_the_range_is_seen(tmp_path: Path) -> None:
    steps = [(1 << 28) - 100, 50, (1 << 28) - 157, 3]
    words = [word for high in steps for word in (0x8 << 28 | high, event(5, 1, 1, 1))]
    events, report = read(tmp_path, evt2(words))
    # the third is a leap forward within the turn; the last falls a step less than a turn must, and is a clock set anew
    assert [t // 64 for *_, t in events[:3]] == [(1 << 28) - 100, (1 << 28) + 50, (2 << 28) - 157]
    assert events[3][3] == events[2][3]
    assert not report.is_monotonic


def test_monitor_word_at_the_end_of_a_block_leaves_the_next_block_alone(tmp_path: Path) -> None:
    n = 1 << 16  # words of a block of 256 KiB
    words = np.full(n + 5, event(0, 3, 4, 1), dtype="<u4")
    words[0] = time_high(6400)
    words[n - 1], words[n] = 0xE << 28 | 0x14, 0xF << 28 | 77
    events, report = read(tmp_path, evt2([]) + words.tobytes())
    assert events == [(3, 4, 1, 6400)] * (n + 2)
    assert report == ReadReport()


def test_state_crosses_the_border_of_blocks(tmp_path: Path) -> None:
    # one time word, then more events than a block of 1 MiB holds
    n = (1 << 18) + 1000
    words = np.full(n, event(0, 3, 4, 1), dtype="<u4")
    events, report = read(tmp_path, evt2([time_high(6400)]) + words.tobytes())
    assert len(events) == n
    assert set(events) == {(3, 4, 1, 6400)}
    assert report == ReadReport()


@pytest.mark.parametrize("n_lost", [1, 2, 3])
def test_cut_word_is_reported_and_the_others_delivered(tmp_path: Path, n_lost: int) -> None:
    events, report = read(tmp_path, evt2([time_high(0), event(1, 1, 1, 1), event(2, 1, 1, 1)])[:-n_lost])
    assert [t for *_, t in events] == [1]
    assert report.is_truncated
    assert report.n_bytes_skipped == 4 - n_lost


def test_damaged_files_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    words = [word for i in range(40) for word in (time_high(1000 * i), event(1000 * i, i % 32, i % 24, i % 2))]
    whole, counts = evt2([*words, *OTHERS]), []
    for damaged in (*truncations(whole), whole, *mutations(whole, 300, seed=2)):
        try:
            events, _ = read(tmp_path, damaged)
        except SaccadeError:
            events = []
        assert all(a[3] <= b[3] for a, b in itertools.pairwise(events))
        counts.append(len(events))
    assert counts[: len(whole) + 1] == sorted(counts[: len(whole) + 1])
    assert counts[len(whole)] == 40


def test_fast_way_through_common_words_gives_what_the_plain_way_gives() -> None:
    rng = np.random.default_rng(8)
    for _ in range(100):
        n = int(rng.integers(1, 300))
        steps = np.cumsum(rng.choice([0, 1, 40], n))
        kinds = rng.choice([0, 1, 8, 0xA, 0xE], n, p=[0.4, 0.3, 0.2, 0.05, 0.05])
        low, x, y = rng.integers(0, 64, n), rng.integers(0, 34, n), rng.integers(0, 25, n)
        words = np.where(kinds == 8, 8 << 28 | steps, kinds << 28 | low << 22 | x << 11 | y)
        plain, high = [], None
        for i in range(n):
            high = steps[i] if kinds[i] == 8 else high
            if kinds[i] < 2 and high is not None and x[i] < 32 and y[i] < 24:
                t = max(int(high) * 64 + int(low[i]), plain[-1][3] if plain else 0)  # held at the running maximum
                plain.append((x[i], y[i], kinds[i], t))
        events, _ = Evt2Decoder().decode(words.astype("<u4").view(np.uint8), SensorSize(32, 24), DecodeState())
        assert events.tolist() == plain
