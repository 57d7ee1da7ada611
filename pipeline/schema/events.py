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

# An edge on an input of the camera. id: which input. p: 1 = rising, 0 = falling. t: sensor time in microseconds.
TRIGGER_DTYPE = np.dtype([("t", np.int64), ("id", np.int16), ("p", np.uint8)], align=True)

# Structured array of TRIGGER_DTYPE, shape (n,).
Triggers = npt.NDArray[Any]


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


def empty_triggers(n: int = 0) -> Triggers:
    """Triggers, shape (n,), with all fields zero."""
    return np.zeros(n, dtype=TRIGGER_DTYPE)


def make_triggers(t: npt.ArrayLike, id: npt.ArrayLike, p: npt.ArrayLike) -> Triggers:  # noqa: A002 # the field's name
    """Triggers, shape (n,), from three columns of equal length: t in microseconds, id of the input, p 1 rising or 0 falling."""
    t_column = np.asarray(t, dtype=np.int64)
    triggers = empty_triggers(t_column.shape[0])
    triggers["t"] = t_column
    triggers["id"] = id
    triggers["p"] = p
    return triggers
