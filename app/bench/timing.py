"""Times of repeated runs on one core, and the limits of this machine that they are held against."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.schema.clock import NS_PER_S, wall_clock
from pipeline.schema.events import EVENT_DTYPE

_READ_BYTES = 1 << 20


def time_runs(run: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of processor time of each of `repeats` runs, after one that is not counted.

    Processor time, for what else runs on the machine shall not be counted; files read here lie in the system's memory.
    """
    run()
    times = []
    for _ in range(repeats):
        begun = time.process_time_ns()
        run()
        times.append((time.process_time_ns() - begun) / NS_PER_S)
    return times


def summarise(times_s: list[float], n_events: int) -> dict[str, Any]:
    """Median and spread of runs over `n_events`, and the rate of the median in millions of events a second."""
    median = statistics.median(times_s)
    return {
        "events": n_events,
        "median_s": round(median, 4),
        "spread_s": round(max(times_s) - min(times_s), 4),
        "mev_s": round(n_events / median / 1e6, 1),
    }


def read_and_fill(path: Path, n_events: int) -> None:
    """The least that decoding must do: read the bytes once, and write one record an event into memory never used before."""
    block = bytearray(_READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass
    fill(n_events)


def fill(n_events: int) -> None:
    """Write one record an event into memory never used before."""
    np.empty(n_events * EVENT_DTYPE.itemsize // 8, dtype=np.uint64).fill(1)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def describe_machine() -> dict[str, Any]:
    """What a figure must be read with: processor, cores, load, interpreter, date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "date": wall_clock().date().isoformat(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
