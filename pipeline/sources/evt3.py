"""EVT3, the 16-bit words of Prophesee cameras, each of which means something only after those before it. Knows no file header.

Little-endian words, type in bits 15-12: 0 row {y 10-0}, 2 one event {ON 11, x 10-0}, 3 start of a vector {ON 11, x 10-0},
4 and 5 the next 12 or 8 pixels of the vector (bit k: x + k), 6 TIME_LOW and 8 TIME_HIGH {11-0}, 0xA trigger {id 11-8, value 0};
t = TIME_HIGH * 4096 + TIME_LOW, in us. 0xE is a word of the camera's monitor {subtype 11-0}, 0xF and 7 continue it {count 11-0,
3-0}. Every other word is stepped over, one at a time: cameras cut groups of words short, so that no word may be taken for
granted.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.monitor import CONTINUATION, START
from pipeline.sources.ordering import LEAP_US, DecodeState, move_to, signed
from pipeline.sources.words import (
    PIXELS,
    SLACK,
    WordDecoder,
    Yield,
    count_bits,
    lose_trigger,
    place,
    place_aside,
    place_trigger,
    settle,
)

ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW, TIME_HIGH, TRIGGER = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8, 0xA
CONTINUED_4, IMU, OTHER, CONTINUED_12 = 0x7, 0xD, 0xE, 0xF
LOW_BITS = 12
# TIME_HIGH has 12 bits. A fall by half of them is a turn, whatever the values: data may have been lost around it.
_HALF_TURN_STEPS = 1 << 11
# Late words of up to so many steps occur; across a turn they look like a leap by all the rest of it.
_LATE_STEPS = 10
_TURN_STEPS = 1 << 12
TURN_US = 1 << 24
# Further right than any sensor.
_NOWHERE = 0xFFFF
# Unsigned words for compiled code, which turns to floating point where it meets both kinds.
_TYPE, _VALUE = np.uint64(12), np.uint64(0xFFF)
_ZERO, _ONE, _TWO, _THREE, _FOUR = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_EIGHT, _TWELVE = np.uint64(8), np.uint64(12)
_ADDR_X, _TIME_LOW = np.uint64(ADDR_X), np.uint64(TIME_LOW)
_VECT_BASE_X, _VECT_12, _VECT_8 = np.uint64(VECT_BASE_X), np.uint64(VECT_12), np.uint64(VECT_8)


class Cursor(NamedTuple):
    """What words leave behind for those that follow: row, next pixel and polarity of the vector, clock.

    `y`, `p` and `high` are negative before the first word that tells them; `turned_us` is the time of whole turns.
    """

    y: int = -1
    x: int = 0
    p: int = -1
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
        turned_us += TURN_US
    elif turned_us > 0 and new - high >= _TURN_STEPS - _LATE_STEPS:
        turned_us -= TURN_US
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
def _pixels(kind: int, value: int, cursor: Cursor) -> tuple[int, int, int, Cursor]:
    """An event word as (first x, p, mask of pixels), and the cursor after it."""
    if kind == ADDR_X:
        return value & 0x7FF, value >> 11, 1, cursor
    y, x, p, high, low, turned_us = cursor
    n_pixels = 12 if kind == VECT_12 else 8
    return x, p, value & ((1 << n_pixels) - 1), Cursor(y, x + n_pixels, p, high, low, turned_us)


@njit(cache=True, nogil=True)
def _time(cursor: Cursor) -> int:
    """Time of the file (us); only of use once `high` is known."""
    return cursor.turned_us + (cursor.high << LOW_BITS) + cursor.low


@njit(cache=True, nogil=True)
def _set_aside(out: npt.NDArray[np.int64], n: int, word: int, cursor: Cursor, state: DecodeState) -> int:
    """Write a trigger or a word for the monitor into slot `n` of `out`, int64 (n, 2), and give the slot after it."""
    kind, value = word >> 12, word & 0xFFF
    if kind == TRIGGER and cursor.high >= 0:
        return place_trigger(out, n, _time(cursor), (value >> 8, value & 1), state)
    if kind == TRIGGER:
        return lose_trigger(out, n)
    if kind in (CONTINUED_12, CONTINUED_4):
        return place_aside(out, n, value if kind == CONTINUED_12 else value & 0xF, CONTINUATION)
    return place_aside(out, n, value if kind == OTHER else 0, START)  # the words that continue an IMU word are none of its


@njit(cache=True, nogil=True)
def _limits(sensor_size: SensorSize) -> npt.NDArray[np.uint64]:
    """By the type of a word, what its low 11 bits must stay below to be nothing unusual: 0 for all types that are."""
    limits = np.zeros(16, dtype=np.uint64)
    limits[ADDR_Y] = sensor_size.height
    limits[ADDR_X] = sensor_size.width
    limits[TIME_LOW] = 1 << LOW_BITS
    return limits


@njit(cache=True, nogil=True)
def _vector(
    word: np.uint64, behind: tuple[np.uint64, np.uint64, np.uint64], pixel: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """A vector word, or the whole group that begins with it, as (words, pixels, mask, first pixel).

    `behind` are the three words after it, `pixel` is where a vector without a start of its own goes on.
    """
    kind = word >> _TYPE
    if kind != _VECT_BASE_X:
        n_pixels = _TWELVE if kind == _VECT_12 else _EIGHT
        return _ONE, n_pixels, word & ((_ONE << n_pixels) - _ONE), pixel
    pixel = (word & np.uint64(0x7FF)) | ((word & np.uint64(0x800)) << np.uint64(21))
    second, third, fourth = behind
    if (second >> _TYPE == _VECT_12) & (third >> _TYPE == _VECT_12) & (fourth >> _TYPE == _VECT_8):
        mask = (second & _VALUE) | ((third & _VALUE) << _TWELVE) | ((fourth & np.uint64(0xFF)) << np.uint64(24))
        return _FOUR, np.uint64(PIXELS), mask, pixel
    return _ONE, _ZERO, _ZERO, pixel


@njit(cache=True, nogil=True)
def _end_of_stride(at: int, n: int, n_words: int, n_slots: int) -> int:
    """How far single words may be gone through: each may be an event and takes room, and a group reads three words further."""
    return max(at, min(n_words - 3, at + n_slots // 2 - n - SLACK))


@njit(cache=True, nogil=True)
def _stride(
    words: npt.NDArray[np.uint16],
    start: int,
    out: npt.NDArray[np.uint64],
    n: int,
    limits: npt.NDArray[np.uint64],
    cursor: Cursor,
    shift: int,
) -> tuple[int, int, Cursor]:
    """Go through rows, events and rising low times that are nothing unusual, up to the first word that is.

    Gives where it stopped, the slots filled and the cursor. The inner loop has no branch but its end, and writes each word as
    if it were an event: words come in no order that a processor could guess, and a wrong guess costs more than all of this.
    """
    y, x, p, high, low, turned_us = cursor
    base = np.uint64(turned_us + (high << LOW_BITS) + shift)
    t, row = base + np.uint64(low), np.uint64(y << 16)
    pixel = np.uint64(x | (p << 32)) if p >= 0 and x < _NOWHERE else np.uint64(_NOWHERE)
    same_high = np.uint64((TIME_HIGH << 12) | high)
    slot, at = np.uint64(2 * n), np.uint64(start)
    end = np.uint64(_end_of_stride(start, n, words.size, out.size))
    while at < end:
        word = kind = _ZERO
        while at < end:
            word = np.uint64(words[at])
            kind, value = word >> _TYPE, word & np.uint64(0x7FF)
            later = t ^ ((t ^ (base + (word & _VALUE))) & (_ZERO - np.uint64(kind == _TIME_LOW)))
            if ((value >= limits[kind]) & (word != same_high)) | (later < t):
                break
            out[slot] = value | row | ((word & np.uint64(0x800)) << np.uint64(21))
            out[slot + _ONE] = t
            slot += np.uint64(kind == _ADDR_X) << _ONE
            row ^= (row ^ (value << np.uint64(16))) & (_ZERO - np.uint64(kind == _ZERO))
            t = later
            at += _ONE
        if at == end or kind - _VECT_BASE_X > _TWO:
            break
        behind = np.uint64(words[at + _ONE]), np.uint64(words[at + _TWO]), np.uint64(words[at + _THREE])
        n_words, n_pixels, mask, first = _vector(word, behind, pixel)
        if (first & np.uint64(0xFFFF)) + n_pixels > limits[_ADDR_X]:
            break
        slot = place(out, slot, mask, first | row, t)
        pixel = first + n_pixels
        at += n_words
        end = np.uint64(_end_of_stride(signed(at), signed(slot >> _ONE), words.size, out.size))
    if pixel != np.uint64(_NOWHERE):
        x, p = signed(pixel & np.uint64(0xFFFF)), signed(pixel >> np.uint64(32))
    return signed(at), signed(slot >> _ONE), Cursor(signed(row >> np.uint64(16)), x, p, high, signed(t - base), turned_us)


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.uint16],
    out: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.int64],
    sensor_size: SensorSize,
    cursor: Cursor,
    state: DecodeState,
) -> tuple[Yield, Cursor, DecodeState]:
    """Words to events (`out`, flat, two words a slot) and triggers, until the words end or room is short.

    24 bits of time with one turn a word at most cannot add up to an impossible time.
    """
    limits = _limits(sensor_size)
    at = n = n_triggers = n_unplaced = 0
    while at < words.size and n + SLACK <= out.size // 2 and n_triggers < triggers.shape[0]:
        now_us = _time(cursor) + state.shift_us
        is_placed = cursor.high >= 0 and 0 <= cursor.y < sensor_size.height
        if is_placed and state.last_us <= now_us <= state.last_us + LEAP_US:
            first = n
            at, n, cursor = _stride(words, at, out, n, limits, cursor, state.shift_us)
            state = move_to(signed(out[2 * n - 1]) if n > first else state.last_us, state)
            if at == words.size:
                break
        word = signed(np.uint64(words[at]))
        at += 1
        kind, value = word >> 12, word & 0xFFF
        if kind not in (ADDR_X, VECT_12, VECT_8):
            if kind in (TRIGGER, CONTINUED_4) or kind >= IMU:
                n_triggers = _set_aside(triggers, n_triggers, word, cursor, state)
            cursor = _follow(kind, value, cursor)
            continue
        x, p, mask, cursor = _pixels(kind, value, cursor)
        if p < 0 or cursor.y < 0 or cursor.high < 0:
            n_unplaced += count_bits(mask)
            continue
        pixel = min(x, _NOWHERE) | (cursor.y << 16) | (p << 32)
        inside, state = settle(pixel, mask, _time(cursor), sensor_size, state)
        n = signed(place(out, np.uint64(2 * n), np.uint64(inside), np.uint64(pixel), np.uint64(state.last_us))) >> 1
    return Yield(at, n, n_triggers, n_unplaced), cursor, state


class Evt3Decoder(WordDecoder):
    """EVT3 blocks to events and triggers."""

    word_bytes = 2
    _n_monitor_parts = 3
    block_bytes = 1 << 17

    def __init__(self) -> None:
        super().__init__(_decode, Cursor(), "<u2")
