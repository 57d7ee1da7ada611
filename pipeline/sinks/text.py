"""Writes text: a line `t,x,y,p` with the names, then one event a line, times in microseconds.

The size of the sensor has no place in it: whoever reads it takes the smallest that holds all events.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.file import FileSink
from pipeline.sources.ordering import signed

_NAMES = b"t,x,y,p\n"
_MAX_TIME_US = 1 << 60
# The longest line: a sign, 19 digits of time, 5 of x and of y, one of p, three commas and the end.
_MAX_LINE_BYTES = 35
_MAX_LINES = 1 << 16
_COMMA, _NEWLINE, _MINUS, _ZERO = 44, 10, 45, 48


class TextSink(FileSink):
    """A text recording being written; every packet is on its way to the disk when `write` returns."""

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        super().__init__(path, sensor_size)
        self._lines = np.empty(_MAX_LINES * _MAX_LINE_BYTES, dtype=np.uint8)
        self._put(_NAMES)

    def _check_times(self, events: Events) -> None:
        first, last = int(events["t"][0]), int(events["t"][-1])
        if first <= -_MAX_TIME_US or last >= _MAX_TIME_US:
            raise UsageError(f"times from {first} to {last} us cannot be written; no clock shows them")

    def _encode(self, events: Events) -> None:
        for start in range(0, events.size, _MAX_LINES):
            part = events[start : start + _MAX_LINES]
            n_bytes = _format(part["t"], part["x"], part["y"], part["p"], self._lines)
            self._put(self._lines[:n_bytes].tobytes())


@njit(cache=True, nogil=True)
def _digits(value: int, end: int, out: npt.NDArray[np.uint8], at: int) -> int:
    """Decimal digits of `value` >= 0 and the byte `end` into `out` from `at` on; gives where they end."""
    n, rest = 1, value
    while rest >= 10:
        rest //= 10
        n += 1
    for i in range(at + n - 1, at - 1, -1):
        out[i] = _ZERO + value % 10
        value //= 10
    out[at + n] = end
    return at + n + 1


@njit(cache=True, nogil=True)
def _format(
    t: npt.NDArray[np.int64],
    x: npt.NDArray[np.uint16],
    y: npt.NDArray[np.uint16],
    p: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint8],
) -> int:
    """Columns (n,) to lines of text in `out`, uint8; gives how many bytes they take."""
    at = 0
    for i in range(t.size):
        time = t[i]
        if time < 0:
            out[at] = _MINUS
            at += 1
            time = -time
        at = _digits(time, _COMMA, out, at)
        at = _digits(signed(x[i]), _COMMA, out, at)
        at = _digits(signed(y[i]), _COMMA, out, at)
        at = _digits(signed(p[i]), _NEWLINE, out, at)
    return at
