"""EVT2, the 32-bit words of Prophesee cameras. Knows no file header.

Little-endian words, type in bits 31-28: 0 and 1 are OFF and ON events {time low 27-22, x 21-11, y 10-0}, 8 is TIME_HIGH {27-0},
0xA an external trigger {time low 27-22, id 12-8, value 0}; t = TIME_HIGH * 64 + time low, in us. 0xE is a word of the camera's
monitor {subtype 15-0}, 0xF what continues it {count 21-0}. All other words (IMU) are stepped over.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.monitor import CONTINUATION, START
from pipeline.sources.ordering import LEAP_US, DecodeState, move_to, signed
from pipeline.sources.words import SLACK, WordDecoder, Yield, lose_trigger, place, place_aside, place_trigger, settle

OFF, ON, TIME_HIGH, TRIGGER, IMU, OTHER, CONTINUED = 0x0, 0x1, 0x8, 0xA, 0xD, 0xE, 0xF
SUBTYPE_MASK, COUNT_MASK = (1 << 16) - 1, (1 << 22) - 1
LOW_BITS = 6
TIME_HIGH_MASK = (1 << 28) - 1
TURN_US = 1 << 34
# The camera's clock has turned when it falls by all of its range but 10 ms; a smaller fall is disorder or a restart.
TURN_STEPS = (1 << 28) - (10_000 >> LOW_BITS)
# Compiled code turns to floating point where it meets signed and unsigned words, so that these are all unsigned. Steps of
# TIME_HIGH up to the longest (a minute) are nothing unusual.
_ONE, _TWO, _LONGEST_STEP = np.uint64(1), np.uint64(2), np.uint64(1 << 20)
_KIND, _LOW, _X, _Y, _P = np.uint64(28), np.uint64(22), np.uint64(11), np.uint64(16), np.uint64(32)
_TIME_HIGH, _HIGH_MASK, _TICK_BITS = np.uint64(TIME_HIGH), np.uint64(TIME_HIGH_MASK), np.uint64(LOW_BITS)
_LOW_MASK, _PLACE_MASK = np.uint64(0x3F), np.uint64(0x7FF)


class Clock(NamedTuple):
    """The last TIME_HIGH (-1 before the first) and the whole turns before it, in us."""

    high: int = -1
    turned_us: int = 0


@njit(cache=True, nogil=True)
def tick(new: int, high: int, turned_us: int, turn_steps: int) -> tuple[int, int]:
    """A TIME_HIGH of 28 bits after `high` as (TIME_HIGH, whole turns in us); also for a late word from before the turn.

    A fall by `turn_steps` or more is a turn.
    """
    if high >= 0 and high - new >= turn_steps:
        return new, turned_us + TURN_US
    if turned_us > 0 and new - high >= TURN_STEPS:
        return new, turned_us - TURN_US
    return new, turned_us


@njit(cache=True, nogil=True)
def _stride(
    words: npt.NDArray[np.uint32],
    start: int,
    out: npt.NDArray[np.uint64],
    n: int,
    sensor_size: SensorSize,
    clock: Clock,
    before: tuple[int, int],
) -> tuple[int, int, Clock, int]:
    """Go through events inside the sensor and rising times, up to the first word that is anything else.

    `before` are the last time delivered and the shift in force. Gives where it stopped, the events written, the clock and the
    last time delivered.
    """
    last, base = np.uint64(before[0]), np.uint64(clock.turned_us + (clock.high << LOW_BITS) + before[1])
    width, height, high = np.uint64(sensor_size.width), np.uint64(sensor_size.height), np.uint64(clock.high)
    slot, at = np.uint64(2 * n), np.uint64(start)
    end = np.uint64(max(start, min(words.size, start + out.size // 2 - n - SLACK)))
    while at < end:
        word = np.uint64(words[at])
        kind = word >> _KIND
        if kind == _TIME_HIGH:
            step = (word & _HIGH_MASK) - high  # a step back is a very long one here
            if step > _LONGEST_STEP:
                break
            high += step
            base += step << _TICK_BITS
            at += _ONE
            continue
        x, y, t = (word >> _X) & _PLACE_MASK, word & _PLACE_MASK, base + ((word >> _LOW) & _LOW_MASK)
        if (kind > _ONE) | (x >= width) | (y >= height) | (t < last):
            break
        out[slot] = x | (y << _Y) | (kind << _P)
        out[slot + _ONE] = last = t
        slot += _TWO
        at += _ONE
    return signed(at), signed(slot >> _ONE), Clock(signed(high), clock.turned_us), signed(last)


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.int64],
    sensor_size: SensorSize,
    clock: Clock,
    state: DecodeState,
) -> tuple[Yield, Clock, DecodeState]:
    """Words to events (`out`, flat, two slots each) and triggers, until the words end or room is short."""
    at = n = n_triggers = n_unplaced = 0
    while at < words.size and n + SLACK <= out.size // 2 and n_triggers < triggers.shape[0]:
        next_us = clock.turned_us + ((clock.high + 1) << LOW_BITS) + state.shift_us
        if clock.high >= 0 and 0 <= state.last_us <= next_us <= state.last_us + LEAP_US:
            at, n, clock, last = _stride(words, at, out, n, sensor_size, clock, (state.last_us, state.shift_us))
            state = move_to(last, state)
            if at == words.size:
                break
        word = signed(np.uint64(words[at]))
        at += 1
        kind = word >> 28
        t = clock.turned_us + (clock.high << LOW_BITS) + ((word >> 22) & 0x3F)
        if kind == TIME_HIGH:
            clock = Clock(*tick(word & TIME_HIGH_MASK, clock.high, clock.turned_us, TURN_STEPS))
        elif kind <= ON and clock.high < 0:
            n_unplaced += 1
        elif kind <= ON:
            pixel = (word >> 11) & 0x7FF | (word & 0x7FF) << 16 | kind << 32
            inside, state = settle(pixel, 1, t, sensor_size, state)
            n = signed(place(out, np.uint64(2 * n), np.uint64(inside), np.uint64(pixel), np.uint64(state.last_us))) >> 1
        elif kind == TRIGGER and clock.high >= 0:
            n_triggers = place_trigger(triggers, n_triggers, t, ((word >> 8) & 0x1F, word & 1), state)
        elif kind == TRIGGER:
            n_triggers = lose_trigger(triggers, n_triggers)
        elif kind >= IMU:  # the words that continue an IMU word are none of the monitor's
            number, what = (word & COUNT_MASK, CONTINUATION) if kind == CONTINUED else (word & SUBTYPE_MASK, START)
            n_triggers = place_aside(triggers, n_triggers, number * (kind != IMU), what)
    return Yield(at, n, n_triggers, n_unplaced), clock, state


class Evt2Decoder(WordDecoder):
    """EVT2 blocks to events and triggers."""

    word_bytes = 4
    block_bytes = 1 << 18

    def __init__(self) -> None:
        super().__init__(_decode, Clock(), "<u4")
