"""EVT2, the 32-bit words of Prophesee cameras. Knows no file header.

Little-endian words, type in bits 31-28: 0 and 1 are OFF and ON events {time low 27-22, x 21-11, y 10-0}, 8 is TIME_HIGH {27-0};
t = TIME_HIGH * 64 + time low, in us. All other words (triggers, IMU, monitor words and what continues them) are stepped over.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize
from pipeline.sources.file import BLOCK_BYTES
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, NO_RESET, DecodeState, allocate, order

ON, TIME_HIGH = 0x1, 0x8
LOW_BITS = 6
TIME_HIGH_MASK = (1 << 28) - 1
# The camera's clock has turned when it falls by all of its range but 10 ms; a smaller fall is disorder or a restart.
_TURN_STEPS = (1 << 28) - (10_000 >> LOW_BITS)
_TURN_US = 1 << 34


class Clock(NamedTuple):
    """The last TIME_HIGH (-1 before the first) and the whole turns before it, in us."""

    high: int = -1
    turned_us: int = 0


@njit(cache=True, nogil=True)
def tick(new: int, high: int, turned_us: int) -> tuple[int, int]:
    """A TIME_HIGH of 28 bits after `high` as (TIME_HIGH, whole turns in us); also for a late word from before the turn."""
    if high >= 0 and high - new >= _TURN_STEPS:
        return new, turned_us + _TURN_US
    if turned_us > 0 and new - high >= _TURN_STEPS:
        return new, turned_us - _TURN_US
    return new, turned_us


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.int32], out: npt.NDArray[np.uint64], sensor_size: SensorSize, clock: Clock, state: DecodeState
) -> tuple[int, int, Clock, DecodeState]:
    """Words, int32 (n,) so that shifts stay signed, to events; gives how many were written and how many had no time."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    high, turned = clock
    n = n_unplaced = 0
    for word in words:
        kind = (word >> 28) & 0xF
        if kind == TIME_HIGH:
            high, turned = tick(word & TIME_HIGH_MASK, high, turned)
        if kind > ON:
            continue
        if high < 0:
            n_unplaced += 1
            continue
        x = (word >> 11) & 0x7FF
        y = word & 0x7FF
        if x >= sensor_size.width or y >= sensor_size.height:
            n_outside += 1
            continue
        t = turned + (high << LOW_BITS) + ((word >> 22) & 0x3F) + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(t - shift, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        out[n, 0] = x | (y << 16) | (kind << 32)
        out[n, 1] = t
        n += 1
    return n, n_unplaced, Clock(high, turned), DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


class Evt2Decoder:
    """EVT2 blocks to events; keeps the camera's clock between blocks. `n_unplaced` events came before the first time word."""

    word_bytes = 4
    block_bytes = BLOCK_BYTES

    def __init__(self) -> None:
        self._clock = Clock()
        self.n_unplaced = 0

    def decode(self, block: npt.NDArray[np.uint8], sensor_size: SensorSize, state: DecodeState) -> tuple[Events, DecodeState]:
        """Events of a block of whole words, uint8 (4 n,)."""
        words = block.view("<i4")
        events, out = allocate(words.size)
        n, n_unplaced, self._clock, state = _decode(words, out, sensor_size, self._clock, state)
        self.n_unplaced += n_unplaced
        return events[:n], state
