"""Chunks of Prophesee's event compression, put together bit by bit."""

import struct

import numpy as np
import numpy.typing as npt
import pytest
from hostile import mutations, truncations

from pipeline.sources.ecf import MAX_EVENTS, DamagedChunkError, decode_chunk

CODED, PACKED_XP, PACKED_YXP = 0, 1, 2


def header(n: int, form: int, first_us: int = 100) -> bytes:
    return struct.pack("<IQ", n << 2 | form, first_us)


def decode(chunk: bytes, room: int = 64) -> list[list[int]]:
    """Rows t, x, y, p."""
    columns: npt.NDArray[np.int64] = np.zeros((4, room), dtype=np.int64)
    return columns[:, : decode_chunk(chunk, columns)].tolist()


def pack(values: list[int], bits: int) -> bytes:
    """Four values of 12 or 24 bits into three words of 16 or 32, as the packed forms lay them out."""
    a, b, c, d = values
    if bits == 12:
        return struct.pack("<3H", a << 4 | b & 0xF, b >> 4 << 8 | c & 0xFF, c >> 8 << 12 | d)
    return struct.pack("<3I", a << 8 | b & 0xFF, b >> 8 << 16 | c & 0xFFFF, c >> 16 << 24 | d)


# Two events at 100 us, one at 103: steps of 0 and 3 with runs of 2 and 1.
TIMES = bytes([0x02, 0x31])


def test_coded_columns() -> None:
    rows = struct.pack("<HH", 7 << 5 | 1, 9 << 5 | 2)  # y: 7, then 9 twice
    columns = struct.pack("<HH", 20 << 5 | 0b10000, 400 << 5)  # x: 20, 21 (the highest flag), then 400
    assert decode(header(3, CODED) + TIMES + rows + columns + bytes([0x80 | 1, 2])) == [
        [100, 100, 103],
        [20, 21, 400],
        [7, 9, 9],
        [1, 0, 0],
    ]


def test_every_flag_of_a_column_word_adds_its_pixel() -> None:
    chunk = header(4, CODED) + bytes([0x04]) + struct.pack("<H", 1 << 5 | 4) + struct.pack("<H", 10 << 5 | 0b01011)
    assert decode(chunk + bytes([4]))[1] == [10, 12, 14, 15]


def test_long_runs_are_followed_by_their_length() -> None:
    n = 300
    times = bytes([0x1F]) + struct.pack("<H", n)
    rows = struct.pack("<HH", 5 << 5 | 31, n)
    columns = struct.pack("<H", 3 << 5 | 0b11111) * (n // 6)
    polarities = bytes([0xFF]) + struct.pack("<H", n)
    t, x, y, p = decode(header(n, CODED) + times + rows + columns + polarities, room=n)
    assert (set(t), set(y), set(p)) == ({101}, {5}, {1})
    assert x == [3, 4, 5, 6, 7, 8] * 50


def test_large_time_steps_come_in_pieces_least_significant_first() -> None:
    # 0xF4, 0xF3, 0xF1 make 0x134 = 308, and the last byte adds 2 more
    chunk = header(1, CODED) + bytes([0xF4, 0xF3, 0xF1, 0x21]) + struct.pack("<HH", 1, 5 << 5) + bytes([1])
    assert decode(chunk) == [[410], [5], [0], [0]]


def test_packed_x_and_p_in_12_bits() -> None:
    values = [1279 << 1 | 1, 0, 640 << 1, 7 << 1 | 1]
    chunk = header(3, PACKED_XP) + TIMES + struct.pack("<H", 719 << 5 | 3) + pack(values, 12)
    assert decode(chunk) == [[100, 100, 103], [1279, 0, 640], [719, 719, 719], [1, 0, 0]]


def test_packed_y_x_and_p_in_24_bits() -> None:
    values = [441 << 12 | 479 << 1, 1 << 12 | 639 << 1 | 1, 300 << 12 | 2 << 1, 479 << 12 | 1 << 1 | 1]
    chunk = header(4, PACKED_YXP) + bytes([0x04]) + pack(values, 24)
    assert decode(chunk) == [[100] * 4, [479, 639, 2, 1], [441, 1, 300, 479], [0, 1, 0, 1]]


def test_no_events_at_all() -> None:
    assert decode(header(0, CODED)) == [[], [], [], []]


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        header(1, CODED)[:-1],
        header(1, CODED),
        header(65, CODED) + TIMES,
        header(MAX_EVENTS + 1, CODED),
        header(1, CODED, 1 << 63) + TIMES,
        header(1, CODED) + bytes([0x02]),
        header(1, CODED) + b"\xff" * 40,
        header(3, PACKED_XP) + TIMES + struct.pack("<H", 1 << 5 | 3) + bytes(5),
        header(3, PACKED_YXP) + TIMES + bytes(11),
        header(1, CODED) + bytes([0x01]) + struct.pack("<HH", 1, 1),
    ],
)
def test_counts_and_lengths_that_do_not_fit_are_damage(chunk: bytes) -> None:
    with pytest.raises(DamagedChunkError):
        decode(chunk)


def test_truncations_and_mutations_are_damage_or_as_many_events_as_claimed() -> None:
    rows = struct.pack("<HH", 7 << 5 | 1, 9 << 5 | 31) + struct.pack("<H", 39)
    columns = struct.pack("<H", 3 << 5 | 0b11110) * 8
    chunk = header(40, CODED) + bytes([0x3F]) + struct.pack("<H", 40) + rows + columns + bytes([0x80 | 20, 20])
    assert len(decode(chunk)[0]) == 40
    for cut in truncations(chunk):
        with pytest.raises(DamagedChunkError):
            decode(cut)
    for damaged in mutations(chunk, 300, seed=14):
        try:
            columns_found = decode(damaged)
        except DamagedChunkError:
            continue
        assert len(columns_found[0]) == struct.unpack_from("<I", damaged)[0] >> 2
