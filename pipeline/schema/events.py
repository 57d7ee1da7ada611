"""The one record for events in the whole program.

Coordinates have their origin in the top-left corner; arrays made from them are indexed [y, x].
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# x, y: pixels from the top-left corner. p: 1 = ON (brighter), 0 = OFF. t: sensor time in microseconds.
# Aligned to 16 bytes, so that one record is one cache-friendly load and matches OpenEB's EventCD offsets.
EVENT_DTYPE = np.dtype([("x", np.uint16), ("y", np.uint16), ("p", np.uint8), ("t", np.int64)], align=True)

# Structured array of EVENT_DTYPE, shape (n,), non-decreasing in t.
Events = npt.NDArray[Any]


class SensorSize(NamedTuple):
    """Width and height of a pixel array, in pixels."""

    width: int
    height: int


def empty_events(n: int = 0) -> Events:
    """Events, shape (n,), with all fields zero."""
    return np.zeros(n, dtype=EVENT_DTYPE)


def make_events(t: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike, p: npt.ArrayLike) -> Events:
    """Events, shape (n,), from four columns of equal length: t in microseconds, x and y in pixels, p 0 or 1."""
    t_column = np.asarray(t, dtype=np.int64)
    events = np.empty(t_column.shape[0], dtype=EVENT_DTYPE)
    events["t"] = t_column
    events["x"] = x
    events["y"] = y
    events["p"] = p
    return events
