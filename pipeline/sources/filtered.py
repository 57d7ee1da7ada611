"""A source behind filters: the same protocol, fewer or moved events. Knows no single filter and no file format."""

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from pipeline.filters import FilterChain
from pipeline.schema.events import Events, Triggers, empty_triggers
from pipeline.sources.base import EventSource, ReadReport, RecordedSource, SourceInfo


class FilteredSource:
    """A `RecordedSource` of the events of another source that pass a chain of filters; owns and closes it.

    Each pass begins with filters that remember nothing, also one that begins in the middle. A packet of which no event passes
    is given as an empty one. Over a live source, which has no bytes and no past, the byte counts are 0 and bounds of time are
    not to be asked for. UsageError when the filters do not fit the sensor; the source is then left open.
    """

    def __init__(self, source: EventSource | RecordedSource, chain: FilterChain) -> None:
        self._source, self._chain = source, chain
        self._sensor_size = source.info.sensor_size
        self._states = chain.start(self._sensor_size)

    @property
    def info(self) -> SourceInfo:
        """What the source is, with the size of the pixel array behind the filters."""
        info = self._source.info
        return replace(info, sensor_size=self._chain.output_size(info.sensor_size))

    @property
    def n_bytes(self) -> int:
        """Size of the recording; for progress bars."""
        return int(getattr(self._source, "n_bytes", 0))

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`."""
        return int(getattr(self._source, "n_bytes_read", 0))

    def packets(self, start_us: int | None = None, end_us: int | None = None) -> Iterator[Events]:
        """Event packets that pass, of the sensor times `[start_us, end_us)` where these bounds are given."""
        bounds = () if start_us is None and end_us is None else (start_us, end_us)
        packets = self._source.packets(*bounds)
        self._states = self._chain.start(self._sensor_size)
        for packet in packets:
            events, self._states = self._chain.apply(packet, self._states)
            yield events

    def take_triggers(self) -> Triggers:
        """The external triggers met since the last call; no filter touches them."""
        take = getattr(self._source, "take_triggers", empty_triggers)
        triggers: Triggers = take()
        return triggers

    def report(self) -> ReadReport:
        """Say what was damaged or skipped so far, and what the filters dropped."""
        report = self._source.report()
        return replace(report, warnings=(*report.warnings, *self._chain.describe(self._states)))

    def close(self) -> None:
        """Release the source; may be called twice."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
