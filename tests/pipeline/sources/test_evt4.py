"""EVT4 files built word by word."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, truncations

from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.evt4 import Evt4Decoder
from pipeline.sources.ordering import DecodeState
from pipeline.sources.registry import open_recording

HEADER = b"% format EVT4;height=24;width=64\n% end\n"
TURN = 1 << 34
# monitor words and their counts, padding, types without a meaning
OTHERS = [0x6 << 28 | 0x14, 0x7 << 28 | 99, 0xFFFFFFFF, 0x0, 0x1 << 28 | 5, 0x8 << 28 | 7]


def time_high(t: int) -> int:
    return 0xE << 28 | (t >> 6) % (1 << 28)


def event(t: int, x: int, y: int, p: int) -> int:
    return (0xA + p) << 28 | (t & 63) << 22 | x << 11 | y


def vector(t: int, x: int, y: int, p: int, mask: int) -> list[int]:
    return [(0xC + p) << 28 | (t & 63) << 22 | x << 11 | y, mask]


def evt4(words: list[int]) -> bytes:
    return HEADER + struct.pack(f"<{len(words)}I", *words)


def read(path: Path, data: bytes) -> tuple[list[tuple[int, ...]], ReadReport]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording") as source:
        width, height = source.info.sensor_size
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert all(x < width and y < height and p <= 1 for x, y, p, _ in events)
        return events, source.report()


def test_event_has_the_time_of_both_words(tmp_path: Path) -> None:
    # 1000 * 64 + 63 us
    words = [0xE << 28 | 1000, 0xB << 28 | 63 << 22 | 31 << 11 | 23, 0xE << 28 | 1001, 0xA << 28 | 0 << 22 | 0 << 11 | 7]
    assert read(tmp_path, evt4(words)) == ([(31, 23, 1, 64_063), (0, 7, 0, 64_064)], ReadReport())


def test_word_behind_a_vector_is_its_mask_whatever_it_looks_like(tmp_path: Path) -> None:
    # masks that as words of their own would be a TIME_HIGH, a trigger, a vector, padding and nothing
    masks = [0xE0000003, 0x90000001, 0xC0000000, 0xFFFFFFFF, 0]
    words = [time_high(64), *(word for i, mask in enumerate(masks) for word in vector(70 + i, 10, 2, i % 2, mask))]
    events, report = read(tmp_path, evt4(words))
    assert events == [(10 + bit, 2, i % 2, 70 + i) for i, mask in enumerate(masks) for bit in range(32) if mask >> bit & 1]
    assert report == ReadReport()


def test_vector_past_the_edge_is_clipped_and_counted(tmp_path: Path) -> None:
    words = [time_high(0), *vector(1, 60, 0, 1, 0x1F), *vector(1, 70, 0, 1, 3), *vector(1, 0, 24, 1, 7), event(2, 64, 0, 0)]
    events, report = read(tmp_path, evt4(words))
    assert [x for x, *_ in events] == [60, 61, 62, 63]
    assert report.warnings == ("7 events outside the sensor of 64x24 pixels dropped",)


def test_events_before_the_first_time_word_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt4([event(1, 1, 1, 1), *vector(1, 0, 0, 0, 7), time_high(64), event(65, 2, 2, 0)]))
    assert events == [(2, 2, 0, 65)]
    assert report.warnings == ("4 events before the first words that tell time and place dropped",)


def test_words_of_other_types_are_stepped_over(tmp_path: Path) -> None:
    words = [*OTHERS, time_high(0), *OTHERS, event(3, 1, 2, 1), *OTHERS, *vector(4, 0, 0, 1, 1), *OTHERS]
    assert read(tmp_path, evt4(words)) == ([(1, 2, 1, 3), (0, 0, 1, 4)], ReadReport())


def test_clock_turns_at_a_fall_by_half_its_range(tmp_path: Path) -> None:
    times = [TURN - 1, TURN + 5, TURN - 2, TURN + 70, TURN + (3 << 32), 2 * TURN + (1 << 32)]
    events, report = read(tmp_path, evt4([word for t in times for word in (time_high(t), event(t, 1, 1, 1))]))
    assert [t for *_, t in events] == [TURN - 1, TURN + 5, TURN + 5, TURN + 70, TURN + (3 << 32), 2 * TURN + (1 << 32)]
    assert report.warnings == ("1 events ran backwards, held at the running maximum",)


def test_triggers_are_kept_with_their_times(tmp_path: Path) -> None:
    words = [
        0x9 << 28 | 1,
        time_high(640),
        0x9 << 28 | 7 << 22 | 5 << 8 | 1,
        event(650, 1, 1, 1),
        0x9 << 28 | 20 << 22 | 31 << 8,
    ]
    (tmp_path / "recording").write_bytes(evt4(words))
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 1
        # the first comes before any time is known
        assert source.take_triggers().tolist() == [(647, 5, 1), (660, 31, 0)]
        assert source.report().n_triggers == 2


def test_blocks_may_end_between_any_two_words() -> None:
    words = [
        *OTHERS,
        time_high(TURN - 1),
        *vector(TURN - 1, 3, 4, 1, 0xE0000003),
        *OTHERS,
        time_high(TURN + 1),
        event(1, 2, 3, 0),
    ]
    data = np.array(words, dtype="<u4").view(np.uint8)
    whole, _ = Evt4Decoder().decode(data, SensorSize(64, 24), DecodeState())
    assert whole.size == 6
    for cut in range(0, data.size + 1, 4):
        decoder, state, pieces = Evt4Decoder(), DecodeState(), []
        for piece in (data[:cut], data[cut:]):
            events, state = decoder.decode(piece, SensorSize(64, 24), state)
            pieces.append(events)
        assert np.array_equal(np.concatenate(pieces), whole)


def test_state_crosses_the_border_of_blocks_of_a_file(tmp_path: Path) -> None:
    n = (1 << 15) + 100  # more vectors than a block of 256 KiB holds; the time word moves each mask to an odd place
    body = np.tile(np.array(vector(6401, 3, 4, 1, 3), dtype="<u4"), n).tobytes()
    events, report = read(tmp_path, evt4([time_high(6400)]) + body)
    assert len(events) == 2 * n
    assert set(events) == {(3, 4, 1, 6401), (4, 4, 1, 6401)}
    assert report == ReadReport()


def test_cut_word_is_reported(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt4([time_high(0), event(1, 1, 1, 1), event(2, 1, 1, 1)])[:-3])
    assert [t for *_, t in events] == [1]
    assert (report.is_truncated, report.n_bytes_skipped) == (True, 1)


def test_damaged_files_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    words = [time_high(0)]
    for i in range(20):
        words += [time_high(1000 * i), event(1000 * i, i % 64, i % 24, i % 2), *vector(1000 * i, i, i, 1, 0x80000001)]
    whole, counts = evt4([*words, *OTHERS]), []
    for damaged in (*truncations(whole), whole, *mutations(whole, 300, seed=6)):
        try:
            events, _ = read(tmp_path, damaged)
        except SaccadeError:
            events = []
        assert all(a[3] <= b[3] for a, b in itertools.pairwise(events))
        counts.append(len(events))
    assert counts[: len(whole) + 1] == sorted(counts[: len(whole) + 1])
    assert counts[len(whole)] == 60


@pytest.mark.parametrize("line", [b"% evt 4.0\n% geometry 64x24\n", b"% format EVT4\n% geometry 64x24\n"])
def test_every_spelling_of_the_encoding_is_known(tmp_path: Path, line: bytes) -> None:
    words = struct.pack("<II", time_high(64), event(64, 1, 2, 1))
    assert read(tmp_path, line + b"% end\n" + words)[0] == [(1, 2, 1, 64)]
