"""What an event sink is: the protocol of everything that events can be written to."""

from types import TracebackType
from typing import Protocol, Self

from pipeline.schema.events import Events


class EventSink(Protocol):
    """Where event packets go, used in a `with` block by one thread.

    The recorder calls `write` for every packet (non-decreasing in t over all of them, inside the sensor; empty is allowed) and
    `flush` when it wants everything received so far to outlive a crash. Leaving the block closes the sink.
    """

    def write(self, events: Events) -> None:
        """Take one packet; UsageError when the format cannot hold its times, and then nothing of it is written."""
        ...

    def flush(self) -> None:
        """Hand everything taken so far to the operating system."""
        ...

    def close(self) -> None:
        """Flush and finish; may be called twice."""
        ...

    def __enter__(self) -> Self:
        """Give the sink itself."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        ...
