"""EVT2.1, the 64-bit words of Prophesee cameras: EVT2 with 32 pixels to a word. Knows no file header.

The upper half of a word is laid out as an EVT2 word; the lower half of an event word says which pixels right of x had an event
(bit k: x + k). Both halves are little-endian; the lower one comes first, or ("legacy") the upper one.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize
from pipeline.sources.evt2 import LOW_BITS, ON, TIME_HIGH, TIME_HIGH_MASK, Clock, tick
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, NO_RESET, DecodeState, allocate, order

_PIXELS = 32
# OFF, ON, TIME_HIGH, trigger, other, continued.
_KNOWN_TYPES = (0x0, 0x1, 0x8, 0xA, 0xE, 0xF)
# Number of a single set bit by its value modulo 37, which is different for each of the 32 (and a loop over pixels is slower).
_BIT_NUMBERS = np.array([next((k for k in range(_PIXELS) if (1 << k) % 37 == rest), 0) for rest in range(37)])


@njit(cache=True, nogil=True)
def count_bits(mask: int) -> int:
    """How many bits of a non-negative number are set."""
    n = 0
    while mask:
        mask &= mask - 1
        n += 1
    return n


@njit(cache=True, nogil=True)
def clip(mask: int, room: int) -> int:
    """Of the pixels of a vector, those among the first `room`; none when there is no room."""
    return mask & ((1 << min(room, _PIXELS)) - 1) if room > 0 else 0


@njit(cache=True, nogil=True)
def place(out: npt.NDArray[np.uint64], n: int, mask: int, first: int, t: int) -> int:
    """Write one event for each set bit of `mask` from slot `n` on, lowest bit first, and give the slot after the last.

    `first` is the pixel of bit 0 as a whole word (x | y << 16 | p << 32).
    """
    while mask:
        out[n, 0] = first + _BIT_NUMBERS[(mask & -mask) % 37]
        out[n, 1] = t
        mask &= mask - 1
        n += 1
    return n


@njit(cache=True, nogil=True)
def _decode(
    halves: npt.NDArray[np.int32],
    upper: int,
    out: npt.NDArray[np.uint64],
    sensor_size: SensorSize,
    clock: Clock,
    state: DecodeState,
) -> tuple[int, int, Clock, DecodeState]:
    """Words, int32 (n, 2) with the upper half in column `upper`, to events; as in EVT2."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    high, turned = clock
    n = n_unplaced = 0
    for i in range(halves.shape[0]):
        word = halves[i, upper]
        mask = halves[i, 1 - upper] & 0xFFFFFFFF
        kind = (word >> 28) & 0xF
        if kind == TIME_HIGH:
            high, turned = tick(word & TIME_HIGH_MASK, high, turned)
        if kind > ON:
            continue
        if high < 0:
            n_unplaced += count_bits(mask)
            continue
        x = (word >> 11) & 0x7FF
        y = word & 0x7FF
        room = sensor_size.width - x if y < sensor_size.height else 0
        if room < _PIXELS:
            n_outside += count_bits(mask) - count_bits(clip(mask, room))
            mask = clip(mask, room)
        if mask == 0:
            continue
        t = turned + (high << LOW_BITS) + ((word >> 22) & 0x3F) + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(t - shift, last, shift, NO_RESET)
            n_jumps += verdict == FELL
            n_backward += count_bits(mask) * (verdict == HELD)
            n_impossible += count_bits(mask) * (verdict == IMPOSSIBLE)
            mask *= verdict != IMPOSSIBLE
        last = t
        n = place(out, n, mask, x | (y << 16) | (kind << 32), t)
    return n, n_unplaced, Clock(high, turned), DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


def looks_legacy(block: npt.NDArray[np.uint8], sensor_size: SensorSize, *, otherwise: bool) -> bool:
    """Whether whole words, uint8 (8 n,), make more sense with the upper half first; `otherwise` when both orders do as well."""
    halves = block.view("<i4").reshape(-1, 2)
    n_legacy, n_little = (_count_sensible(halves[:, upper], sensor_size) for upper in (0, 1))
    return otherwise if n_legacy == n_little else n_legacy > n_little


def _count_sensible(words: npt.NDArray[np.int32], sensor_size: SensorSize) -> int:
    """How many upper halves, int32 (n,), have a known type and, if they are events, a pixel of the sensor."""
    kinds = (words >> 28) & 0xF
    is_inside = ((words >> 11) & 0x7FF < sensor_size.width) & (words & 0x7FF < sensor_size.height)
    return int(np.count_nonzero(np.isin(kinds, _KNOWN_TYPES) & ((kinds > ON) | is_inside)))


class Evt21Decoder:
    """EVT2.1 blocks to events; keeps the camera's clock between blocks. `n_unplaced` events came before the first time word."""

    word_bytes = 8
    # a word may hold 32 events of 16 bytes
    block_bytes = 1 << 17

    def __init__(self, *, is_legacy: bool) -> None:
        self._upper = 0 if is_legacy else 1
        self._clock = Clock()
        self.n_unplaced = 0

    def decode(self, block: npt.NDArray[np.uint8], sensor_size: SensorSize, state: DecodeState) -> tuple[Events, DecodeState]:
        """Events of a block of whole words, uint8 (8 n,)."""
        halves = block.view("<i4").reshape(-1, 2)
        events, out = allocate(halves.shape[0] * _PIXELS)
        n, n_unplaced, self._clock, state = _decode(halves, self._upper, out, sensor_size, self._clock, state)
        self.n_unplaced += n_unplaced
        return events[:n], state
