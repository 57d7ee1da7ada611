"""The 16-byte records of AEDAT 4 events, compiled: int64 time, int16 x, int16 y, bool ON and 3 bytes become events.

Knows no packets.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, LEAP_US, NO_RESET, DecodeState, move_to, order, signed

EVENT_BYTES = 16
# Events checked and converted in one go; one that needs care sends them all through the careful loop.
_CHUNK = 512
# The bits of x, y (16 each) and ON (8) in a record's second word, and those that they borrow from when they are too large.
_FIELDS = (1 << 40) - 1
_BORROWS = 1 << 16 | 1 << 32 | 1 << 40


@njit(cache=True, nogil=True)
def _convert(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, shift_us: int, last_us: int
) -> bool:
    """Write all records as events, and say whether that was right: all lie inside the sensor, and time never falls or leaps.

    Without a branch, so that the compiler works on many events at once; where it was wrong, the careful loop begins again.
    """
    if sensor_size.width == 0 or sensor_size.height == 0:
        return False
    # x, y and ON are subtracted from their largest values in one go; a field that was too large borrows from the next one
    largest = (sensor_size.width - 1) | (sensor_size.height - 1) << 16 | 1 << 32
    previous = last_us
    borrowed = steps = 0
    for i in range(records.size // 2):
        t = signed(records[2 * i]) + shift_us
        word = signed(records[2 * i + 1]) & _FIELDS
        borrowed |= largest ^ word ^ (largest - word)
        steps |= t - previous
        previous = t
        words[2 * i] = word
        words[2 * i + 1] = t
    return borrowed & _BORROWS == 0 and 0 <= steps < LEAP_US


@njit(cache=True, nogil=True)
def _decode_with_care(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Any records, one by one; gives how many were written to `words`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    width, height = sensor_size
    n = 0
    for i in range(records.size // 2):
        word = signed(records[2 * i + 1])
        x, y = word & 0xFFFF, (word >> 16) & 0xFFFF
        if x >= width or y >= height:
            n_outside += 1
            continue
        raw = signed(records[2 * i])
        t = raw + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(raw, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        on = 1 if word & 0xFF00000000 else 0
        words[2 * n] = x | (y << 16) | (on << 32)
        words[2 * n + 1] = t
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


@njit(cache=True, nogil=True)
def decode_records(
    records: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Records, uint64 (2 n,), to events in `words`, uint64 (2 n,) or more; gives how many there were."""
    n = 0
    for start in range(0, records.size, 2 * _CHUNK):
        chunk = records[start : start + 2 * _CHUNK]
        room = words[2 * n :]
        if _convert(chunk, room, sensor_size, state.shift_us, state.last_us):
            n += chunk.size // 2
            state = move_to(signed(words[2 * n - 1]), state)
        else:
            n_new, state = _decode_with_care(chunk, room, sensor_size, state)
            n += n_new
    return n, state
