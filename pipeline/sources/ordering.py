"""What every reader promises about its events: times that never run backwards, coordinates inside the sensor.

The decoders (numba, one pass over a block of bytes) share these few lines and carry `DecodeState` in and out as a value.
Knows no file format.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize, Triggers, make_triggers

# Decoders write an event as two 64-bit words, x | y << 16 | p << 32 and t: half the stores, and padding that is always zero.
assert EVENT_DTYPE.itemsize == 16
assert [EVENT_DTYPE.fields[name][1] for name in ("x", "y", "p", "t")] == [0, 2, 4, 8]  # type: ignore[index] # it has fields

# A step back of less than this is disorder on the way out of the camera; a longer one means that its clock was set anew.
DISORDER_US = 1_000_000
# Bounds that keep sums of times far from the ends of int64: of a time in a file, and of a time delivered.
MAX_FILE_TIME_US = 1 << 60
MAX_TIME_US = 1 << 62
# Steps forward up to this (36 minutes) need no second look.
LEAP_US = 1 << 31
BEFORE_FIRST_US = -MAX_TIME_US


class DecodeState(NamedTuple):
    """What a decoder remembers between blocks: the last time delivered, the shift in force, and counts of what was mended.

    `n_backward` events were held at the running maximum, `n_jumps` times the clock fell by a second or more (or was reset),
    `n_outside` events lay outside the sensor, `n_impossible` had times that no clock shows; the last two kinds are dropped.
    """

    last_us: int = BEFORE_FIRST_US
    shift_us: int = 0
    n_backward: int = 0
    n_jumps: int = 0
    n_outside: int = 0
    n_impossible: int = 0


# Verdicts of `order`.
FINE, HELD, FELL, IMPOSSIBLE = 0, 1, 2, 3
# For formats that do not tell of resets.
NO_RESET = False


@njit(cache=True, nogil=True)
def signed(word: np.uint64) -> int:
    """A 64-bit word as a signed number; compiled code that mixes the two kinds turns to floating point."""
    return np.int64(word)  # type: ignore[return-value] # compiled code has no other int


@njit(cache=True, nogil=True)
def order(t: int, last_us: int, shift_us: int, was_reset: bool) -> tuple[int, int, int]:
    """One file time (us) as (delivered time, shift from now on, verdict); an impossible time leaves both as they were.

    After a reset (`was_reset`) any fall counts as the clock being set anew, however small. Decoders call this for the first
    event and wherever time falls or leaps by more than `LEAP_US`; elsewhere the delivered time is simply `t + shift_us`.
    """
    delivered = t + shift_us
    if not (-MAX_FILE_TIME_US < t < MAX_FILE_TIME_US and -MAX_TIME_US < delivered < MAX_TIME_US):
        return last_us, shift_us, IMPOSSIBLE
    if delivered >= last_us:
        return delivered, shift_us, FINE
    if last_us - delivered < DISORDER_US and not was_reset:
        return last_us, shift_us, HELD
    return last_us, shift_us + last_us - delivered, FELL


@njit(cache=True, nogil=True)
def move_to(last_us: int, state: DecodeState) -> DecodeState:
    """The state after events without a fault, the last of them at `last_us`."""
    return DecodeState(last_us, state.shift_us, state.n_backward, state.n_jumps, state.n_outside, state.n_impossible)


def allocate(n: int) -> tuple[Events, npt.NDArray[np.uint64]]:
    """Room for `n` events, and the same memory as uint64 (n, 2) for a decoder to fill."""
    events = np.empty(n, dtype=EVENT_DTYPE)
    return events, events.view(np.uint64).reshape(n, 2)


def triggers_from(words: npt.NDArray[np.uint64]) -> Triggers:
    """Triggers from what a decoder wrote, uint64 (n, 2): id | p << 16, and the time in us."""
    return make_triggers(words[:, 1], words[:, 0] & 0xFFFF, words[:, 0] >> 16)


def bounding_size(max_x: int, max_y: int) -> SensorSize:
    """The smallest sensor that holds the largest coordinates seen; (0, 0) when there was no event (both -1)."""
    return SensorSize(max_x + 1, max_y + 1)


def describe(state: DecodeState, sensor_size: SensorSize) -> list[str]:
    """Sentences about what was mended, for people; none when all was well."""
    sentences = []
    if state.n_backward:
        sentences.append(f"{state.n_backward} events ran backwards, held at the running maximum")
    if state.n_jumps:
        sentences.append(f"the clock was set back {state.n_jumps} times; time continues from the event before")
    if state.n_outside:
        width, height = sensor_size
        sentences.append(f"{state.n_outside} events outside the sensor of {width}x{height} pixels dropped")
    if state.n_impossible:
        sentences.append(f"{state.n_impossible} events with impossible times dropped")
    return sentences


# One turn of a 32-bit clock in microseconds (AEDAT 2.0, DAT).
TURN_US = 1 << 32


class Turns(NamedTuple):
    """Unwrapping of the 32-bit clock: whole turns so far and the last unwrapped time, both in us."""

    turned_us: int = 0
    previous_us: int = 0


@njit(cache=True, nogil=True)
def unwrap(raw: int, turns: Turns) -> tuple[int, int]:
    """A 32-bit time as (unwrapped time, whole turns from now on), both in us.

    The clock has turned when it falls by more than half a turn; the opposite is disorder across the turn.
    """
    t = raw + turns.turned_us
    if t < turns.previous_us - LEAP_US:
        return t + TURN_US, turns.turned_us + TURN_US
    if turns.turned_us > 0 and t > turns.previous_us + LEAP_US:
        return t - TURN_US, turns.turned_us
    return t, turns.turned_us
