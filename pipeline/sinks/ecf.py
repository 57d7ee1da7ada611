"""The chunks of Prophesee's event compression (ECF), encoded without its plug-in. Knows no HDF5.

The layout is told in `pipeline.sources.ecf`. Which of the three forms a chunk takes is decided as Prophesee's own encoder does:
by how often neighbouring events share a row, or follow each other within a few columns, in the first quarter of the chunk.
"""

import struct

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events

CODED, PACKED_XP, PACKED_YXP = 0, 1, 2
_HEADER = struct.Struct("<IQ")
# The share of a chunk that is looked at, unless it has so few events that all are.
_SAMPLE_SHARE = 0.25
_SMALL_CHUNK = 16
# More neighbours alike than these shares of the sample, and coding beats packing.
_SAME_ROW_SHARE, _NEAR_COLUMN_SHARE = 0.2, 0.08
# A column word has flags for so many pixels to the right of its own.
_N_FLAGS = 5
# What one event can need at most: 16 parts of a step and the step itself, a run length, y with a run length, x, p.
_MAX_EVENT_BYTES = 17 + 2 + 4 + 2 + 3
# Packed forms come in groups of four values.
_GROUP, _GROUP_BYTES = 4, 12


def encode_chunk(events: Events, form: int | None = None) -> bytes:
    """One chunk of 1 to 65535 events with times of 0 or more; `form` is chosen by the events where it is not given."""
    t, x, y, p = (np.ascontiguousarray(events[name]).astype(np.int64, copy=False) for name in "txyp")
    form = choose_form(x, y) if form is None else form
    out = np.empty(_HEADER.size + events.size * _MAX_EVENT_BYTES + _GROUP_BYTES, dtype=np.uint8)
    at = _times(out, _HEADER.size, t)
    if form == PACKED_YXP:
        at = _packed(out, at, y << 12 | x << 1 | p, 4)
    else:
        at = _rows(out, at, y)
        at = _packed(out, at, x << 1 | p, 2) if form == PACKED_XP else _polarities(out, _columns(out, at, x), p)
    return _HEADER.pack(events.size << 2 | form, int(t[0])) + out[_HEADER.size : at].tobytes()


def choose_form(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> int:
    """The form for events at x, y, int64 (n,)."""
    n = y.size if y.size < _SMALL_CHUNK else int(_SAMPLE_SHARE * y.size + 0.5)
    if int((y[1:n] == y[: n - 1]).sum()) <= int(n * _SAME_ROW_SHARE + 0.5):
        return PACKED_YXP
    return PACKED_XP if _near_columns(x[:n]) <= int(n * _NEAR_COLUMN_SHARE + 0.5) else CODED


@njit(cache=True, nogil=True)
def _near_columns(x: npt.NDArray[np.int64]) -> int:
    """How many events lie to the right of the one before and within reach of the flags of a column word."""
    n, first = 0, x[0]
    for i in range(1, x.size):
        if x[i - 1] < x[i] <= first + _N_FLAGS:
            n += 1
        else:
            first = x[i]
    return n


# The functions below write one part of a chunk each into `out`, uint8 (n,), from byte `at` on; they give where the part ends.


@njit(cache=True, nogil=True)
def _put(out: npt.NDArray[np.uint8], at: int, word: int, n_bytes: int) -> int:
    """A little-endian word."""
    for i in range(n_bytes):
        out[at + i] = (word >> (8 * i)) & 0xFF
    return at + n_bytes


@njit(cache=True, nogil=True)
def _run(values: npt.NDArray[np.int64], start: int) -> int:
    """How many equal values begin at `start`."""
    end = start + 1
    while end < values.size and values[end] == values[start]:
        end += 1
    return end - start


@njit(cache=True, nogil=True)
def _times(out: npt.NDArray[np.uint8], at: int, t: npt.NDArray[np.int64]) -> int:
    """Times: a step in the high nibble (in parts of four bits, marked by 15, where it is 15 or more), a run in the low one."""
    last, n = t[0], 0
    while n < t.size:
        step = t[n] - last
        if step >= 15:
            while step > 0:
                out[at] = 0xF0 | (step & 15)
                step >>= 4
                at += 1
        last = t[n]
        run = _run(t, n)
        out[at] = (step << 4) | min(run, 15)
        at += 1
        if run >= 15:
            at = _put(out, at, run, 2)
        n += run
    return at


@njit(cache=True, nogil=True)
def _rows(out: npt.NDArray[np.uint8], at: int, y: npt.NDArray[np.int64]) -> int:
    """Rows: `y << 5 | run`, a run of 31 or more in a word of its own."""
    n = 0
    while n < y.size:
        run = _run(y, n)
        at = _put(out, at, (y[n] << 5) | min(run, 31), 2)
        if run >= 31:
            at = _put(out, at, run, 2)
        n += run
    return at


@njit(cache=True, nogil=True)
def _columns(out: npt.NDArray[np.uint8], at: int, x: npt.NDArray[np.int64]) -> int:
    """Columns: `x << 5 | flags`, a flag for each of the next pixels that follow in order."""
    n = 0
    while n < x.size:
        first, flags = x[n], 0
        n += 1
        for j in range(_N_FLAGS):
            if n < x.size and x[n] == first + 1 + j:
                flags |= 1 << (_N_FLAGS - 1 - j)
                n += 1
        at = _put(out, at, (first << 5) | flags, 2)
    return at


@njit(cache=True, nogil=True)
def _polarities(out: npt.NDArray[np.uint8], at: int, p: npt.NDArray[np.int64]) -> int:
    """Polarities: `p << 7 | run`, a run of 127 or more in a word of its own."""
    n = 0
    while n < p.size:
        run = _run(p, n)
        out[at] = (p[n] << 7) | min(run, 127)
        at += 1
        if run >= 127:
            at = _put(out, at, run, 2)
        n += run
    return at


@njit(cache=True, nogil=True)
def _packed(out: npt.NDArray[np.uint8], at: int, values: npt.NDArray[np.int64], n_bytes: int) -> int:
    """Four values of three quarters of a word into three words of `n_bytes`; the last group is filled up with zeros.

    Values fill the words from the top; what is left at the bottom of a word holds the low bits of the next value.
    """
    quarter = 2 * n_bytes
    for start in range(0, values.size, _GROUP):
        a, b, c, d = values[start], 0, 0, 0
        if start + 1 < values.size:
            b = values[start + 1]
        if start + 2 < values.size:
            c = values[start + 2]
        if start + 3 < values.size:
            d = values[start + 3]
        low = (1 << quarter) - 1
        at = _put(out, at, (a << quarter) | (b & low), n_bytes)
        at = _put(out, at, ((b >> quarter) << 2 * quarter) | (c & ((1 << 2 * quarter) - 1)), n_bytes)
        at = _put(out, at, ((c >> 2 * quarter) << 3 * quarter) | d, n_bytes)
    return at
