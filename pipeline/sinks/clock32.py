"""Which times a 32-bit clock of microseconds can tell; for formats that store no more and leave its turns to the reader."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import UsageError

TURN_US = 1 << 32
_HALF_TURN_US = 1 << 31


def check_times(t: npt.NDArray[Any], last_us: int | None, format_name: str, instead: str) -> None:
    """Raise UsageError where times, int64 (n,) in us after `last_us`, are more than such a clock can tell; say what to do.

    A reader takes a fall by more than half a turn for a turn, so that a longer pause across one is lost.
    """
    if last_us is None and not 0 <= int(t[0]) < TURN_US:
        raise UsageError(
            f"{format_name} has 32 bits for microseconds and cannot begin at {int(t[0])} us; shift the times with --from-zero, "
            f"or write {instead}"
        )
    steps = np.diff(t, prepend=t[0] if last_us is None else last_us)
    lost = np.flatnonzero((steps >= _HALF_TURN_US) & (t >= TURN_US))
    if lost.size:
        gap_s = int(steps[lost[0]]) // 1_000_000
        raise UsageError(f"{format_name} cannot tell a pause of {gap_s} s once its 32-bit clock has turned; write {instead}")
