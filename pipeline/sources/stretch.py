"""A part of a recording, told by times after its first event. Knows no file format."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, Triggers
from pipeline.sources.base import EventSource, ReadReport, RecordedSource, SourceInfo


class StretchSource:
    """A `RecordedSource` of the events within `[start_us, end_us)` after the first event of another; owns and closes it.

    `end_us` None stands for the end. UsageError from `packets` when nothing lies in there although the recording holds events;
    a recording without events stays without.
    """

    def __init__(self, source: RecordedSource, start_us: int = 0, end_us: int | None = None) -> None:
        if start_us < 0 or (end_us is not None and end_us <= start_us):
            raise UsageError(f"start {start_us} us and end {end_us} us leave nothing to read; the end comes after the start")
        self._source = source
        self._start_us, self._end_us = start_us, end_us
        self._span_us: tuple[int, int | None] | None = None

    @property
    def info(self) -> SourceInfo:
        """What the recording is."""
        return self._source.info

    @property
    def n_bytes(self) -> int:
        """Size of the whole recording; for progress bars."""
        return self._source.n_bytes

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`."""
        return self._source.n_bytes_read

    def packets(self, start_us: int | None = None, end_us: int | None = None) -> Iterator[Events]:
        """Event packets of the stretch, and of the sensor times `[start_us, end_us)` where these bounds are given."""
        first_us = find_first_us(self._source)
        if first_us is None:
            self._span_us = None
            yield from self._source.packets()
            return
        begins_us, ends_us = first_us + self._start_us, None if self._end_us is None else first_us + self._end_us
        begins_us = begins_us if start_us is None else max(begins_us, start_us)
        ends_us = min((bound for bound in (ends_us, end_us) if bound is not None), default=None)
        self._span_us = begins_us, ends_us
        n_events = 0
        for events in self._source.packets(begins_us, ends_us):
            n_events += events.size
            yield events
        if n_events == 0 and start_us is None and end_us is None:
            raise UsageError(f"{self.info.name} holds no event {self._describe()}")

    def take_triggers(self) -> Triggers:
        """The external triggers of the stretch met since the last call."""
        triggers = self._source.take_triggers()
        if self._span_us is None:
            return triggers
        begins_us, ends_us = self._span_us
        is_inside = triggers["t"] >= begins_us
        if ends_us is not None:
            is_inside &= triggers["t"] < ends_us
        return triggers[is_inside]

    def report(self) -> ReadReport:
        """Say what was damaged or skipped so far; what lies behind the stretch was not looked at."""
        return self._source.report()

    def close(self) -> None:
        """Release the recording; may be called twice."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _describe(self) -> str:
        start = f"from {self._start_us / US_PER_S:g} s"
        end = f" to {self._end_us / US_PER_S:g} s" if self._end_us is not None else ""
        return f"{start}{end} after its first event"


def find_first_us(source: EventSource) -> int | None:
    """Sensor time of the first event; None without events. Reads up to there, so that `packets` must be asked for again."""
    return next((int(events["t"][0]) for events in source.packets() if events.size), None)
