"""Writes Prophesee RAW in the encoding EVT3; the words are those of `pipeline.sources.evt3`.

Vectors are always whole groups of 12, 12 and 8 pixels within the sensor, which is the one form that all readers understand.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sinks.raw import PLACE_MASK, RawSink, as_records, next_step
from pipeline.sources.evt3 import ADDR_X, ADDR_Y, LOW_BITS, TIME_HIGH, TIME_LOW, TRIGGER, TURN_US, VECT_8, VECT_12, VECT_BASE_X
from pipeline.sources.words import PIXELS

_LAST_STEP = (1 << 12) - 1
# A group takes four words, a single event one.
_MIN_GROUP = 5


class _Pen(NamedTuple):
    """What the words before have told: row, TIME_HIGH counted through all turns, low time; -1 where nothing yet."""

    y: int = -1
    high: int = -1
    low: int = -1


@njit(cache=True, nogil=True)
def _tell_time(out: npt.NDArray[np.uint16], n: int, t: int, pen: _Pen) -> tuple[int, _Pen]:
    """Write the words that bring the clock to `t` (us); gives how many words there are then."""
    y, high, low = pen
    target = t >> LOW_BITS
    while high != target:
        high = next_step(high, target, _LAST_STEP + 1)
        out[n] = (TIME_HIGH << 12) | (high & _LAST_STEP)
        n += 1
        low = -1
    if low != t & _LAST_STEP:
        low = t & _LAST_STEP
        out[n] = (TIME_LOW << 12) | low
        n += 1
    return n, _Pen(y, high, low)


@njit(cache=True, nogil=True)
def _gather(records: npt.NDArray[np.int64], at: int, base: int) -> tuple[int, int]:
    """The events from `at` on that one group of vectors from pixel `base` on can hold, as (where they end, mask)."""
    place, t = records[at, 0] & PLACE_MASK, records[at, 1]
    mask, previous, end = 0, -1, at
    while end < records.shape[0] and records[end, 1] == t and (records[end, 0] & PLACE_MASK) >> 16 == place >> 16:
        x = (records[end, 0] & 0xFFFF) - base
        if x <= previous or x >= PIXELS:
            break
        mask |= 1 << x
        previous = x
        end += 1
    return end, mask


@njit(cache=True, nogil=True)
def _begins_group(records: npt.NDArray[np.int64], at: int) -> bool:
    """Whether there may be enough events for a group from `at` on: the last of so many would lie in the same row and moment."""
    far = at + _MIN_GROUP - 1
    if far >= records.shape[0] or records[far, 1] != records[at, 1]:
        return False
    step = (records[far, 0] & PLACE_MASK) - (records[at, 0] & PLACE_MASK)
    return bool(_MIN_GROUP - 1 <= step < PIXELS)


@njit(cache=True, nogil=True)
def _write(
    events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64], out: npt.NDArray[np.uint16], width: int, pen: _Pen
) -> tuple[int, _Pen]:
    """Events and triggers, both int64 (n, 2), as words; gives how many."""
    n = at = i_trigger = 0
    while at < events.shape[0] or i_trigger < triggers.shape[0]:
        if i_trigger < triggers.shape[0] and (at == events.shape[0] or triggers[i_trigger, 0] <= events[at, 1]):
            n, pen = _tell_time(out, n, triggers[i_trigger, 0], pen)
            what = triggers[i_trigger, 1]
            out[n] = (TRIGGER << 12) | ((what & 0xF) << 8) | ((what >> 16) & 1)
            n += 1
            i_trigger += 1
            continue
        place, t = events[at, 0] & PLACE_MASK, events[at, 1]
        x, y, p = place & 0x7FF, (place >> 16) & 0x7FF, place >> 32
        if (pen.high << LOW_BITS) + pen.low != t or pen.low < 0:
            n, pen = _tell_time(out, n, t, pen)
        if pen.y != y:
            out[n] = (ADDR_Y << 12) | y
            n += 1
            pen = _Pen(y, pen.high, pen.low)
        if width >= PIXELS and _begins_group(events, at):
            base = min(x, width - PIXELS)
            end, mask = _gather(events, at, base)
            if end - at >= _MIN_GROUP:
                out[n] = (VECT_BASE_X << 12) | (p << 11) | base
                out[n + 1] = (VECT_12 << 12) | (mask & 0xFFF)
                out[n + 2] = (VECT_12 << 12) | ((mask >> 12) & 0xFFF)
                out[n + 3] = (VECT_8 << 12) | (mask >> 24)
                n += 4
                at = end
                continue
        out[n] = (ADDR_X << 12) | (p << 11) | x
        n += 1
        at += 1
    return n, pen


class Evt3Sink(RawSink):
    """An EVT3 recording being written."""

    _name = "EVT3"
    _version = "3.0"
    _n_inputs = 16
    _max_pause_us = 1 << 40

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        super().__init__(path, sensor_size)
        self._pen = _Pen()

    def _to_words(self, events: Events, triggers: Triggers) -> npt.NDArray[np.uint16]:
        out = np.empty(self._n_words(events, triggers, TURN_US), dtype="<u2")
        n, self._pen = _write(as_records(events), as_records(triggers), out, self._sensor_size.width, self._pen)
        return out[:n]
