"""Address words of the jAER chips: where a word keeps x, y and polarity, whose reading of them holds, and their decoding.

AEDAT 1 and 2 store an event as such a word and a 32-bit time in microseconds. Four programs read the same words in four ways,
and a file does not tell whose way was meant: the presets of `ORIENTATIONS`. Knows no file.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    NO_RESET,
    DecodeState,
    Turns,
    move_to,
    order,
    signed,
    unwrap,
)

# Events checked and converted in one go; short, for one word that is no event sends them all through the careful loop.
_CHUNK = 512
FORWARD, MIRRORED = 0, -1


class AddressLayout(NamedTuple):
    """Where an address word keeps its fields; words with a bit of `skip_mask` set are no pixel events.

    `x_flip` and `y_flip` are `MIRRORED` where the raw number counts from the right edge or the bottom, `p_flip` is 1 where a
    raw 0 means ON. A word whose bits of `skip_mask` are `trigger_mark` is an external input, told apart by `trigger_codes`.
    """

    x_shift: int
    x_mask: int
    x_flip: int
    y_shift: int
    y_mask: int
    y_flip: int
    p_shift: int
    p_flip: int
    skip_mask: int
    trigger_mark: int
    trigger_codes: int


# Bit 15 marks synchronisation events; nothing is known of words with a bit above it.
DVS128 = AddressLayout(
    x_shift=1, x_mask=0x7F, x_flip=MIRRORED, y_shift=8, y_mask=0x7F, y_flip=MIRRORED, p_shift=0, p_flip=1,
    skip_mask=0xFFFF8000, trigger_mark=0x8000, trigger_codes=0,
)  # fmt: skip
# Bit 31 marks APS samples and IMU words, bit 10 external inputs.
DAVIS = AddressLayout(
    x_shift=12, x_mask=0x3FF, x_flip=MIRRORED, y_shift=22, y_mask=0x1FF, y_flip=MIRRORED, p_shift=11, p_flip=0,
    skip_mask=0x80000400, trigger_mark=0x400, trigger_codes=0x3FF,
)  # fmt: skip
# What the lowest bits of a DAVIS external input say.
_FALLING, _RISING, _PULSE = 2, 3, 4
# `id` of triggers in all AEDAT formats: edges of the external input, and pulses of it.
EDGE_ID, PULSE_ID = 0, 1
_NO_TRIGGER = -1

ORIENTATIONS: dict[str, dict[str, AddressLayout]] = {
    "dvs128": {
        "jaer": DVS128,
        "inivation": DVS128._replace(x_flip=FORWARD, p_flip=0),
        "tonic": DVS128._replace(x_shift=8, x_flip=FORWARD, y_shift=1, y_flip=FORWARD, p_flip=0),
        "spikingjelly": DVS128._replace(x_shift=8, y_shift=1),
    },
    "davis": {
        "jaer": DAVIS,
        "inivation": DAVIS._replace(x_flip=FORWARD),
        "tonic": DAVIS,
    },
}


def layout_of(chip: str, orientation: str | None = None) -> AddressLayout:
    """Address layout of a chip of `CHIPS` as a program reads it (jAER otherwise); UsageError if that one does not."""
    known = ORIENTATIONS["dvs128" if chip in ("dvs128", "tmpdiff128") else "davis"]
    layout = known.get((orientation or "jaer").lower())
    if layout is None:
        raise UsageError(f"no orientation {orientation!r} of the chip {chip}; --orientation takes {', '.join(known)}")
    return layout


class Clock(NamedTuple):
    """What carries over between blocks besides `DecodeState`: the unwrapping of the clock, and the last trigger's time (us)."""

    turns: Turns = Turns()
    last_trigger_us: int = DecodeState().last_us


@njit(cache=True, nogil=True)
def _reverse(v: np.uint64) -> np.uint64:
    """A 64-bit word with its bytes reversed; written so that the compiler finds its one instruction for it."""
    low = (v << np.uint64(56)) | (v & np.uint64(0xFF00)) << np.uint64(40)
    low |= (v & np.uint64(0xFF0000)) << np.uint64(24) | (v & np.uint64(0xFF000000)) << np.uint64(8)
    high = (v >> np.uint64(8)) & np.uint64(0xFF000000) | (v >> np.uint64(24)) & np.uint64(0xFF0000)
    return low | high | (v >> np.uint64(40)) & np.uint64(0xFF00) | (v >> np.uint64(56))


@njit(cache=True, nogil=True)
def _place(address: int, layout: AddressLayout, sensor_size: SensorSize) -> tuple[int, int, int]:
    """House coordinates of an address, and a number that is negative when they lie outside the sensor."""
    width, height = sensor_size.width, sensor_size.height
    # flipping all bits and adding the width is width - 1 - x
    x = (((address >> layout.x_shift) & layout.x_mask) ^ layout.x_flip) + (width & layout.x_flip)
    y = (((address >> layout.y_shift) & layout.y_mask) ^ layout.y_flip) + (height & layout.y_flip)
    return x, y, x | y | (width - 1 - x) | (height - 1 - y)


@njit(cache=True, nogil=True)
def _convert(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    view: tuple[AddressLayout, SensorSize],
    offset_us: int,
    last_us: int,
) -> bool:
    """Write all records as events, and say whether that was right: all are events inside the sensor, and time never falls.

    Without a branch, so that the compiler works on many events at once; where it was wrong, the careful loop begins again.
    """
    layout, sensor_size = view
    previous = last_us
    wrong = steps = 0
    for i in range(records.size):
        word = _reverse(records[i])
        address = signed(word >> np.uint64(32))
        x, y, outside = _place(address, layout, sensor_size)
        t = signed(word & np.uint64(0xFFFFFFFF)) + offset_us
        steps |= t - previous
        wrong |= outside | -(address & layout.skip_mask)
        previous = t
        words[2 * i] = x | (y << 16) | ((((address >> layout.p_shift) & 1) ^ layout.p_flip) << 32)
        words[2 * i + 1] = t
    return wrong >= 0 and 0 <= steps < LEAP_US


@njit(cache=True, nogil=True)
def _trigger_word(address: int, layout: AddressLayout) -> int:
    """Id of an external input in the low 16 bits and its polarity above, or `_NO_TRIGGER`."""
    if address & layout.skip_mask != layout.trigger_mark:
        return _NO_TRIGGER
    code = address & layout.trigger_codes
    if layout.trigger_codes == 0 or code == _RISING:
        return EDGE_ID | 1 << 16
    if code == _FALLING:
        return EDGE_ID
    return PULSE_ID | 1 << 16 if code == _PULSE else _NO_TRIGGER


@njit(cache=True, nogil=True)
def _decode_with_care(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.uint64],
    view: tuple[AddressLayout, SensorSize],
    clock: Clock,
    state: DecodeState,
) -> tuple[int, int, Clock, DecodeState]:
    """Any records, one by one; gives how many events and triggers there were."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    (turned, previous), last_trigger = clock
    layout, sensor_size = view
    n = n_triggers = 0
    for record in records:
        word = _reverse(record)
        address, raw = signed(word >> np.uint64(32)), signed(word & np.uint64(0xFFFFFFFF))
        if address & layout.skip_mask:
            trigger = _trigger_word(address, layout)
            if trigger != _NO_TRIGGER:
                # the clock is the events' alone; a trigger is never before what was met before it
                last_trigger = max(last_trigger, last, unwrap(raw, Turns(turned, previous))[0] + shift)
                triggers[n_triggers, 0], triggers[n_triggers, 1] = trigger, last_trigger
                n_triggers += 1
            continue
        x, y, outside = _place(address, layout, sensor_size)
        if outside < 0:
            n_outside += 1
            continue
        t = raw + turned + shift
        if last <= t <= last + LEAP_US:
            previous = raw + turned
        else:
            previous, turned = unwrap(raw, Turns(turned, previous))
            t, shift, verdict = order(previous, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        words[2 * n] = x | (y << 16) | ((((address >> layout.p_shift) & 1) ^ layout.p_flip) << 32)
        words[2 * n + 1] = t
        n += 1
    state = DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
    return n, n_triggers, Clock(Turns(turned, previous), last_trigger), state


@njit(cache=True, nogil=True)
def decode(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.uint64],
    view: tuple[AddressLayout, SensorSize],
    clock: Clock,
    state: DecodeState,
) -> tuple[int, int, Clock, DecodeState]:
    """Records {uint32 address, uint32 time}, big-endian, uint64 (n,) as a little-endian machine reads them, to events.

    `words`, uint64 (2 n,), takes two for an event; `triggers`, uint64 (n, 2), takes id | p << 16 and time. Gives the numbers of
    both.
    """
    n = n_triggers = 0
    for start in range(0, records.size, _CHUNK):
        chunk = records[start : start + _CHUNK]
        (turned, _), last_trigger = clock
        if _convert(chunk, words[2 * n :], view, turned + state.shift_us, state.last_us):
            n += chunk.size
            last = signed(words[2 * n - 1])
            clock = Clock(Turns(turned, last - state.shift_us), last_trigger)
            state = move_to(last, state)
        else:
            n_new, n_met, clock, state = _decode_with_care(chunk, words[2 * n :], triggers[n_triggers:], view, clock, state)
            n, n_triggers = n + n_new, n_triggers + n_met
    return n, n_triggers, clock, state
