"""EVT3, the 16-bit words of Prophesee cameras, each of which means something only after those before it. Knows no file header.

Little-endian words, type in bits 15-12: 0 row {y 10-0}, 2 one event {ON 11, x 10-0}, 3 start of a vector {ON 11, x 10-0},
4 and 5 the next 12 or 8 pixels of the vector (bit k: x + k), 6 TIME_LOW and 8 TIME_HIGH {11-0}; t = TIME_HIGH * 4096 +
TIME_LOW, in us. Every other word is stepped over, one at a time: cameras cut groups of words short, so that no word may be
taken for granted.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize
from pipeline.sources.evt21 import clip, count_bits, place
from pipeline.sources.ordering import FELL, HELD, LEAP_US, NO_RESET, DecodeState, allocate, order

ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW, TIME_HIGH = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8
_LOW_BITS = 12
# TIME_HIGH has 12 bits. A fall by half of them is a turn, whatever the values: data may have been lost around it.
_HALF_TURN_STEPS = 1 << 11
# Late words of up to so many steps occur; across a turn they look like a leap by all the rest of it.
_LATE_STEPS = 10
_TURN_STEPS = 1 << 12
_TURN_US = 1 << 24
# Below zero, and still so after any number of vectors.
_UNKNOWN = -(1 << 60)


class Cursor(NamedTuple):
    """What words leave behind for those that follow: row, next pixel and polarity of the vector, clock.

    `y`, `x` and `high` are negative before the first word that tells them; `turned_us` is the time of whole turns.
    """

    y: int = -1
    x: int = _UNKNOWN
    p: int = 0
    high: int = -1
    low: int = 0
    turned_us: int = 0


@njit(cache=True, nogil=True)
def _tick(new: int, cursor: Cursor) -> Cursor:
    """The cursor after a TIME_HIGH; another value than before makes the low time stale."""
    y, x, p, high, _, turned_us = cursor
    if new == high:
        return cursor
    if high - new >= _HALF_TURN_STEPS:
        turned_us += _TURN_US
    elif turned_us > 0 and new - high >= _TURN_STEPS - _LATE_STEPS:
        turned_us -= _TURN_US
    return Cursor(y, x, p, new, 0, turned_us)


@njit(cache=True, nogil=True)
def _follow(kind: int, value: int, cursor: Cursor) -> Cursor:
    """The cursor after a word that is no event. TIME_LOW counts as it comes: cameras write it twice, the second one lower."""
    y, x, p, high, low, turned_us = cursor
    if kind == ADDR_Y:
        return Cursor(value & 0x7FF, x, p, high, low, turned_us)
    if kind == TIME_LOW:
        return Cursor(y, x, p, high, value, turned_us)
    if kind == TIME_HIGH:
        return _tick(value, cursor)
    if kind == VECT_BASE_X:
        return Cursor(y, value & 0x7FF, value >> 11, high, low, turned_us)
    return cursor


@njit(cache=True, nogil=True)
def _pixels(kind: int, value: int, cursor: Cursor) -> tuple[int, int, int, int, Cursor]:
    """An event word as (first x, p, mask of pixels, how many pixels it speaks of), and the cursor after it."""
    if kind == ADDR_X:
        return value & 0x7FF, value >> 11, 1, 1, cursor
    y, x, p, high, low, turned_us = cursor
    n_pixels = 12 if kind == VECT_12 else 8
    return x, p, value & ((1 << n_pixels) - 1), n_pixels, Cursor(y, x + n_pixels, p, high, low, turned_us)


@njit(cache=True, nogil=True)
def _here(cursor: Cursor, sensor_size: SensorSize) -> tuple[int, int]:
    """Time of the file (us) and the x that events must stay below: 0 where there is no place for any."""
    is_placed = cursor.high >= 0 and 0 <= cursor.y < sensor_size.height
    return cursor.turned_us + (cursor.high << _LOW_BITS) + cursor.low, sensor_size.width if is_placed else 0


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.int16], out: npt.NDArray[np.uint64], sensor_size: SensorSize, cursor: Cursor, state: DecodeState
) -> tuple[int, int, Cursor, DecodeState]:
    """Words, int16 (n,) so that shifts stay signed, to events; gives how many were written to `out` and how many had no place.

    24 bits of time with one turn a word at most cannot add up to an impossible time.
    """
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    file_t, limit = _here(cursor, sensor_size)
    t = file_t + shift
    n = n_unplaced = 0
    for word in words:
        kind, value = (word >> 12) & 0xF, word & 0xFFF
        if kind == ADDR_X and (value & 0x7FF) < limit and last <= t <= last + LEAP_US:
            # nearly all events; whatever is unusual about them takes the long way below
            out[n, 0] = (value & 0x7FF) | (cursor.y << 16) | ((value >> 11) << 32)
            out[n, 1] = last = t
            n += 1
            continue
        if kind != ADDR_X and kind != VECT_12 and kind != VECT_8:  # compiled code knows no membership
            cursor = _follow(kind, value, cursor)
            file_t, limit = _here(cursor, sensor_size)
            t = file_t + shift
            continue
        x, p, mask, n_pixels, cursor = _pixels(kind, value, cursor)
        if x < 0 or cursor.y < 0 or cursor.high < 0:
            n_unplaced += count_bits(mask)
            continue
        if limit - x < n_pixels:
            n_outside += count_bits(mask) - count_bits(clip(mask, limit - x))
            mask = clip(mask, limit - x)
        if mask == 0:
            continue
        last, shift, verdict = order(file_t, last, shift, NO_RESET)
        t = file_t + shift
        n_jumps += verdict == FELL
        n_backward += count_bits(mask) * (verdict == HELD)
        n = place(out, n, mask, x | (cursor.y << 16) | (p << 32), last)
    return n, n_unplaced, cursor, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


class Evt3Decoder:
    """EVT3 blocks to events; keeps the cursor between blocks. `n_unplaced` events came before time, row and vector."""

    word_bytes = 2
    # a word may hold 12 events of 16 bytes
    block_bytes = 1 << 16

    def __init__(self) -> None:
        self._cursor = Cursor()
        self.n_unplaced = 0

    def decode(self, block: npt.NDArray[np.uint8], sensor_size: SensorSize, state: DecodeState) -> tuple[Events, DecodeState]:
        """Events of a block of whole words, uint8 (2 n,)."""
        words = block.view("<i2")
        events, out = allocate(words.size * 12)
        n, n_unplaced, self._cursor, state = _decode(words, out, sensor_size, self._cursor, state)
        self.n_unplaced += n_unplaced
        return events[:n], state
