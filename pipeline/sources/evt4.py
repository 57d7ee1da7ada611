"""EVT4, the 32-bit words of Prophesee cameras that hold single events and vectors of 32 pixels alike. Knows no file header.

Little-endian words, type in bits 31-28: 0xA and 0xB are OFF and ON events {time low 27-22, x 21-11, y 10-0}; 0xC and 0xD are
vectors with the same fields, and one whole word behind them says which pixels had an event (bit k: x + k) and has no type of
its own; 0xE is TIME_HIGH {27-0}, 0x9 an external trigger {time low 27-22, id 12-8, value 0}; t = TIME_HIGH * 64 + time low, in
us. 6 is a word of the camera's monitor {subtype 15-0}, 7 what continues it {count 21-0}. All other words (padding 0xF) are
stepped over.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.evt2 import COUNT_MASK, LOW_BITS, SUBTYPE_MASK, TIME_HIGH_MASK, tick
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

OTHER, CONTINUED, TRIGGER, OFF, ON, VECTOR_OFF, VECTOR_ON, TIME_HIGH = 0x6, 0x7, 0x9, 0xA, 0xB, 0xC, 0xD, 0xE
# A fall of TIME_HIGH by half of its range is a turn.
_TURN_STEPS = 1 << 27


class Cursor(NamedTuple):
    """The last TIME_HIGH (-1: none), the whole turns before it in us, and a vector whose mask is still to come (-1: none)."""

    high: int = -1
    turned_us: int = 0
    vector: int = -1


@njit(cache=True, nogil=True)
def _event(word: int, cursor: Cursor) -> tuple[int, int, Cursor]:
    """The events that this word completes as (word that says where and when, mask of pixels), and the cursor after it."""
    high, turned_us, vector = cursor
    if vector >= 0:
        return vector, word, Cursor(high, turned_us, -1)
    kind = word >> 28
    if kind in (VECTOR_OFF, VECTOR_ON):
        return word, 0, Cursor(high, turned_us, word)
    if kind == TIME_HIGH:
        return word, 0, Cursor(*tick(word & TIME_HIGH_MASK, high, turned_us, _TURN_STEPS), -1)
    return word, int(kind in (OFF, ON)), cursor


@njit(cache=True, nogil=True)
def _decode(
    words: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.int64],
    sensor_size: SensorSize,
    cursor: Cursor,
    state: DecodeState,
) -> tuple[Yield, Cursor, DecodeState]:
    """Words to events (`out`, flat, two slots each) and triggers, until the words end or room is short."""
    at = n = n_triggers = n_unplaced = 0
    while at < words.size and n + SLACK <= out.size // 2 and n_triggers < triggers.shape[0]:
        word, mask, cursor = _event(signed(np.uint64(words[at])), cursor)
        at += 1
        t = cursor.turned_us + (cursor.high << LOW_BITS) + ((word >> 22) & 0x3F)
        kind = word >> 28
        if mask and cursor.high < 0:
            n_unplaced += count_bits(mask)
        elif mask:
            pixel = (word >> 11) & 0x7FF | (word & 0x7FF) << 16 | ((word >> 28) & 1) << 32
            inside, state = settle(pixel, mask, t, sensor_size, state)
            n = signed(place(out, np.uint64(2 * n), np.uint64(inside), np.uint64(pixel), np.uint64(state.last_us))) >> 1
        elif kind == TRIGGER and cursor.high >= 0:
            n_triggers = place_trigger(triggers, n_triggers, t, ((word >> 8) & 0x1F, word & 1), state)
        elif kind == TRIGGER:
            n_triggers = lose_trigger(triggers, n_triggers)
        elif kind in (OTHER, CONTINUED):
            number, what = (word & COUNT_MASK, CONTINUATION) if kind == CONTINUED else (word & SUBTYPE_MASK, START)
            n_triggers = place_aside(triggers, n_triggers, number, what)
    return Yield(at, n, n_triggers, n_unplaced), cursor, state


class Evt4Decoder(WordDecoder):
    """EVT4 blocks to events and triggers."""

    word_bytes = 4
    block_bytes = 1 << 18

    def __init__(self) -> None:
        super().__init__(_decode, Cursor(), "<u4")
