"""EVT2.1, the 64-bit words of Prophesee cameras: EVT2 with 32 pixels to a word. Knows no file header.

The upper half of a word is laid out as an EVT2 word; the lower half of an event word says which pixels right of x had an event
(bit k: x + k), that of a monitor word holds its count (21-0). Both halves are little-endian; the lower one comes first, or
("legacy") the upper one.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.evt2 import (
    COUNT_MASK,
    LOW_BITS,
    ON,
    OTHER,
    SUBTYPE_MASK,
    TIME_HIGH,
    TIME_HIGH_MASK,
    TRIGGER,
    TURN_STEPS,
    Clock,
    tick,
)
from pipeline.sources.monitor import CONTINUATION, START
from pipeline.sources.ordering import DecodeState, signed
from pipeline.sources.words import (
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

# OFF, ON, TIME_HIGH, trigger, other, continued.
_KNOWN_TYPES = (0x0, 0x1, 0x8, 0xA, 0xE, 0xF)


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.int64],
    sensor_size: SensorSize,
    clock: Clock,
    state: DecodeState,
) -> tuple[Yield, Clock, DecodeState]:
    """Words to events (`out`, flat, two slots each) and triggers, until the words end or room is short; as in EVT2."""
    at = n = n_triggers = n_unplaced = 0
    while at < words.size and n + SLACK <= out.size // 2 and n_triggers + 1 < triggers.shape[0]:
        word, mask = signed(words[at] >> np.uint64(32)), signed(words[at] & np.uint64(0xFFFFFFFF))
        at += 1
        kind = word >> 28
        t = clock.turned_us + (clock.high << LOW_BITS) + ((word >> 22) & 0x3F)
        if kind == TIME_HIGH:
            clock = Clock(*tick(word & TIME_HIGH_MASK, clock.high, clock.turned_us, TURN_STEPS))
        elif kind <= ON and clock.high < 0:
            n_unplaced += count_bits(mask)
        elif kind <= ON:
            pixel = (word >> 11) & 0x7FF | (word & 0x7FF) << 16 | kind << 32
            mask, state = settle(pixel, mask, t, sensor_size, state)
            n = signed(place(out, np.uint64(2 * n), np.uint64(mask), np.uint64(pixel), np.uint64(state.last_us))) >> 1
        elif kind == TRIGGER and clock.high >= 0:
            n_triggers = place_trigger(triggers, n_triggers, t, ((word >> 8) & 0x1F, word & 1), state)
        elif kind == TRIGGER:
            n_triggers = lose_trigger(triggers, n_triggers)
        elif kind == OTHER:
            n_triggers = place_aside(triggers, n_triggers, word & SUBTYPE_MASK, START)
            n_triggers = place_aside(triggers, n_triggers, mask & COUNT_MASK, CONTINUATION)
    return Yield(at, n, n_triggers, n_unplaced), clock, state


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


class Evt21Decoder(WordDecoder):
    """EVT2.1 blocks to events and triggers."""

    word_bytes = 8
    block_bytes = 1 << 18

    def __init__(self, *, is_legacy: bool) -> None:
        super().__init__(_decode, Clock(), "<u8")
        self._is_legacy = is_legacy

    def _view(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
        words: npt.NDArray[np.uint64] = super()._view(block)
        return words << np.uint64(32) | words >> np.uint64(32) if self._is_legacy else words
