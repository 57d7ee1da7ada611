"""The three clocks of Saccade, kept apart by name.

Sensor time is `t_us` and comes from the camera or the recording; it never passes through this file.
Host time is monotonic nanoseconds and serves latency. Wall-clock time serves logs and file headers only.
"""

import time
from datetime import UTC, datetime

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
US_PER_S = 1_000_000


def host_ns() -> int:
    """Host monotonic time in nanoseconds; comparable between processes of one machine only."""
    return time.monotonic_ns()


def wall_clock() -> datetime:
    """Wall-clock time with time zone, for logs and file headers."""
    return datetime.now(tz=UTC).astimezone()
