"""EVT2.1 files built word by word, in both orders of the half words."""

import itertools
import struct
from pathlib import Path

import pytest
from hostile import mutations, truncations

from pipeline.schema.errors import SaccadeError
from pipeline.sources.base import ReadReport
from pipeline.sources.registry import open_recording

FORMAT = b"% evt 2.1\n% format EVT21;height=24;width=64"
OTHERS = [0xE << 60 | 0x14 << 32 | 77, 0xF << 60 | 5, 0x3 << 60 | 0xFFFF]


def time_high(t: int) -> int:
    return 0x8 << 60 | t >> 6 << 32


def vector(t: int, x: int, y: int, p: int, mask: int) -> int:
    return p << 60 | (t & 63) << 54 | x << 43 | y << 32 | mask


def evt21(words: list[int], *, order: str = "little", header: bytes | None = None) -> bytes:
    body = b"".join(
        struct.pack("<II", *((w & 0xFFFFFFFF, w >> 32) if order == "little" else (w >> 32, w & 0xFFFFFFFF))) for w in words
    )
    return (FORMAT + b";endianness=" + order.encode() + b"\n% end\n" if header is None else header) + body


def read(path: Path, data: bytes) -> tuple[list[tuple[int, ...]], ReadReport]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording") as source:
        width, height = source.info.sensor_size
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert all(x < width and y < height and p <= 1 for x, y, p, _ in events)
        return events, source.report()


@pytest.mark.parametrize("order", ["little", "legacy"])
def test_each_bit_of_a_vector_is_an_event(tmp_path: Path, order: str) -> None:
    words = [time_high(64_000), vector(64_063, 32, 5, 1, 1 << 31 | 0b101), vector(64_010, 1, 0, 0, 1 << 16)]
    events, report = read(tmp_path, evt21(words[:2], order=order))
    assert events == [(32, 5, 1, 64_063), (34, 5, 1, 64_063), (63, 5, 1, 64_063)]
    assert report == ReadReport()
    assert read(tmp_path, evt21([words[0], words[2]], order=order))[0] == [(17, 0, 0, 64_010)]


def test_every_bit_alone_is_the_pixel_of_its_number(tmp_path: Path) -> None:
    words = [
        time_high(0),
        *(vector(1, 8, 2, 1, 1 << k) for k in range(32)),
        vector(2, 0, 0, 0, 0),
        vector(3, 0, 1, 0, 0xFFFFFFFF),
    ]
    events, _ = read(tmp_path, evt21(words))
    assert events == [(8 + k, 2, 1, 1) for k in range(32)] + [(k, 1, 0, 3) for k in range(32)]


def test_vector_past_the_edge_is_clipped_and_counted(tmp_path: Path) -> None:
    words = [time_high(0), vector(1, 60, 0, 1, 0x1F), vector(1, 70, 0, 1, 3), vector(1, 0, 24, 1, 7)]
    events, report = read(tmp_path, evt21(words))
    assert [x for x, *_ in events] == [60, 61, 62, 63]
    assert report.warnings == ("6 events outside the sensor of 64x24 pixels dropped",)


def test_events_before_the_first_time_word_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt21([vector(1, 0, 0, 1, 7), time_high(64), vector(65, 1, 1, 1, 1)]))
    assert events == [(1, 1, 1, 65)]
    assert report.warnings == ("3 events before the first words that tell time and place dropped",)


def test_words_of_other_types_are_stepped_over(tmp_path: Path) -> None:
    words = [*OTHERS, time_high(0), *OTHERS, vector(9, 1, 1, 1, 1), *OTHERS]
    assert read(tmp_path, evt21(words)) == ([(1, 1, 1, 9)], ReadReport())


@pytest.mark.parametrize("order", ["little", "legacy"])
def test_triggers_are_kept_with_their_times(tmp_path: Path, order: str) -> None:
    trigger = [0xA << 60 | 1 << 32, 0xA << 60 | 7 << 54 | 5 << 40 | 1 << 32, 0xA << 60 | 20 << 54 | 31 << 40]
    words = [trigger[0], time_high(640), trigger[1], vector(650, 1, 1, 1, 1), trigger[2]]
    (tmp_path / "recording").write_bytes(evt21(words, order=order))
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 1
        assert source.take_triggers().tolist() == [(647, 5, 1), (660, 31, 0)]


def test_held_vector_counts_each_of_its_events(tmp_path: Path) -> None:
    words = [time_high(64), vector(70, 0, 0, 1, 1), vector(66, 0, 0, 1, 7)]
    events, report = read(tmp_path, evt21(words))
    assert [t for *_, t in events] == [70] * 4
    assert report.warnings == ("3 events ran backwards, held at the running maximum",)


@pytest.mark.parametrize("order", ["little", "legacy"])
def test_order_without_a_key_is_the_one_that_makes_sense(tmp_path: Path, order: str) -> None:
    # read the wrong way round, the mask 1 << 30 is a word of the unknown type 4
    words = [time_high(64), vector(65, 1, 1, 1, 1 << 30), vector(66, 2, 2, 0, 1 << 30)]
    events, _ = read(tmp_path, evt21(words, order=order, header=FORMAT + b"\n% end\n"))
    assert events == [(31, 1, 1, 65), (32, 2, 0, 66)]


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        (b"", "legacy"),
        (b"% system_ID 49\n", "legacy"),
        (b"% system_ID 64\n", "little"),
        (b"% camera_integrator_name Else\n", "little"),
    ],
)
def test_order_that_content_leaves_open_follows_the_camera(tmp_path: Path, lines: bytes, order: str) -> None:
    # the lower half 1 read as an upper one is an event in row 1
    words = [time_high(64), vector(65, 1, 1, 1, 1)]
    events, _ = read(tmp_path, evt21(words, order=order, header=FORMAT + b"\n" + lines + b"% end\n"))
    assert events == [(1, 1, 1, 65)]


def test_key_of_its_own_names_the_order_too(tmp_path: Path) -> None:
    for order in ("little", "legacy"):
        header = FORMAT + b"\n% endianness " + order.encode() + b"\n% end\n"
        assert read(tmp_path, evt21([time_high(0), vector(1, 1, 1, 1, 1)], order=order, header=header))[0] == [(1, 1, 1, 1)]


def test_clock_crosses_the_border_of_blocks(tmp_path: Path) -> None:
    n = (1 << 14) + 100  # more words than a block of 128 KiB holds
    events, report = read(tmp_path, evt21([time_high(6400)] + [vector(6401, 3, 4, 1, 3)] * n))
    assert len(events) == 2 * n
    assert set(events) == {(3, 4, 1, 6401), (4, 4, 1, 6401)}
    assert report == ReadReport()


def test_cut_word_is_reported(tmp_path: Path) -> None:
    events, report = read(tmp_path, evt21([time_high(0), vector(1, 1, 1, 1, 1), vector(2, 1, 1, 1, 1)])[:-3])
    assert [t for *_, t in events] == [1]
    assert (report.is_truncated, report.n_bytes_skipped) == (True, 5)


@pytest.mark.parametrize("order", ["little", "legacy"])
def test_damaged_files_give_sane_events_or_an_error_of_ours(tmp_path: Path, order: str) -> None:
    words = [word for i in range(20) for word in (time_high(1000 * i), vector(1000 * i, i % 32, i % 24, i % 2, 3 << i % 31))]
    whole, counts = evt21([*words, *OTHERS], order=order), []
    for damaged in (*truncations(whole), whole, *mutations(whole, 300, seed=3)):
        try:
            events, _ = read(tmp_path, damaged)
        except SaccadeError:
            events = []
        assert all(a[3] <= b[3] for a, b in itertools.pairwise(events))
        counts.append(len(events))
    assert counts[: len(whole) + 1] == sorted(counts[: len(whole) + 1])
    assert counts[len(whole)] == 40
