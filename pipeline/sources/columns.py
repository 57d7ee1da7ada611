"""Columns t, x, y, p as files keep them, in whatever numbers, to events. Knows no file format."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, MAX_FILE_TIME_US, NO_RESET, DecodeState, order

# int64 (4, n): t in us, x, y, p
Columns = npt.NDArray[np.int64]

# No sensor is wider.
_WIDEST = 1 << 16
_US_PER_S = 1e6
# Numbers of so many bytes may be too large; others may not.
_LONGEST_BYTES = 8


class Room:
    """Memory for blocks of columns, used again for each of them: what `fill` gives is good until it is called again."""

    def __init__(self, n: int) -> None:
        self._columns: Columns = np.empty((4, n), dtype=np.int64)

    def fill(
        self,
        t: npt.NDArray[Any],
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        p: npt.NDArray[Any],
        *,
        is_seconds: bool = False,
        offset_us: int = 0,
    ) -> Columns:
        """Columns of a file, (n,) each, as whole numbers; times in us, which are seconds in the file or are to be shifted."""
        columns = self._columns[:, : t.size]
        columns[0] = _microseconds(t, is_seconds, offset_us)
        for row, values in ((1, x), (2, y), (3, p)):
            columns[row] = _whole(values)
        return columns


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Coordinates or polarities, (n,), that int64 holds; polarities may be floating, and huge values stay outside."""
    if values.dtype.kind == "f":
        return values > 0
    # unsigned 64-bit numbers would turn negative
    is_long = values.dtype.kind == "u" and values.dtype.itemsize == _LONGEST_BYTES
    return np.minimum(values, np.uint64(_WIDEST)) if is_long else values


def _microseconds(times: npt.NDArray[Any], is_seconds: bool, offset_us: int) -> npt.NDArray[Any]:
    """Times of the file, (n,), in us; those that no clock shows lie far outside, and are dropped when they are placed."""
    if times.dtype.kind == "f":
        with np.errstate(all="ignore"):  # what is too large or no number is found in the next line
            rounded = np.rint(times.astype(np.float64) * (_US_PER_S if is_seconds else 1.0))
        is_possible = np.abs(rounded) < MAX_FILE_TIME_US
        times = np.where(is_possible, rounded, MAX_FILE_TIME_US).astype(np.int64)
    elif times.dtype.itemsize == _LONGEST_BYTES and (offset_us or times.dtype.kind == "u"):
        is_possible = times < MAX_FILE_TIME_US
        if times.dtype.kind == "i":
            is_possible &= times > -MAX_FILE_TIME_US
        times = np.where(is_possible, times, MAX_FILE_TIME_US).astype(np.int64)
    else:
        return times.astype(np.int64) + offset_us if offset_us else times
    return np.where(is_possible, times + offset_us, MAX_FILE_TIME_US)


@njit(cache=True, nogil=True)
def place(
    columns: Columns, out: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Columns t, x, y, p, int64 (4, n), to events; gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    n = 0
    for i in range(columns.shape[1]):
        x, y = columns[1, i], columns[2, i]
        if not (0 <= x < sensor_size.width and 0 <= y < sensor_size.height):
            n_outside += 1
            continue
        t = columns[0, i] + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(columns[0, i], last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        out[n, 0] = x | (y << 16) | (np.int64(columns[3, i] > 0) << 32)
        out[n, 1] = last
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
