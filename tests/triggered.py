"""Sources of events and triggers whose every number a test has chosen."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.schema.events import Events, SensorSize, Triggers, empty_triggers, make_events, make_triggers
from pipeline.sources.base import ReadReport, SourceInfo


class TriggeredSource:
    """A `RecordedSource` of events at these times, pixel by pixel along the first row, `packet` events at a time.

    Triggers (times; input 0, rising) are met with the packet that reaches them.
    """

    def __init__(
        self,
        times: Sequence[int],
        *,
        triggers: Sequence[int] = (),
        packet: int = 2,
        name: str = "made",
        size: SensorSize = SensorSize(32, 24),  # noqa: B008 # a value
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.is_closed = False
        self.n_bytes = 16 * len(times)
        self.n_bytes_read = 0
        self.info = SourceInfo(name, "made", "none", size)
        places = np.arange(len(times))
        self._events = make_events(times, places % size.width, np.zeros(len(times)), places % 2)
        self._triggers = make_triggers(triggers, np.zeros(len(triggers)), np.ones(len(triggers)))
        self._packet = packet
        self._warnings = warnings
        self._met = empty_triggers()

    def packets(self, start_us: int | None = None, end_us: int | None = None) -> Iterator[Events]:
        """The events within the bounds."""
        self._met = empty_triggers()
        t = self._events["t"]
        is_wanted = (t >= (t.min(initial=0) if start_us is None else start_us)) & (
            t < (t.max(initial=0) + 1 if end_us is None else end_us)
        )
        wanted, n_met = self._events[is_wanted].copy(), 0
        for start in range(0, len(wanted), self._packet):
            packet = wanted[start : start + self._packet]
            n = int(np.searchsorted(self._triggers["t"], packet["t"][-1], side="right"))
            self._met, n_met = np.concatenate([self._met, self._triggers[n_met:n]]), n
            self.n_bytes_read = 16 * (start + len(packet))
            yield packet
        self._met = np.concatenate([self._met, self._triggers[n_met:]])

    def take_triggers(self) -> Triggers:
        """Those met since the last call."""
        met, self._met = self._met, empty_triggers()
        return met

    def report(self) -> ReadReport:
        """What was announced."""
        return ReadReport(self._warnings, bool(self._warnings), n_triggers=len(self._triggers))

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True

    def __enter__(self) -> "TriggeredSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
