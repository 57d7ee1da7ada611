"""A recording played as if it happened now: paced by sensor time, with pause, seek, speed and loop.

It cuts the packets of the recording into pieces that end at multiples of `piece_us` after the first event, as time bins do, and
lets each go when its time has come. It knows neither bins nor the bus.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.schema.clock import NS_PER_S, host_ns
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, empty_events
from pipeline.schema.messages import Reply, Request
from pipeline.sources.base import EventSource, ReadReport, RecordedSource, SourceInfo
from pipeline.sources.stretch import find_first_us

_NS_PER_US = 1_000
# Longest sleep between two looks at the controls.
_NAP_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Which host time belongs to which sensor time: `anchor_us` was due at `anchor_ns`, and time runs `speed` times as fast.

    Speed 0 stands for "as fast as possible".
    """

    anchor_us: int
    anchor_ns: int
    speed: float


def due_ns(pace: Pace, t_us: int) -> int:
    """Host time at which sensor time `t_us` is due; the anchor itself when there is no pace to keep."""
    if pace.speed == 0:
        return pace.anchor_ns
    return pace.anchor_ns + round((t_us - pace.anchor_us) * _NS_PER_US / pace.speed)


def check_speed(speed: float) -> float:
    """Give the speed; UsageError when it is no factor that a recording can be played at."""
    if not (speed == 0 or 0.001 <= speed <= 1000):
        raise UsageError(f"speed {speed:g} is out of range; use a factor between 0.001 and 1000, or max")
    return speed


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How to play. Times are microseconds after the first event; no `end_us` = to the end; `speed` 0 = as fast as possible."""

    speed: float = 1.0
    is_looped: bool = False
    start_us: int = 0
    end_us: int | None = None
    piece_us: int = 10_000

    def __post_init__(self) -> None:
        check_speed(self.speed)
        if self.start_us < 0 or (self.end_us is not None and self.end_us <= self.start_us):
            raise UsageError(f"start {self.start_us} us and end {self.end_us} us leave nothing to play")
        assert self.piece_us > 0


class ReplaySource:
    """An `EventSource` over a recording that `reopen` opens, now and again after every seek and loop.

    `packets` may be called again after it ended, when a seek was asked for meanwhile. An empty packet means that time has
    passed: `reached_us` tells how far, so that quiet stretches have time bins too. After a seek or loop, times start elsewhere:
    `epoch` counts that. All methods belong to the thread that draws the packets.
    """

    def __init__(
        self,
        reopen: Callable[[], EventSource],
        settings: ReplaySettings,
        *,
        clock: Callable[[], int] = host_ns,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        self.epoch = 0
        self.is_paused = False
        self.is_looped = settings.is_looped
        self.speed = settings.speed
        self.reached_us: int | None = None
        # known after `measure_span`, or once the first event was read; the duration 0 while it is unknown
        self.first_us: int | None = None
        self.duration_us = 0
        self._settings = settings
        self._reopen = reopen
        self._clock = clock
        self._wait = wait
        self._offset_us = settings.start_us
        self._seek_us: int | None = None
        self._pace: Pace | None = None
        self._origin_us = 0
        self._n_given = 0
        self._report = ReadReport()
        self._source: EventSource | None = reopen()
        self._info = self._source.info

    @property
    def info(self) -> SourceInfo:
        """What the recording is."""
        return self._info

    def pause(self) -> None:
        """Hold sensor time."""
        self.is_paused = True

    def resume(self) -> None:
        """Let sensor time run on from where it was held."""
        self.is_paused = False
        self._anchor()

    def seek(self, offset_us: int) -> None:
        """Go on at `offset_us` microseconds after the first event, or at the nearest time inside the played part."""
        last_us = self._settings.end_us
        offset_us = max(offset_us, self._settings.start_us)
        self._seek_us = offset_us if last_us is None else min(offset_us, last_us - 1)

    def set_speed(self, speed: float) -> None:
        """Play at another speed from now on; 0 = as fast as possible."""
        self.speed = check_speed(speed)
        self._anchor()

    @property
    def is_seeking(self) -> bool:
        """Whether a seek was asked for that has not been followed yet."""
        return self._seek_us is not None

    def packets(self) -> Iterator[Events]:
        """Yield pieces when they are due, empty packets in between; UsageError when the start lies behind the last event."""
        while True:
            if self._seek_us is not None:
                self._offset_us, self._seek_us = self._seek_us, None
                self.epoch += 1
            yield from self._play_once()
            if self.is_seeking:
                continue
            if self._n_given == 0 and self.first_us is not None and self.epoch == 0:
                raise UsageError(f"start {self._offset_us / 1e6:g} s lies behind the last event of {self.info.name}")
            if not self.is_looped or self._n_given == 0:
                return
            self._offset_us = self._settings.start_us
            self.epoch += 1

    def report(self) -> ReadReport:
        """Say what was damaged in the latest pass through the recording."""
        return self._source.report() if self._source is not None else self._report

    def close(self) -> None:
        """Release the recording; may be called twice."""
        if self._source is not None:
            self._report = self._source.report()
            self._source.close()
            self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _play_once(self) -> Iterator[Events]:
        """One pass from the offset to the end, to the next seek, or to the end of the recording."""
        with self._rewind() as source:
            for packet in self._draw(source):
                for piece in self._cut(packet):
                    yield from self._pass_time(int(piece["t"][-1]))
                    if self.is_seeking:
                        break
                    self._n_given += len(piece)
                    yield piece
                if self._is_past_end(packet):
                    yield from self._pass_to_end()
                    break
                if self.is_seeking:
                    break
                if len(packet) == 0:
                    yield packet
            self._report = source.report()
        self._source = None

    def _draw(self, source: EventSource) -> Iterator[Events]:
        """Packets that hold all events from the offset on: from there where the source can begin there, else from the front."""
        if self._offset_us == 0 or not isinstance(source, RecordedSource):
            return source.packets()
        if self.first_us is None:
            self.first_us = find_first_us(source)
        return source.packets(None if self.first_us is None else self.first_us + self._offset_us)

    def _rewind(self) -> EventSource:
        self._pace, self.reached_us = None, None
        if self._source is None:
            self._source = self._reopen()
        return self._source

    def _is_past_end(self, packet: Events) -> bool:
        end_us = self._settings.end_us
        if end_us is None or len(packet) == 0 or self.first_us is None:
            return False
        return bool(packet["t"][-1] >= self.first_us + end_us)

    def _pass_to_end(self) -> Iterator[Events]:
        """Let the quiet time before a wanted end pass."""
        if self._pace is not None and self.first_us is not None and self._settings.end_us is not None:
            yield from self._pass_time(self.first_us + self._settings.end_us)

    def _cut(self, packet: Events) -> Iterator[Events]:
        """Yield the wanted part of the packet in pieces that do not cross an edge."""
        if len(packet) == 0:
            return
        if self.first_us is None:
            self.first_us = int(packet["t"][0])
        times = packet["t"]
        start = int(np.searchsorted(times, self.first_us + self._offset_us))
        end_us = self._settings.end_us
        end = len(times) if end_us is None else int(np.searchsorted(times, self.first_us + end_us))
        if start < end and self._pace is None:
            self._origin_us = self.reached_us = int(times[start])
            self._anchor(is_first=True)
        while start < end:
            edge_us = self._edge_after(int(times[start]))
            stop = start + int(np.searchsorted(times[start:end], edge_us))
            yield packet[start:stop]
            start = stop

    def _pass_time(self, until_us: int) -> Iterator[Events]:
        """Yield empty packets until sensor time `until_us` is due, one at every edge on the way."""
        while not self.is_seeking:
            assert self._pace is not None
            assert self.reached_us is not None
            if self.is_paused:
                yield from self._nap(_NAP_NS)
                continue
            step_us = min(self._next_edge_us(), until_us) if self.speed else until_us
            early_ns = due_ns(self._pace, step_us) - self._clock()
            if early_ns > 0:
                yield from self._nap(early_ns)
                continue
            is_edge, self.reached_us = step_us < until_us, max(self.reached_us, step_us)
            if not is_edge:
                return
            yield empty_events()

    def _nap(self, duration_ns: int) -> Iterator[Events]:
        self._wait(min(duration_ns, _NAP_NS) / NS_PER_S)
        if duration_ns >= _NAP_NS:
            yield empty_events()

    def _edge_after(self, t_us: int) -> int:
        piece_us = self._settings.piece_us
        return self._origin_us + ((t_us - self._origin_us) // piece_us + 1) * piece_us

    def _next_edge_us(self) -> int:
        assert self.reached_us is not None
        return self._edge_after(self.reached_us)

    def _anchor(self, *, is_first: bool = False) -> None:
        if self.reached_us is not None and (is_first or self._pace is not None):
            self._pace = Pace(self.reached_us, self._clock(), self.speed)


def measure_span(source: EventSource, budget_s: float = 1.0, clock: Callable[[], int] = host_ns) -> tuple[int, int] | None:
    """Read a recording through and give the time of its first event and its duration, in microseconds.

    None when it holds no event, or when that would take longer than `budget_s` (the network takes longer to load, so nobody
    waits for this). Closes the source.
    """
    deadline_ns = clock() + round(budget_s * NS_PER_S)
    first_us = last_us = None
    with source:
        for packet in source.packets():
            if len(packet):
                first_us = int(packet["t"][0]) if first_us is None else first_us
                last_us = int(packet["t"][-1])
            if clock() > deadline_ns:
                return None
    return None if first_us is None or last_us is None else (first_us, last_us - first_us)


def describe_replay(replay: ReplaySource | None) -> dict[str, int | float]:
    """What a status says of a replay; nothing of a source that is live."""
    if replay is None:
        return {}
    times = {"first_us": replay.first_us or 0, "duration_us": replay.duration_us}
    return {**times, "speed": replay.speed, "is_looped": replay.is_looped}


def answer_replay(replay: ReplaySource | None, name: str, request: Request) -> Reply:
    """Do what a request asks of a recording, None for a source that is live; refused with the reason."""
    if replay is None:
        return Reply(ok=False, text=f"{name} is live: {request.command} needs a recording")
    try:
        return Reply(ok=True, text=command_replay(replay, request))
    except UsageError as error:
        return Reply(ok=False, text=str(error))


def command_replay(replay: ReplaySource, request: Request) -> str:
    """Do what a request asks of a recording and say what was done; UsageError when it cannot be done."""
    command, value = request.command, request.value
    if command in ("seek", "speed", "loop") and value is None:
        raise UsageError(f"{command} needs a value")
    if command == "pause":
        replay.pause()
    elif command == "resume":
        replay.resume()
    elif command == "seek" and value is not None:
        replay.seek(round(value))
    elif command == "speed" and value is not None:
        replay.set_speed(value)
    elif command == "loop" and value is not None:
        replay.is_looped = value != 0
    else:
        raise UsageError(f"{command} is nothing that a recording can do")
    return f"{command} done" if value is None else f"{command} {value:g} done"
