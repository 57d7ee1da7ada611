"""Writes Prophesee RAW in the encoding EVT2; the words are those of `pipeline.sources.evt2`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sinks.raw import PLACE_MASK, RawSink, next_step
from pipeline.sources.evt2 import LOW_BITS, TIME_HIGH, TIME_HIGH_MASK, TRIGGER, TURN_US


@njit(cache=True, nogil=True)
def _write(
    events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64], out: npt.NDArray[np.uint32], high: int
) -> tuple[int, int]:
    """Events and triggers, both int64 (n, 2), as words; gives how many, and the last TIME_HIGH counted through all turns."""
    n = at = i_trigger = 0
    while at < events.shape[0] or i_trigger < triggers.shape[0]:
        is_trigger = i_trigger < triggers.shape[0] and (at == events.shape[0] or triggers[i_trigger, 0] <= events[at, 1])
        t = triggers[i_trigger, 0] if is_trigger else events[at, 1]
        while high != t >> LOW_BITS:
            high = next_step(high, t >> LOW_BITS, TIME_HIGH_MASK + 1)
            out[n] = (TIME_HIGH << 28) | (high & TIME_HIGH_MASK)
            n += 1
        low = (t & ((1 << LOW_BITS) - 1)) << 22
        if is_trigger:
            what = triggers[i_trigger, 1]
            out[n] = (TRIGGER << 28) | low | ((what & 0x1F) << 8) | ((what >> 16) & 1)
            i_trigger += 1
        else:
            place = events[at, 0] & PLACE_MASK
            out[n] = ((place >> 32) << 28) | low | ((place & 0x7FF) << 11) | ((place >> 16) & 0x7FF)
            at += 1
        n += 1
    return n, high


class Evt2Sink(RawSink):
    """An EVT2 recording being written."""

    _name = "EVT2"
    _version = "2.0"
    _n_inputs = 32
    _max_pause_us = 1 << 52

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        super().__init__(path, sensor_size)
        self._high = -1

    def _to_words(self, events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        out = np.empty(self._n_words(events.shape[0] + triggers.shape[0], TURN_US), dtype="<u4")
        n, self._high = _write(events, triggers, out, self._high)
        return out[:n]
