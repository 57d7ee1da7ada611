"""The chunks of Prophesee's event compression (ECF, HDF5 filter 36559), decoded without its plug-in. Knows no HDF5.

A chunk: uint32 `count << 2 | form`, uint64 first time, then times, and then y, x, p in one of three forms. Form bit 1: y, x and
p packed in 24 bits each; bit 0: y coded, x and p packed in 12 bits each; neither: all three coded. All little-endian.
"""

import struct

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.sources.ordering import signed

FILTER_ID = 36559
_HEADER = struct.Struct("<IQ")
_PACKED_YXP, _PACKED_XP = 2, 1
# The format's own bound on the events of one chunk.
MAX_EVENTS = 65535
# Room behind the events of a column that decoders may scribble on.
SLACK = 8


class DamagedChunkError(Exception):
    """A chunk that ends too early, or whose counts do not fit; whoever reads the file says which one it was."""


def decode_chunk(chunk: bytes, columns: npt.NDArray[np.int64]) -> int:
    """Decode one chunk into `columns`, int64 (4, n): t (us), x, y, p; gives how many events there are, n at most.

    What the columns hold behind the events is overwritten as well.
    """
    if len(chunk) < _HEADER.size:
        raise DamagedChunkError(f"only {len(chunk)} bytes are left of its header")
    word, first_us = _HEADER.unpack_from(chunk)
    count, form = word >> 2, word & 3
    if count > min(MAX_EVENTS, columns.shape[1]):
        raise DamagedChunkError(f"it claims {count} events, more than fit into it")
    if first_us >= 1 << 63:
        raise DamagedChunkError(f"its first time, {first_us} us, cannot be")
    if count == 0:
        return 0
    if columns.shape[1] < count + SLACK:
        # decoders need room to scribble on
        roomy = np.empty((4, count + SLACK), dtype=np.int64)
        decode_chunk(chunk, roomy)
        columns[:, :count] = roomy[:, :count]
        return int(count)
    data = np.frombuffer(chunk, dtype=np.uint8)
    t, x, y, p = columns
    at = _times(data, _HEADER.size, first_us, t, count)
    if form & _PACKED_YXP:
        at = _packed_yxp(data, at, x, y, p, count)
    elif form & _PACKED_XP:
        at = _packed_xp(data, _rows(data, at, y, count), x, p, count)
    else:
        at = _polarities(data, _columns(data, _rows(data, at, y, count), x, count), p, count)
    if at < 0:
        raise DamagedChunkError("it ends too early, or its counts do not fit")
    return int(count)


# The functions below decode one part of a chunk each, uint8 (n,), from byte `at` on; they give where the part ends, or -1 if
# the bytes or the runs do not fit. A given `at` below 0 is passed on. The first `count` values of a column are filled; short
# runs are written as if they were `SLACK` long, for a loop over so few would be guessed wrongly by the processor.


@njit(cache=True, nogil=True)
def _word(data: npt.NDArray[np.uint8], at: int, n_bytes: int) -> int:
    """A little-endian word of 2 or 4 bytes."""
    value: int = signed(data[at]) | signed(data[at + 1]) << 8
    if n_bytes == 4:
        value |= signed(data[at + 2]) << 16 | signed(data[at + 3]) << 24
    return value


@njit(cache=True, nogil=True)
def _repeat(column: npt.NDArray[np.int64], n: int, value: int, run: int) -> int:
    """Write a value `run` times from slot `n` on, and scribble behind it; gives the slot behind the last."""
    for k in range(SLACK):
        column[n + k] = value
    for k in range(n + SLACK, n + run):
        column[k] = value
    return n + run


@njit(cache=True, nogil=True)
def _times(data: npt.NDArray[np.uint8], at: int, first_us: int, t: npt.NDArray[np.int64], count: int) -> int:
    """Times: a byte has a step in its high nibble and a run in its low one.

    A step of 15 means that the low nibble is part of a larger step, least significant part first, which counts with the next
    byte that is none; a run of 15 is followed by its true length.
    """
    time, n = first_us, 0
    step = shift = 0
    while n < count:
        if at >= data.size:
            return -1
        high, low = signed(data[at]) >> 4, signed(data[at]) & 15
        at += 1
        if high == 15:
            if shift > 56:
                return -1
            step |= low << shift
            shift += 4
            continue
        time += step + high
        step = shift = 0
        run = low
        if run == 15:
            if at + 2 > data.size:
                return -1
            run = _word(data, at, 2)
            at += 2
        if run > count - n:
            return -1
        n = _repeat(t, n, time, run)
    return at


@njit(cache=True, nogil=True)
def _rows(data: npt.NDArray[np.uint8], at: int, y: npt.NDArray[np.int64], count: int) -> int:
    """Coded y: `y << 5 | run`; a run of 31 is followed by its true length."""
    n = 0
    while n < count:
        if at < 0 or at + 2 > data.size:
            return -1
        word = _word(data, at, 2)
        at += 2
        run = word & 31
        if run == 31:
            if at + 2 > data.size:
                return -1
            run = _word(data, at, 2)
            at += 2
        if run > count - n:
            return -1
        n = _repeat(y, n, word >> 5, run)
    return at


@njit(cache=True, nogil=True)
def _columns(data: npt.NDArray[np.uint8], at: int, x: npt.NDArray[np.int64], count: int) -> int:
    """Coded x: `x << 5 | flags`; the flag j places below the highest adds the pixel x + 1 + j."""
    n = 0
    while n < count:
        if at < 0 or at + 2 > data.size:
            return -1
        word = _word(data, at, 2)
        at += 2
        first = word >> 5
        x[n] = first
        n += 1
        for j in range(5):
            x[n] = first + 1 + j
            n += word >> (4 - j) & 1
    # flags beyond the last event mean that the chunk is damaged
    return at if n == count else -1


@njit(cache=True, nogil=True)
def _polarities(data: npt.NDArray[np.uint8], at: int, p: npt.NDArray[np.int64], count: int) -> int:
    """Coded p: `p << 7 | run`; a run of 127 is followed by its true length."""
    n = 0
    while n < count:
        if at < 0 or at >= data.size:
            return -1
        byte = signed(data[at])
        at += 1
        run = byte & 127
        if run == 127:
            if at + 2 > data.size:
                return -1
            run = _word(data, at, 2)
            at += 2
        if run > count - n:
            return -1
        n = _repeat(p, n, byte >> 7, run)
    return at


@njit(cache=True, nogil=True)
def _packed_yxp(
    data: npt.NDArray[np.uint8],
    at: int,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    p: npt.NDArray[np.int64],
    count: int,
) -> int:
    """Packed y, x, p: three 32-bit words hold four values `y << 12 | x << 1 | p` of 24 bits.

    Values fill the words from the top; what is left at the bottom of a word holds the low bits of the next value.
    """
    if at < 0 or at + 12 * ((count + 3) // 4) > data.size:
        return -1
    for i in range(0, count, 4):
        a, b, c = _word(data, at, 4), _word(data, at + 4, 4), _word(data, at + 8, 4)
        at += 12
        four = (a >> 8, (b >> 16) << 8 | a & 0xFF, (c >> 24) << 16 | b & 0xFFFF, c & 0xFFFFFF)
        for j in range(4):
            y[i + j] = four[j] >> 12 & 0x7FF
            x[i + j] = four[j] >> 1 & 0x7FF
            p[i + j] = four[j] & 1
    return at


@njit(cache=True, nogil=True)
def _packed_xp(data: npt.NDArray[np.uint8], at: int, x: npt.NDArray[np.int64], p: npt.NDArray[np.int64], count: int) -> int:
    """Packed x, p: three 16-bit words hold four values `x << 1 | p` of 12 bits, laid out like the packed form above."""
    if at < 0 or at + 6 * ((count + 3) // 4) > data.size:
        return -1
    for i in range(0, count, 4):
        a, b, c = _word(data, at, 2), _word(data, at + 2, 2), _word(data, at + 4, 2)
        at += 6
        four = (a >> 4, (b >> 8) << 4 | a & 15, (c >> 12) << 8 | b & 0xFF, c & 0xFFF)
        for j in range(4):
            x[i + j] = four[j] >> 1
            p[i + j] = four[j] & 1
    return at
