"""EVT3 files built word by word."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, truncations

from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.evt3 import Evt3Decoder
from pipeline.sources.ordering import DecodeState
from pipeline.sources.registry import open_recording

HEADER = b"% evt 3.0\n% format EVT3;height=24;width=64\n% end\n"
TURN = 1 << 24
# monitor groups, whole and cut short; IMU; reserved types; padding of some cameras
OTHERS = [0xE014, 0xF123, 0xF456, 0x7001, 0xE019, 0xF000, 0xF001, 0xD000, 0x1FFF, 0x9999, 0xBABE, 0xC000]


def at(t: int) -> list[int]:
    return [0x8000 | (t >> 12) % 4096, 0x6000 | t % 4096]


def row(y: int) -> int:
    return y


def single(x: int, p: int) -> int:
    return 0x2000 | p << 11 | x


def base(x: int, p: int) -> int:
    return 0x3000 | p << 11 | x


def evt3(words: list[int], header: bytes = HEADER) -> bytes:
    return header + struct.pack(f"<{len(words)}H", *words)


def read(path: Path, data: bytes) -> tuple[list[tuple[int, ...]], ReadReport]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording") as source:
        width, height = source.info.sensor_size
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert all(x < width and y < height and p <= 1 for x, y, p, _ in events)
        return events, source.report()


def read_triggers(path: Path, data: bytes) -> list[tuple[int, ...]]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording") as source:
        return [trigger for _ in source.packets() for trigger in source.take_triggers().tolist()]


def times(path: Path, words: list[int]) -> list[int]:
    return [t for *_, t in read(path, evt3(words))[0]]


def test_single_events_take_row_and_time_of_the_words_before(tmp_path: Path) -> None:
    # time 2 * 4096 + 5; bit 11 of a row word tells the camera of a pair and is no part of y
    events, report = read(tmp_path, evt3([0x8002, 0x6005, 0x0800 | 7, 0x2000 | 63, 0x2800 | 1, 0x6006, 0x2000]))
    assert events == [(63, 7, 0, 8197), (1, 7, 1, 8197), (0, 7, 0, 8198)]
    assert report == ReadReport()


def test_whole_group_of_vectors_speaks_of_32_pixels(tmp_path: Path) -> None:
    events, _ = read(tmp_path, evt3([*at(9), row(3), base(32, 1), 0x4000 | 0x801, 0x4000 | 0x002, 0x5000 | 0x80]))
    assert events == [(x, 3, 1, 9) for x in (32, 43, 45, 63)]


def test_lone_vector_of_12_swallows_nothing(tmp_path: Path) -> None:
    words = [*at(0), row(1), base(0, 1), 0x4001, *at(4096 + 7), row(2), base(20, 0), 0x4002, single(5, 1), 0x5001]
    # the vector at 20 goes on at 32 after the single event, with its own polarity
    assert read(tmp_path, evt3(words))[0] == [(0, 1, 1, 0), (21, 2, 0, 4103), (5, 2, 1, 4103), (32, 2, 0, 4103)]


def test_bits_above_the_eighth_mean_nothing_in_a_vector_of_8(tmp_path: Path) -> None:
    assert read(tmp_path, evt3([*at(0), row(1), base(0, 1), 0x5F01]))[0] == [(0, 1, 1, 0)]


def test_low_time_is_taken_as_it_comes_and_makes_no_turn(tmp_path: Path) -> None:
    # as cameras write it about once a millisecond: the same moment twice, the second 11 us lower, no event between
    words = [*at(8192 + 100), row(0), single(1, 1), *at(8192 + 1011), 0x6000 | 1000, single(2, 1), 0x6000 | 1001, single(3, 1)]
    events, report = read(tmp_path, evt3(words))
    assert [t for *_, t in events] == [8292, 9192, 9193]
    assert report.is_monotonic


def test_changed_high_time_makes_the_low_one_stale(tmp_path: Path) -> None:
    words = [*at(4095), row(0), single(1, 1), 0x8001, single(2, 1), 0x6003, 0x8001, single(3, 1)]
    assert times(tmp_path, words) == [4095, 4096, 4099]


def test_clock_turns_whatever_the_values_around_it(tmp_path: Path) -> None:
    words = [row(0)]
    for t in (5, TURN - 3, TURN + 2, TURN + 3000 * 4096, 2 * TURN + 900 * 4096 + 1):
        words += [*at(t), single(1, 1)]
    assert times(tmp_path, words) == [5, TURN - 3, TURN + 2, TURN + 3000 * 4096, 2 * TURN + 900 * 4096 + 1]


def test_small_step_back_of_the_high_time_is_no_turn(tmp_path: Path) -> None:
    words = [row(0)]
    for t in (20 * 4096, 19 * 4096, 21 * 4096, TURN - 1, TURN + 1, TURN - 4096, TURN + 5):
        words += [*at(t), single(1, 1)]
    events, report = read(tmp_path, evt3(words))
    assert [t for *_, t in events] == [20 * 4096, 20 * 4096, 21 * 4096, TURN - 1, TURN + 1, TURN + 1, TURN + 5]
    assert report.warnings == ("2 events ran backwards, held at the running maximum",)


def test_words_of_other_types_are_stepped_over_one_by_one(tmp_path: Path) -> None:
    words = [*OTHERS, 0x8001, *OTHERS, 0x6002, *OTHERS, row(4), *OTHERS, base(8, 1), *OTHERS, 0x4001, *OTHERS, 0x5001, *OTHERS]
    assert read(tmp_path, evt3(words)) == ([(8, 4, 1, 4098), (20, 4, 1, 4098)], ReadReport())


def test_short_monitor_group_leaves_the_time_word_behind_it(tmp_path: Path) -> None:
    assert times(tmp_path, [*at(1), row(0), 0xE014, 0xF001, 0xF002, *at(4097), single(1, 1)]) == [4097]


def test_events_before_time_row_or_vector_are_known_are_dropped_and_counted(tmp_path: Path) -> None:
    words = [single(1, 1), row(0), single(1, 1), 0x8001, 0x4FFF, 0x5007, 0x6001, single(9, 1), base(0, 1), 0x4003]
    events, report = read(tmp_path, evt3(words))
    assert events == [(9, 0, 1, 4097), (0, 0, 1, 4097), (1, 0, 1, 4097)]
    # two single events, 12 and 3 bits of vectors without a start
    assert report.warnings == ("17 events before the first words that tell time and place dropped",)


def test_pixels_outside_the_sensor_are_dropped_and_counted_one_by_one(tmp_path: Path) -> None:
    words = [*at(0), row(0), base(62, 1), 0x4000 | 0b1111, 0x5003, single(64, 1), single(63, 0), row(24), single(1, 1), 0x5001]
    events, report = read(tmp_path, evt3(words))
    assert events == [(62, 0, 1, 0), (63, 0, 1, 0), (63, 0, 0, 0)]
    assert report.warnings == ("7 events outside the sensor of 64x24 pixels dropped",)


def test_triggers_have_the_time_of_the_words_before_them(tmp_path: Path) -> None:
    words = [0xA101, 0x8001, 0xA000, 0x6005, 0xAF01, row(1), single(1, 1), 0x6009, 0xA600]
    # the first comes before any time is known; one without a low time belongs to the beginning of its 4096 us
    assert read_triggers(tmp_path, evt3(words)) == [(4096, 0, 0), (4101, 15, 1), (4105, 6, 0)]


def test_trigger_behind_a_clock_that_was_set_anew_belongs_to_the_moment(tmp_path: Path) -> None:
    words = [*at(8_000_000), row(1), single(1, 1), *at(7_999_000), 0xA101, *at(1000), 0xA100, single(1, 1), *at(1500), 0xA101]
    assert read_triggers(tmp_path, evt3(words)) == [(7_999_000, 1, 1), (8_000_000, 1, 0), (8_000_500, 1, 1)]


def test_many_triggers_are_all_kept(tmp_path: Path) -> None:
    n = 10_000  # more than a decoder has room for in one go
    words = np.tile(np.array([0xA101, 0x6000], dtype="<u2"), n)
    words[1::2] |= np.arange(n, dtype="<u2") // 3
    triggers = read_triggers(tmp_path, evt3([0x8001, 0x6000]) + words.tobytes())
    assert [t for t, *_ in triggers] == [4096 + max(0, i - 1) // 3 for i in range(n)]


def test_nothing_is_placed_before_the_hundredth_word_tells_the_time(tmp_path: Path) -> None:
    words = [
        *(word for i in range(20) for word in (row(i), single(i, 1), base(i, 0), 0x4003, 0x6000 | i)),
        *at(4096),
        single(9, 1),
    ]
    events, report = read(tmp_path, evt3(words))
    assert events == [(9, 19, 1, 4096)]
    assert report.warnings == ("60 events before the first words that tell time and place dropped",)


def test_turn_is_seen_in_sparse_data_that_skips_it(tmp_path: Path) -> None:
    # the TIME_HIGH falls by 2900 steps, and after a long rise by 3000
    words = [row(0)]
    for high, low in [(3000, 7), (100, 1), (4000, 2), (1000, 3)]:
        words += [0x8000 | high, 0x6000 | low, single(1, 1)]
    assert times(tmp_path, words) == [
        3000 * 4096 + 7,
        TURN + 100 * 4096 + 1,
        TURN + 4000 * 4096 + 2,
        2 * TURN + 1000 * 4096 + 3,
    ]


def test_padding_and_reserved_words_between_the_parts_of_a_group_change_nothing(tmp_path: Path) -> None:
    for odd in (0x9999, 0x1000, 0xB123, 0xC000, 0x7004, 0xF001, 0xE016, 0xD001):
        words = [*at(7), odd, row(1), odd, base(3, 1), odd, 0x4001, odd, 0x4002, odd, 0x5004, odd, single(2, 0)]
        assert read(tmp_path, evt3(words)) == ([(3, 1, 1, 7), (16, 1, 1, 7), (29, 1, 1, 7), (2, 1, 0, 7)], ReadReport())


def test_group_past_the_right_edge_loses_only_what_lies_outside(tmp_path: Path) -> None:
    words = [*at(7), row(1), base(40, 1), 0x4FFF, 0x4FFF, 0x50FF, row(2), base(32, 0), 0x4800, 0x4800, 0x5080]
    events, report = read(tmp_path, evt3(words))
    assert events == [*((x, 1, 1, 7) for x in range(40, 64)), (43, 2, 0, 7), (55, 2, 0, 7), (63, 2, 0, 7)]
    assert report.warnings == ("8 events outside the sensor of 64x24 pixels dropped",)


def plain_decoder(words: list[int], width: int, height: int) -> list[tuple[int, int, int, int]]:
    """EVT3 as its description reads, a word at a time, for files whose times do not run back."""
    events: list[tuple[int, int, int, int]] = []
    y = x = p = high = None
    low = turns = 0
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        pixels: list[tuple[int | None, int | None]] = []
        if kind == 0:
            y = value & 0x7FF
        elif kind == 2:
            pixels = [(value & 0x7FF, value >> 11)]
        elif kind == 3:
            x, p = value & 0x7FF, value >> 11
        elif kind in (4, 5) and x is not None:
            n = 12 if kind == 4 else 8
            pixels = [(x + k, p) for k in range(n) if value >> k & 1]
            x += n
        elif kind == 6:
            low = value
        elif kind == 8 and value != high:
            turns += high is not None and high - value >= 2048
            high, low = value, 0
        if y is not None and high is not None:
            t = turns * TURN + high * 4096 + low
            events += [(px, y, pp, t) for px, pp in pixels if px < width and y < height]
    return events


def test_fast_ways_through_common_words_give_what_the_plain_way_gives() -> None:
    rng = np.random.default_rng(5)
    for case in range(150):
        t, words = int(rng.integers(0, TURN)), []
        for _ in range(int(rng.integers(1, 120))):
            kind = rng.choice(["row", "x", "x", "x", "time", "group", "vector", "odd"])
            if kind == "row":
                words += [row(int(rng.integers(0, 26)))]
            elif kind == "x":
                words += [single(int(rng.integers(0, 66)), int(rng.integers(0, 2)))]
            elif kind == "time":
                t += int(rng.choice([0, 1, 50, 4096, 3_000_000]))
                words += at(t) if case % 2 or t % 4096 == 0 else [*at(t)[:1], *at(t)[1:]]
            elif kind == "group":
                bits = rng.integers(0, 4096, 3) & rng.integers(0, 4096, 3)
                words += [
                    base(int(rng.integers(0, 40)), 1),
                    0x4000 | int(bits[0]),
                    0x4000 | int(bits[1]),
                    0x5000 | int(bits[2] & 255),
                ]
            elif kind == "vector":
                words += [
                    base(int(rng.integers(0, 64)), 0),
                    *rng.choice([0x4021, 0x5011, 0x4FFF], int(rng.integers(0, 4))).tolist(),
                ]
            else:
                words += [int(rng.choice([0x9999, 0xA101, 0xE014, 0xF000, 0x7001, *words[-1:]]))]
        data = np.array(words, dtype="<u2").view(np.uint8)
        events, _ = Evt3Decoder().decode(data, SensorSize(64, 24), DecodeState())
        assert events.tolist() == plain_decoder(words, 64, 24)


def test_blocks_may_end_between_any_two_words() -> None:
    words = [
        *OTHERS,
        *at(TURN - 1),
        row(3),
        single(1, 1),
        base(8, 1),
        0x4FFF,
        *OTHERS,
        0x4001,
        0x50FF,
        *at(TURN + 1),
        row(4),
        single(2, 0),
    ]
    data = np.array(words, dtype="<u2").view(np.uint8)
    whole, _ = Evt3Decoder().decode(data, SensorSize(64, 24), DecodeState())
    assert whole.size == 23
    for cut in range(0, data.size + 1, 2):
        decoder, state, pieces = Evt3Decoder(), DecodeState(), []
        for piece in (data[:cut], data[cut:]):
            events, state = decoder.decode(piece, SensorSize(64, 24), state)
            pieces.append(events)
        assert np.array_equal(np.concatenate(pieces), whole)


def test_row_and_time_cross_the_border_of_blocks_of_a_file(tmp_path: Path) -> None:
    n = (1 << 16) + 100  # more words than a block of 64 KiB holds
    events, report = read(tmp_path, evt3([*at(5000), row(6)]) + np.full(n, single(7, 1), dtype="<u2").tobytes())
    assert len(events) == n
    assert set(events) == {(7, 6, 1, 5000)}
    assert report == ReadReport()


def test_cut_word_is_reported(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt3([*at(0), row(0), single(1, 1), single(2, 1)])[:-1])
    assert [x for x, *_ in events] == [1]
    assert (report.is_truncated, report.n_bytes_skipped) == (True, 1)


@pytest.mark.parametrize("is_vector", [False, True])
def test_damaged_files_give_sane_events_or_an_error_of_ours(tmp_path: Path, *, is_vector: bool) -> None:
    words = []
    for i in range(20):
        words += [*at(3000 * i), row(i), *([base(i, i % 2), 0x4003] if is_vector else [single(i, 0), single(i + 1, 1)])]
    whole, counts = evt3([*words, *OTHERS]), []
    for damaged in (*truncations(whole), whole, *mutations(whole, 300, seed=4)):
        try:
            events, _ = read(tmp_path, damaged)
        except SaccadeError:
            events = []
        assert all(a[3] <= b[3] for a, b in itertools.pairwise(events))
        counts.append(len(events))
    assert counts[: len(whole) + 1] == sorted(counts[: len(whole) + 1])
    assert counts[len(whole)] == 40
