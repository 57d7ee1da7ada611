"""Writes Prophesee RAW in the encoding EVT3; the words are those of `pipeline.sources.evt3`.

Vectors are always whole groups of 12, 12 and 8 pixels within the sensor, which is the one form that all readers understand.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sinks.raw import PLACE_MASK, RawSink, next_step
from pipeline.sources.evt3 import ADDR_X, ADDR_Y, LOW_BITS, TIME_HIGH, TIME_LOW, TRIGGER, TURN_US, VECT_8, VECT_12, VECT_BASE_X
from pipeline.sources.words import PIXELS

_LAST_STEP = (1 << 12) - 1
_ROW_MASK = 0xFFFF0000
# A group takes four words, a single event one.
_MIN_GROUP = 5


class _Pen(NamedTuple):
    """What the words before have told: row (y << 16), TIME_HIGH counted through all turns, low time; -1 where nothing yet."""

    row: int = -1
    high: int = -1
    low: int = -1


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
def _write(
    events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64], out: npt.NDArray[np.uint16], width: int, pen: _Pen
) -> tuple[int, _Pen]:
    """Events and triggers, both int64 (n, 2), as words; gives how many."""
    row, high, low = pen
    n = at = i_trigger = 0
    while at < events.shape[0] or i_trigger < triggers.shape[0]:
        is_trigger = i_trigger < triggers.shape[0] and (at == events.shape[0] or triggers[i_trigger, 0] <= events[at, 1])
        t = triggers[i_trigger, 0] if is_trigger else events[at, 1]
        what = triggers[i_trigger, 1] if is_trigger else events[at, 0] & PLACE_MASK
        while high != t >> LOW_BITS:
            high, low = next_step(high, t >> LOW_BITS, _LAST_STEP + 1), -1
            out[n] = (TIME_HIGH << 12) | (high & _LAST_STEP)
            n += 1
        if low != t & _LAST_STEP:
            low = t & _LAST_STEP
            out[n] = (TIME_LOW << 12) | low
            n += 1
        if is_trigger:
            out[n] = (TRIGGER << 12) | ((what & 0xF) << 8) | ((what >> 16) & 1)
            n += 1
            i_trigger += 1
            continue
        if what & _ROW_MASK != row:
            row = what & _ROW_MASK
            out[n] = (ADDR_Y << 12) | (row >> 16)
            n += 1
        x, p = what & 0x7FF, what >> 32
        far = at + _MIN_GROUP - 1
        is_dense = far < events.shape[0] and events[far, 1] == t and 0 < (events[far, 0] & PLACE_MASK) - what < PIXELS
        end, mask = _gather(events, at, min(x, width - PIXELS)) if is_dense and width >= PIXELS else (at, 0)
        if end - at >= _MIN_GROUP:
            out[n] = (VECT_BASE_X << 12) | (p << 11) | min(x, width - PIXELS)
            out[n + 1] = (VECT_12 << 12) | (mask & 0xFFF)
            out[n + 2] = (VECT_12 << 12) | ((mask >> 12) & 0xFFF)
            out[n + 3] = (VECT_8 << 12) | (mask >> 24)
            n, at = n + 4, end
        else:
            out[n] = (ADDR_X << 12) | (p << 11) | x
            n, at = n + 1, at + 1
    return n, _Pen(row, high, low)


class Evt3Sink(RawSink):
    """An EVT3 recording being written."""

    _name = "EVT3"
    _version = "3.0"
    _n_inputs = 16
    _max_pause_us = 1 << 40

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        super().__init__(path, sensor_size)
        self._pen = _Pen()

    def _to_words(self, events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
        out = np.empty(self._n_words(events.shape[0] + triggers.shape[0], TURN_US), dtype="<u2")
        n, self._pen = _write(events, triggers, out, self._sensor_size.width, self._pen)
        return out[:n]
