"""When did this machine itself stand still? A timer on every core that should fire each 2 ms, before all other work if it may.

With real-time priority, which root has, a late timer means that the processor was taken away from the whole machine (another
guest of the host, as a rule). Without, it may also mean that our own processes were using it: `is_realtime` says which.
"""

import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from pipeline.schema.clock import NS_PER_MS, host_ns

_TICK_S = 0.002
# A timer of a quiet machine is late by a tenth of a millisecond; what counts here would be felt in a stream.
_PAUSE_NS = 10 * NS_PER_MS
_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Pause:
    """From when to when a core did not run, host time."""

    core: int
    start_ns: int
    end_ns: int

    @property
    def ms(self) -> float:
        """How long it was."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


class PauseWatch:
    """Context manager: `pauses` of at least 10 ms while it is open; Linux only, elsewhere it sees none (`is_watching`)."""

    def __init__(self) -> None:
        self.pauses: list[Pause] = []
        self.is_watching = hasattr(os, "sched_setaffinity")
        self.is_realtime = False
        self._stopping = threading.Event()
        cores = sorted(os.sched_getaffinity(0)) if self.is_watching else []
        self._threads = [threading.Thread(target=self._watch, args=(core,), daemon=True) for core in cores]

    def __enter__(self) -> "PauseWatch":
        """Begin to watch every core that this process may use."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, core: int) -> None:
        os.sched_setaffinity(0, {core})  # of this thread alone
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
            self.is_realtime = True
        except PermissionError:
            pass  # told in is_realtime
        last = host_ns()
        while not self._stopping.is_set():
            time.sleep(_TICK_S)
            now = host_ns()
            if now - last >= _PAUSE_NS:
                self.pauses.append(Pause(core, last, now))
            last = now
