"""Several recordings of one sensor as one: side by side in time, or one after another. Knows no file format."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, Self

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, Triggers, empty_triggers
from pipeline.sources.base import ReadReport, RecordedSource, SourceInfo

# `time`: by the times they have. `start`: each moved to begin at 0. `sequence`: each moved to begin 1 us after the one before.
MergeOrder = Literal["time", "start", "sequence"]


class _Lane:
    """One recording on its way into the merge: its packets moved in time, and the events drawn but not yet passed on."""

    def __init__(self, source: RecordedSource) -> None:
        self.source = source
        self.shift_us = 0
        self.head: Events | None = None
        self._packets = source.packets()

    def begin_at(self, t_us: int | None) -> None:
        """Draw the first events, and move the recording so that they begin at this time; None leaves it where it is."""
        if self.draw() and t_us is not None and self.head is not None:
            self.shift_us = t_us - int(self.head["t"][0])
            self.head["t"] += self.shift_us

    def draw(self) -> bool:
        """Have events in `head`; False when the recording has ended."""
        while self.head is None or self.head.size == 0:
            packet = next(self._packets, None)
            if packet is None:
                self.head = None
                return False
            self.head = packet.copy() if self.shift_us or not packet.flags.writeable else packet
            if self.shift_us:
                self.head["t"] += self.shift_us
        return True

    def take_until(self, t_us: int) -> Events:
        """The events of `head` up to and including this time, which leave it."""
        assert self.head is not None
        n = int(np.searchsorted(self.head["t"], t_us, side="right"))
        taken, self.head = self.head[:n], self.head[n:]
        return taken

    def take_triggers(self) -> Triggers:
        """The triggers met since the last call, moved as the events are."""
        triggers = self.source.take_triggers()
        triggers["t"] += self.shift_us
        return triggers


class MergedSource:
    """An event source of several recordings with equal sensors; owns and closes them. Memory stays at one packet of each."""

    def __init__(self, sources: Sequence[RecordedSource], order: MergeOrder = "time") -> None:
        check_sizes([source.info for source in sources])
        self._sources = list(sources)
        self._order = order
        self._triggers: list[Triggers] = []
        self._reached_us: int | None = None
        first = sources[0].info
        name = "+".join(source.info.name for source in sources)
        self._info = SourceInfo(name, "merged", f"{len(sources)} recordings", first.sensor_size)

    @property
    def info(self) -> SourceInfo:
        """What the whole is."""
        return self._info

    @property
    def n_bytes(self) -> int:
        """Size of all recordings."""
        return sum(source.n_bytes for source in self._sources)

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`."""
        return sum(source.n_bytes_read for source in self._sources)

    def packets(self) -> Iterator[Events]:
        """Event packets in the order of time; of two events at one time, in no promised order."""
        self._triggers, self._reached_us = [], None
        yield from self._append() if self._order == "sequence" else self._interleave()
        self._reached_us = None

    def take_triggers(self) -> Triggers:
        """The external triggers up to the last packet, in the order of time."""
        waiting = np.concatenate(self._triggers) if self._triggers else empty_triggers()
        waiting = waiting[np.argsort(waiting["t"], kind="stable")]
        n = waiting.size if self._reached_us is None else int(np.searchsorted(waiting["t"], self._reached_us, side="right"))
        self._triggers = [waiting[n:]] if n < waiting.size else []
        return waiting[:n]

    def report(self) -> ReadReport:
        """Say what was damaged or skipped in any of them, each sentence with its recording's name."""
        reports = [(source.info.name, source.report()) for source in self._sources]
        return ReadReport(
            warnings=tuple(f"{name}: {warning}" for name, report in reports for warning in report.warnings),
            is_truncated=any(report.is_truncated for _, report in reports),
            is_monotonic=all(report.is_monotonic for _, report in reports),
            n_bytes_skipped=sum(report.n_bytes_skipped for _, report in reports),
            n_triggers=sum(report.n_triggers for _, report in reports),
            n_triggers_lost=sum(report.n_triggers_lost for _, report in reports),
        )

    def close(self) -> None:
        """Release all recordings; may be called twice."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _interleave(self) -> Iterator[Events]:
        lanes = [_Lane(source) for source in self._sources]
        for lane in lanes:
            lane.begin_at(0 if self._order == "start" else None)
        while open_lanes := [lane for lane in lanes if lane.draw()]:
            # up to here nothing can come any more that is earlier
            self._reached_us = min(int(lane.head["t"][-1]) for lane in open_lanes if lane.head is not None)
            events = np.concatenate([lane.take_until(self._reached_us) for lane in open_lanes])
            self._triggers += [lane.take_triggers() for lane in open_lanes]
            yield events[np.argsort(events["t"], kind="stable")]
        self._triggers += [lane.take_triggers() for lane in lanes]

    def _append(self) -> Iterator[Events]:
        begins_us: int | None = None
        for source in self._sources:
            lane = _Lane(source)
            lane.begin_at(begins_us)
            while lane.draw() and lane.head is not None:
                events, lane.head = lane.head, None
                begins_us = int(events["t"][-1]) + 1
                self._triggers.append(lane.take_triggers())
                yield events
            self._triggers.append(lane.take_triggers())


def check_sizes(infos: Sequence[SourceInfo]) -> None:
    """Raise UsageError when these are not recordings of equal sensors."""
    if len({info.sensor_size for info in infos}) > 1:
        sizes = ", ".join(f"{info.name} {info.sensor_size.width}x{info.sensor_size.height}" for info in infos)
        raise UsageError(
            f"recordings of unequal sensors cannot be merged ({sizes}); name the sensor with --chip where a file does not tell "
            "it, or cut each to one size with convert --filter roi=X,Y,WIDTHxHEIGHT first"
        )
