"""The loops of the filters, compiled. Each copies the events that pass into `kept` and gives how many they are.

`kept` is as long as `events`, so that every event can be written and only the ones that pass be counted. Whatever indexes a
memory is checked against its shape first: an event outside the sensor is dropped. Imported when the first event is filtered.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.filters.noise import LONG_AGO_US
from pipeline.schema.events import Events

PixelTimes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
# x, y of the corner, width and height.
Rectangle = tuple[int, int, int, int]


@njit(cache=True, nogil=True)
def _is_inside(x: int, y: int, rectangle: Rectangle) -> bool:
    left, top, width, height = rectangle
    return (x >= left) & (x < left + width) & (y >= top) & (y < top + height)


@njit(cache=True, nogil=True)
def orient(events: Events, kept: Events, turns: tuple[bool, bool, bool], last: tuple[int, int]) -> int:
    """All, with x and y exchanged, x mirrored, y mirrored, as `turns` says; `last` column and row are those after it."""
    is_transposed, is_flipped_x, is_flipped_y = turns
    for i in range(events.size):
        x, y = np.int64(events[i].x), np.int64(events[i].y)
        if is_transposed:
            x, y = y, x
        kept[i] = events[i]
        kept[i].x = last[0] - x if is_flipped_x else x
        kept[i].y = last[1] - y if is_flipped_y else y
    return events.size


@njit(cache=True, nogil=True)
def change_polarity(events: Events, kept: Events, is_merged: bool) -> int:
    """All, with ON and OFF exchanged, or with ON alone."""
    for i in range(events.size):
        kept[i] = events[i]
        kept[i].p = 1 if is_merged else events[i].p == 0
    return events.size


@njit(cache=True, nogil=True)
def keep_region(events: Events, kept: Events, rectangle: Rectangle, shift: tuple[int, int]) -> int:
    """Those inside the rectangle, moved by `shift` pixels towards the origin."""
    n = 0
    for i in range(events.size):
        kept[n] = events[i]
        kept[n].x -= shift[0]
        kept[n].y -= shift[1]
        n += _is_inside(events[i].x, events[i].y, rectangle)
    return n


@njit(cache=True, nogil=True)
def drop_region(events: Events, kept: Events, rectangle: Rectangle) -> int:
    """Those outside the rectangle."""
    n = 0
    for i in range(events.size):
        kept[n] = events[i]
        n += not _is_inside(events[i].x, events[i].y, rectangle)
    return n


@njit(cache=True, nogil=True)
def keep_polarity(events: Events, kept: Events, polarity: int) -> int:
    """Those of one polarity."""
    n = 0
    for i in range(events.size):
        kept[n] = events[i]
        n += events[i].p == polarity
    return n


@njit(cache=True, nogil=True)
def drop_pixels(events: Events, kept: Events, is_masked: Mask) -> int:
    """Those of pixels that are not masked, bool (H, W)."""
    height, width = is_masked.shape
    n = 0
    for i in range(events.size):
        x, y = np.uint64(events[i].x), np.uint64(events[i].y)
        if x >= width or y >= height:
            continue
        kept[n] = events[i]
        n += not is_masked[y, x]
    return n


@njit(cache=True, nogil=True)
def drop_background(events: Events, kept: Events, latest_us: PixelTimes, delta_t_us: int) -> int:
    """Those with a neighbour that fired less than `delta_t_us` before; `latest_us` is (H + 2, W + 2), with a border."""
    height, width = latest_us.shape[0] - 2, latest_us.shape[1] - 2
    n = 0
    for i in range(events.size):
        left, top, t = np.uint64(events[i].x), np.uint64(events[i].y), events[i].t
        if left >= width or top >= height:
            continue
        x, y = left + np.uint64(1), top + np.uint64(1)
        right, bottom = left + np.uint64(2), top + np.uint64(2)
        above = max(latest_us[top, left], latest_us[top, x], latest_us[top, right])
        beside = max(latest_us[y, left], latest_us[y, right])
        below = max(latest_us[bottom, left], latest_us[bottom, x], latest_us[bottom, right])
        latest_us[y, x] = t
        kept[n] = events[i]
        n += t - max(above, beside, below) < delta_t_us
    return n


@njit(cache=True, nogil=True)
def drop_refractory(events: Events, kept: Events, passed_us: PixelTimes, period_us: int) -> int:
    """Those that come `period_us` or later after the pixel's last one that passed; `passed_us` is (H, W)."""
    height, width = passed_us.shape
    n = 0
    for i in range(events.size):
        x, y, t = np.uint64(events[i].x), np.uint64(events[i].y), events[i].t
        if x >= width or y >= height:
            continue
        is_rested = t - passed_us[y, x] >= period_us
        passed_us[y, x] = t if is_rested else passed_us[y, x]
        kept[n] = events[i]
        n += is_rested
    return n


@njit(cache=True, nogil=True)
def count_and_drop(events: Events, kept: Events, counts: npt.NDArray[np.uint32], is_masked: Mask) -> int:
    """Those of pixels that are not masked; every event is counted in its pixel. Both memories are (H, W)."""
    height, width = counts.shape
    n = 0
    for i in range(events.size):
        x, y = np.uint64(events[i].x), np.uint64(events[i].y)
        if x >= width or y >= height:
            continue
        counts[y, x] += 1
        kept[n] = events[i]
        n += not is_masked[y, x]
    return n


@njit(cache=True, nogil=True)
def downsample(
    events: Events,
    kept: Events,
    axes: tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]],
    counts: npt.NDArray[np.uint16],
    n_for_one: int,
) -> int:
    """Every `n_for_one`-th of each polarity and cell; `axes` are the cells of columns and rows, `counts` (2, H, W) of cells."""
    columns, rows = axes
    n = 0
    for i in range(events.size):
        x, y, p = np.uint64(events[i].x), np.uint64(events[i].y), np.uint64(events[i].p != 0)
        if x >= columns.size or y >= rows.size:
            continue
        column, row = np.uint64(columns[x]), np.uint64(rows[y])
        count = counts[p, row, column] + 1
        is_full = count >= n_for_one
        counts[p, row, column] = 0 if is_full else count
        kept[n] = events[i]
        kept[n].x = column
        kept[n].y = row
        n += is_full
    return n


@njit(cache=True, nogil=True)
def limit_rate(events: Events, kept: Events, memory: npt.NDArray[np.int64], slice_us: int, share: int) -> int:
    """At most `share` events of each slice; `memory` as in `RateLimit`."""
    begin_us, n_slice, n_passed, n_before, rest = memory
    n = 0
    for i in range(events.size):
        t = events[i].t
        if begin_us == LONG_AGO_US:
            begin_us = t
        if t - begin_us >= slice_us:
            n_slices = (t - begin_us) // slice_us
            n_before = n_slice if n_slices == 1 else 0
            begin_us += n_slices * slice_us
            n_slice = n_passed = rest = 0
        n_slice += 1
        rest += share
        is_passing = rest >= n_before and n_passed < share
        rest -= n_before if rest >= n_before else 0
        n_passed += is_passing
        kept[n] = events[i]
        n += is_passing
    memory[0], memory[1], memory[2], memory[3], memory[4] = begin_us, n_slice, n_passed, n_before, rest
    return n
