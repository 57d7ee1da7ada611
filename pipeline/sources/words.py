"""What the word encodings of Prophesee cameras share: room for events, bits of a vector, triggers. Knows no encoding.

A decoder is a loop over words (numba) that stops where its room is full. Cursors, the words' own memory, go in and out of it as
values, so that any split of a file gives the same events.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic

from pipeline.schema.events import TRIGGER_DTYPE, Events, SensorSize, Triggers, empty_triggers
from pipeline.sources.monitor import ASIDE, LOST_TRIGGER, Monitor
from pipeline.sources.ordering import DISORDER_US, FELL, HELD, IMPOSSIBLE, NO_RESET, DecodeState, allocate, order

# Decoders write a trigger as two 64-bit words, t and id | p << 16.
assert TRIGGER_DTYPE.itemsize == 16
assert [TRIGGER_DTYPE.fields[name][1] for name in ("t", "id", "p")] == [0, 8, 10]  # type: ignore[index] # it has fields

PIXELS = 32
_ONE, _TWO = np.uint64(1), np.uint64(2)
# Slots that a decoder may need for one word, and those that it may scribble on behind them.
SLACK = PIXELS + 4
# Triggers are rare; a decoder that meets more in one go is called again.
_TRIGGER_ROOM = 1 << 12


class Yield(NamedTuple):
    """What one call of a loop over words gave: words read, events and triggers written, events that had no time or place."""

    n_words: int
    n_events: int
    n_triggers: int
    n_unplaced: int


@intrinsic
def _trailing_zeros(_: Any, word: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return word(word), generate


@intrinsic
def _count_bits(_: Any, word: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@njit(cache=True, nogil=True)
def trailing_zeros(word: Any) -> Any:
    """Number of the lowest set bit of an integer, its width where none is set; one instruction."""
    return _trailing_zeros(word)  # type: ignore[call-arg] # the first argument is the compiler's


@njit(cache=True, nogil=True)
def count_bits(word: Any) -> Any:
    """How many bits of an integer are set; one instruction."""
    return _count_bits(word)  # type: ignore[call-arg] # the first argument is the compiler's


@njit(cache=True, nogil=True)
def clip(mask: int, room: int) -> int:
    """Of the pixels of a vector, those among the first `room`; none when there is no room."""
    return mask & ((1 << min(room, PIXELS)) - 1) if room > 0 else 0


@njit(cache=True, nogil=True)
def place(out: npt.NDArray[np.uint64], slot: np.uint64, mask: np.uint64, first: np.uint64, t: np.uint64) -> np.uint64:
    """Write one event for each set bit of `mask` from `slot` on, lowest bit first, and give the slot after the last.

    All are unsigned. `out` is flat, and an event takes two slots; `first` is the pixel of bit 0 as a whole word
    (x | y << 16 | p << 32). Four events are written whether there are so many or not: a processor guesses wrongly how often
    a loop over few bits turns.
    """
    end: np.uint64 = slot + (count_bits(mask) << _ONE)
    for _ in range(4):
        out[slot] = first + trailing_zeros(mask)
        out[slot + _ONE] = t
        mask &= mask - _ONE
        slot += _TWO
    while slot < end:
        out[slot] = first + trailing_zeros(mask)
        out[slot + _ONE] = t
        mask &= mask - _ONE
        slot += _TWO
    return end


@njit(cache=True, nogil=True)
def settle(pixel: int, mask: int, t: int, sensor_size: SensorSize, state: DecodeState) -> tuple[int, DecodeState]:
    """Which events of a word at the file's time `t` are to be written, at `last_us` of the state that this gives as well.

    `pixel` is that of bit 0 of `mask` as a whole word. Events outside the sensor are dropped and counted, times put in order.
    """
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    inside = clip(mask, sensor_size.width - (pixel & 0xFFFF)) if (pixel >> 16) & 0xFFFF < sensor_size.height else 0
    n_outside += count_bits(mask) - count_bits(inside)
    if inside:
        last, shift, verdict = order(t, last, shift, NO_RESET)
        n_jumps += verdict == FELL
        n_backward += count_bits(inside) * (verdict == HELD)
        n_impossible += count_bits(inside) * (verdict == IMPOSSIBLE)
        inside *= verdict != IMPOSSIBLE
    return inside, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


@njit(cache=True, nogil=True)
def place_trigger(out: npt.NDArray[np.int64], n: int, t: int, edge: tuple[int, int], state: DecodeState) -> int:
    """Write a trigger at the file's time `t` into slot `n` of `out`, int64 (n, 2), and give the slot after it.

    `edge` is the input and its new value. Triggers are not put in order among events, since the file tells their times
    exactly; but one that is a second or more behind comes from a clock that was set anew, and belongs to the moment.
    """
    delivered = t + state.shift_us
    out[n, 0] = delivered if delivered > state.last_us - DISORDER_US else state.last_us
    out[n, 1] = edge[0] | (edge[1] << 16)
    return n + 1


@njit(cache=True, nogil=True)
def place_aside(out: npt.NDArray[np.int64], n: int, number: int, what: int) -> int:
    """Write a word for the monitor where triggers go, slot `n` of `out`, int64 (n, 2), and give the slot after it."""
    out[n, 0] = number
    out[n, 1] = ASIDE | (what << 16)
    return n + 1


@njit(cache=True, nogil=True)
def lose_trigger(out: npt.NDArray[np.int64], n: int) -> int:
    """Count a trigger that came before the first word that tells time, in slot `n` of `out`, and give the slot after it."""
    return place_aside(out, n, 0, LOST_TRIGGER)


class WordDecoder:
    """Blocks of whole words to events; keeps what words leave for those that follow between blocks.

    `kernel` is the loop over words of `word_type`: (words, room for events, room for triggers, sensor size, cursor, state) to
    (Yield, cursor, state). `cursor`, what one word leaves for the next, can be kept, and given to `resume`, to go on behind
    the same word. `n_unplaced` events came before the first words that tell time and place.
    """

    word_bytes: ClassVar[int]
    block_bytes: ClassVar[int]
    # words that a count of the camera's monitor takes
    _n_monitor_parts: ClassVar[int] = 1

    def __init__(self, kernel: Callable[..., tuple[Yield, Any, DecodeState]], cursor: Any, word_type: str) -> None:
        self._kernel = kernel
        self._word_type = word_type
        self._triggers: list[Triggers] = []
        self._n_expected = 0
        self._monitor = Monitor(self._n_monitor_parts)
        self.cursor = cursor
        self.n_unplaced = 0

    def resume(self, cursor: tuple[int, ...]) -> None:
        """Go on behind the word that left this `cursor`."""
        self.cursor = type(self.cursor)(*cursor)

    def decode(self, block: npt.NDArray[np.uint8], sensor_size: SensorSize, state: DecodeState) -> tuple[Events, DecodeState]:
        """Events of a block of whole words, uint8 (word_bytes * n,), and the state after them."""
        words = self._view(block)
        pieces: list[Events] = []
        at = 0
        while at < words.size or not pieces:
            events, out = allocate(self._room(words.size - at))
            triggers = np.empty(_TRIGGER_ROOM, dtype=TRIGGER_DTYPE)
            rooms = out.reshape(-1), triggers.view(np.int64).reshape(-1, 2)
            done, self.cursor, state = self._kernel(words[at:], *rooms, sensor_size, self.cursor, state)
            at += done.n_words
            self.n_unplaced += done.n_unplaced
            pieces.append(events[: done.n_events])
            if done.n_triggers:
                self._sort(triggers[: done.n_triggers])
        n_events = sum(piece.size for piece in pieces)
        self._n_expected = n_events * 5 // 4 if n_events > words.size else 0
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces), state

    def take_triggers(self) -> Triggers:
        """The triggers met since the last call."""
        taken, self._triggers = self._triggers, []
        return np.concatenate(taken) if taken else empty_triggers()

    def describe(self) -> list[str]:
        """Sentences for people about what was dropped, here or in the camera; none when nothing was."""
        lost = [f"{self.n_unplaced} events before the first words that tell time and place dropped"] if self.n_unplaced else []
        return lost + self._monitor.describe()

    def _sort(self, triggers: Triggers) -> None:
        """Keep the triggers, and give the monitor the words among them that are its own."""
        is_aside = triggers["id"] < 0
        if is_aside.any():
            self._monitor.take(triggers[is_aside])
            triggers = triggers[~is_aside]
        self._triggers.append(triggers)

    def _room(self, n_words: int) -> int:
        """Events to make room for: one a word, or the whole multiple of it that a block like the last one needs.

        Rooms of ever new sizes do not fit where the last ones were, and the allocator hands memory back to the system and
        takes it again block by block: half of the time of reading EVT2.
        """
        return n_words * max(1, -(-self._n_expected // max(1, n_words))) + SLACK

    def _view(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The bytes as words."""
        return block.view(self._word_type)
