"""What an event source is: the protocol, what it says of itself, and what it reports of damage."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from pipeline.schema.events import Events, SensorSize, Triggers


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself before the first event.

    `format` and `encoding` are names for people (`AEDAT 4.0`, `LZ4`); `name` is the bus name of the source.
    """

    name: str
    format: str
    encoding: str
    sensor_size: SensorSize
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What happened while reading, complete once `packets` is exhausted.

    `is_truncated`: bytes at the end could not be read. `is_monotonic`: the file's own times never ran backwards.
    `n_triggers` counts the external triggers met, `n_triggers_lost` those that nobody took in time.
    """

    warnings: tuple[str, ...] = ()
    is_truncated: bool = False
    is_monotonic: bool = True
    n_bytes_skipped: int = 0
    n_triggers: int = 0
    n_triggers_lost: int = 0


class EventSource(Protocol):
    """A stream of event packets, used in a `with` block by one thread.

    `packets` yields `EVENT_DTYPE` arrays, coordinates inside the sensor, non-decreasing in t over the whole stream; an empty
    packet means "nothing new, still alive". The iterator ends when the source does. `report` may be asked at any time.
    """

    @property
    def info(self) -> SourceInfo:
        """What this source is."""
        ...

    def packets(self) -> Iterator[Events]:
        """Event packets until the source ends; raises InputError only if nothing at all can be read."""
        ...

    def report(self) -> ReadReport:
        """Say what was damaged or skipped so far."""
        ...

    def close(self) -> None:
        """Release file or device; may be called twice."""
        ...

    def __enter__(self) -> Self:
        """Give the source itself."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        ...


@runtime_checkable
class RecordedSource(EventSource, Protocol):
    """An event source that can be read again, from any time on: a file, a part of one, or either behind filters."""

    @property
    def n_bytes(self) -> int:
        """Size of the recording."""
        ...

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`; for progress bars."""
        ...

    def packets(self, start_us: int | None = None, end_us: int | None = None) -> Iterator[Events]:
        """Event packets of the sensor times `[start_us, end_us)`; without bounds, from the first event to the last."""
        ...

    def take_triggers(self) -> Triggers:
        """The external triggers met since the last call; asked for after each packet."""
        ...
