"""The window's short memory: decaying picture, rings of numbers, spike raster, timeline of labels, rates.

Values go in with their own time and come out as arrays; no clock is read here. Knows nothing of messages, sockets or Qt.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.schema.clock import NS_PER_S

# After this much sensor time half of a pixel's glow is left: long enough to see a moving edge, short enough not to smear it.
HALF_LIFE_US = 20_000
# A picture index holds one 4-bit level per polarity: ON in the high nibble, OFF in the low one.
N_LEVELS = 16
# Glow is looked up in steps of 1/16 event up to 8 events; beyond that a pixel is as bright as it gets.
_STEPS_PER_EVENT = 16
_N_STEPS = 128
# The share of full brightness that the first event lights; the rest saturates exponentially.
_GLOW_PER_EVENT = 0.7

# Raster codes: bit 0 is the spike, bit 1 the parity of the layer (for a quiet change of background).
# 4 marks bins that were never received.
RASTER_SPIKE = 1
RASTER_ODD_LAYER = 2
RASTER_GAP = 4

_Scalar = TypeVar("_Scalar", bound=np.generic)


def frozen(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """Mark an array of ours as read-only and give it back."""
    array.setflags(write=False)
    return array


def _level_table() -> npt.NDArray[np.uint8]:
    glow = np.arange(_N_STEPS) / _STEPS_PER_EVENT
    level = (N_LEVELS - 1) * (1.0 - np.exp(-_GLOW_PER_EVENT * glow))
    return np.round(level).astype(np.uint8)


_LEVELS = _level_table()


class EventPicture:
    """Glow of every pixel: event counts that fade with sensor time.

    `add` takes uint8 (2, H, W) counts, OFF first, of a bin ending at `end_us`. A picture of another shape, or one from before
    the last, starts afresh. `indices` gives uint8 (H, W), see `N_LEVELS`.
    """

    def __init__(self, half_life_us: int = HALF_LIFE_US) -> None:
        self._half_life_us = half_life_us
        self._glow = np.zeros((2, 0, 0), dtype=np.float32)
        self._end_us = 0

    def add(self, counts: npt.NDArray[np.uint8], end_us: int) -> None:
        """Fade what is there by the sensor time that passed, then add the new counts."""
        if counts.shape != self._glow.shape or end_us < self._end_us:
            self._glow = counts.astype(np.float32)
        else:
            self._glow *= np.float32(0.5 ** ((end_us - self._end_us) / self._half_life_us))
            self._glow += counts
        self._end_us = end_us

    def indices(self) -> npt.NDArray[np.uint8]:
        """Colour index of every pixel, uint8 (H, W): ON level times 16 plus OFF level, each 0 to 15."""
        steps = np.minimum(self._glow * _STEPS_PER_EVENT, _N_STEPS - 1).astype(np.uint8)
        levels = _LEVELS[steps]
        indices: npt.NDArray[np.uint8] = (levels[1] << 4) | levels[0]
        return indices


class NumberRing:
    """The last `n` numbers, oldest first; a missing one is NaN."""

    def __init__(self, n: int) -> None:
        self._values = np.full(n, np.nan)

    def append(self, value: float) -> None:
        """Push one number in at the end."""
        self._values[:-1] = self._values[1:]
        self._values[-1] = value

    def append_missing(self, n: int) -> None:
        """Push `n` missing numbers in at the end."""
        for _ in range(min(n, len(self._values))):
            self.append(np.nan)

    def values(self) -> npt.NDArray[np.float64]:
        """Copy, float64 (n,)."""
        return self._values.copy()


class RasterRing:
    """The last `n_bins` columns of a spike raster.

    `append` takes uint8 (R,) of 0 and 1 and the rows of each layer; another division into layers starts afresh.
    `image` gives uint8 (R, n_bins) of raster codes, newest bin at the right; (0, n_bins) before the first.
    """

    def __init__(self, n_bins: int) -> None:
        self._n_bins = n_bins
        self._rows_of_layers: tuple[int, ...] = ()
        self._background = np.zeros(0, dtype=np.uint8)
        self._columns = np.zeros((n_bins, 0), dtype=np.uint8)
        self._head = 0

    def append(self, spikes: npt.NDArray[np.uint8], rows_of_layers: tuple[int, ...]) -> None:
        """Push one bin in at the right."""
        if rows_of_layers != self._rows_of_layers:
            self._start(rows_of_layers)
        self._push(self._background | (spikes != 0))

    def append_gap(self, n_lost: int) -> None:
        """Push `n_lost` bins that never arrived, at most a whole image of them."""
        gap = np.full(len(self._background), RASTER_GAP, dtype=np.uint8)
        for _ in range(min(n_lost, self._n_bins)):
            self._push(gap)

    def image(self) -> npt.NDArray[np.uint8]:
        """Copy of the raster, neurons down, bins across."""
        return np.ascontiguousarray(np.concatenate((self._columns[self._head :], self._columns[: self._head])).T)

    def _start(self, rows_of_layers: tuple[int, ...]) -> None:
        parity = [RASTER_ODD_LAYER * (i % 2) for i in range(len(rows_of_layers))]
        self._rows_of_layers = rows_of_layers
        self._background = np.repeat(np.array(parity, dtype=np.uint8), rows_of_layers)
        self._columns = np.tile(self._background, (self._n_bins, 1))
        self._head = 0

    def _push(self, column: npt.NDArray[np.uint8]) -> None:
        self._columns[self._head] = column
        self._head = (self._head + 1) % self._n_bins


@dataclass(frozen=True, slots=True)
class LabelRun:
    """Consecutive time bins `[start_us, end_us)` with one answer; `index` is -1 for "nothing".

    In a timeline times count from its first bin, and run on where sensor time jumps.
    """

    start_us: int
    end_us: int
    index: int
    name: str


class LabelTimeline:
    """Answers of the last `span_us` of played time, as runs, oldest first.

    Bins that are missing leave a hole; a jump back (a loop, a seek) or far ahead joins the ends instead.
    """

    def __init__(self, span_us: int) -> None:
        self._span_us = span_us
        self._runs: deque[LabelRun] = deque()
        # what to add to sensor time for played time
        self._shift_us = 0

    @property
    def end_us(self) -> int:
        """Played time reached; 0 before the first bin."""
        return self._runs[-1].end_us if self._runs else 0

    def append(self, run: LabelRun) -> None:
        """Add one bin (sensor time); it prolongs the last run when it touches it and says the same."""
        hole_us = run.start_us + self._shift_us - self.end_us
        if not (self._runs and 0 <= hole_us < self._span_us):
            self._shift_us = self.end_us - run.start_us
        run = replace(run, start_us=run.start_us + self._shift_us, end_us=run.end_us + self._shift_us)
        last = self._runs[-1] if self._runs else None
        if last is not None and (last.index, last.name, last.end_us) == (run.index, run.name, run.start_us):
            self._runs[-1] = replace(last, end_us=run.end_us)
        else:
            self._runs.append(run)
        while self._runs[0].end_us <= run.end_us - self._span_us:
            self._runs.popleft()

    def runs(self) -> tuple[LabelRun, ...]:
        """All runs that reach into the span."""
        return tuple(self._runs)


class RecentValues:
    """Numbers with their times, for a rate and for percentiles over a recent stretch. Bounded: the oldest leave first."""

    def __init__(self, span: int, bound: int = 8192) -> None:
        self._span = span
        self._times: deque[int] = deque(maxlen=bound)
        self._values: deque[float] = deque(maxlen=bound)

    def append(self, time: int, value: float) -> None:
        """Add one value; a time before the last one forgets the others."""
        if self._times and time < self._times[-1]:
            self._times.clear()
            self._values.clear()
        self._times.append(time)
        self._values.append(value)

    def within(self, now: int) -> npt.NDArray[np.float64]:
        """Values with time in `(now - span, now]`, float64 (k,), forgetting older ones."""
        while self._times and self._times[0] <= now - self._span:
            self._times.popleft()
            self._values.popleft()
        return np.array(self._values, dtype=np.float64)

    def rate_hz(self, now_ns: int) -> float:
        """Values per second, for times in host nanoseconds, from the oldest in the span until now; 0 for fewer than two."""
        n_values = len(self.within(now_ns))
        if n_values < 2 or now_ns <= self._times[0]:
            return 0.0
        return (n_values - 1) * NS_PER_S / (now_ns - self._times[0])
