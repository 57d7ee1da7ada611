"""What the writers of Prophesee RAW share: the header, and events and triggers brought into one order of time.

Events wait a moment for triggers that are told of later; `flush` ends the waiting.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, Triggers, empty_events, empty_triggers
from pipeline.sinks.file import FileSink

# As OpenEB wants it: `format` for itself, `evt` and `geometry` for programs that know no `format`.
_HEADER = (
    "% evt {version}\n% format {name};height={height};width={width}\n% geometry {width}x{height}\n"
    "% camera_integrator_name Saccade\n% plugin_integrator_name Saccade\n% end\n"
)
# Words hold 11 bits of x and of y.
_MAX_SIDE = 1 << 11
# Of an event as a record: x, y and p, without the padding behind them.
PLACE_MASK = (1 << 33) - 1
# Events wait so long for triggers, or until there are so many.
_WAIT_US = 100_000
_MAX_WAITING = 1 << 20
# Readers take a longer step back, just behind a turn of the clock, for another turn.
_MAX_BACK_US = 10_000
_TABLE = "keep triggers in a table (--triggers)"


@njit(cache=True, nogil=True)
def next_step(high: int, target: int, turn: int) -> int:
    """The TIME_HIGH to tell after `high` (-1: none) on the way to `target`, both counted through all turns of `turn` values.

    Each turn is told by its last and its first value, and by nothing longer than half a turn: all readers understand that.
    """
    if target < high:
        return target
    if high < 0:
        return min(target, turn - 1)
    last = high | (turn - 1)
    return high + 1 if high == last else min(target, high + turn // 2 - 1, last)


def as_records(rows: Events | Triggers) -> npt.NDArray[np.int64]:
    """Events (place, t) or triggers (t, input and edge) as int64 (n, 2), of the same memory; bits of padding may be set."""
    return np.ascontiguousarray(rows).view(np.int64).reshape(-1, 2)


class RawSink(FileSink):
    """A RAW recording being written, its times absolute; subclasses know the words of an encoding.

    Readers follow the clock of a recording through its turns, so that times are told step by step: a pause costs words, and the
    longest, `_max_pause_us`, a megabyte or two.
    """

    holds_triggers = True
    _name: ClassVar[str]
    _version: ClassVar[str]
    _n_inputs: ClassVar[int]
    _max_pause_us: ClassVar[int]

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        width, height = sensor_size
        if max(sensor_size) > _MAX_SIDE:
            raise UsageError(f"{self._name} has 11 bits for a coordinate; a sensor of {width}x{height} pixels does not fit")
        super().__init__(path, sensor_size)
        self._waiting: list[npt.NDArray[np.int64]] = []
        self._n_waiting = 0
        self._triggers = empty_triggers()
        self._newest_us = self._written_us = 0
        self._put(_HEADER.format(version=self._version, name=self._name, width=width, height=height).encode())

    def write_triggers(self, triggers: Triggers) -> None:
        """Take external triggers, those of the packets before or of the next."""
        if triggers.size == 0:
            return
        if int(triggers["id"].min()) < 0 or int(triggers["id"].max()) >= self._n_inputs:
            raise UsageError(
                f"{self._name} has inputs 0 to {self._n_inputs - 1} for triggers; keep them in a table (--triggers)"
            )
        self._check_span(int(triggers["t"].min()), int(triggers["t"].max()))
        together = np.concatenate([self._triggers, triggers])
        self._triggers = together[np.argsort(together["t"], kind="stable")]

    def flush(self) -> None:
        """Hand everything taken so far to the operating system."""
        self._write_waiting(leave_us=0, leave=0)
        self._put_words(as_records(empty_events()), self._triggers)
        self._triggers = empty_triggers()

    @abstractmethod
    def _to_words(self, events: npt.NDArray[np.int64], triggers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The words of events and triggers, as records in order of time, that follow all those before."""

    def _check_times(self, events: Events) -> None:
        self._check_span(int(events["t"][0]), int(events["t"][-1]))

    def _check_span(self, first_us: int, last_us: int) -> None:
        """Raise UsageError where these times cannot be told after all those before."""
        if first_us < 0:
            raise UsageError(f"{self._name} cannot hold times below zero ({first_us} us); shift the times with --from-zero")
        if first_us < self._written_us - _MAX_BACK_US:
            raise UsageError(f"{self._name} cannot go back to {first_us} us after {self._written_us} us; {_TABLE}")
        if last_us - self._newest_us > self._max_pause_us:
            raise UsageError(
                f"{self._name} cannot hold {last_us} us after {self._newest_us} us; shift the times with --from-zero, or write "
                "aedat3 or aedat4"
            )
        self._newest_us = max(self._newest_us, last_us)

    def _encode(self, events: Events) -> None:
        self._waiting.append(as_records(events).copy())
        self._n_waiting += events.size
        self._write_waiting(leave_us=_WAIT_US, leave=_MAX_WAITING)

    def _write_waiting(self, *, leave_us: int, leave: int) -> None:
        """Write packets, each with the triggers up to its last event, until none is older than `leave_us` and few are left."""
        while self._waiting:
            events = self._waiting[0]
            last_us = int(events[-1, 1])
            if last_us > self._newest_us - leave_us and self._n_waiting <= leave:
                return
            del self._waiting[0]
            self._n_waiting -= events.shape[0]
            n_triggers = int(np.searchsorted(self._triggers["t"], last_us, side="right"))
            self._put_words(events, self._triggers[:n_triggers])
            self._triggers = self._triggers[n_triggers:]

    def _n_words(self, n: int, turn_us: int) -> int:
        """Words that are surely enough for `n` events and triggers: some for time, row and event, more across each turn."""
        return 8 * n + 4 * ((self._newest_us - self._written_us) // turn_us + 2)

    def _put_words(self, events: npt.NDArray[np.int64], triggers: Triggers) -> None:
        if events.size or triggers.size:
            words = self._to_words(events, as_records(triggers))
            self._put(words.view(np.uint8).data)
            times = [int(rows[-1]) for rows in (events[:, 1], triggers["t"]) if rows.size]
            self._written_us = max(times)
