"""What the containers of ROS messages have in common: connections, batches of messages, and an account of the damage."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BufferedReader
from typing import ClassVar, Literal, NamedTuple

# Recorders make chunks of 1 to 4 MB; a forged size must not ask for all memory.
MAX_CHUNK_BYTES = 1 << 26


class DamagedRecordError(Exception):
    """A record that is cut off, or whose numbers do not fit."""


class Connection(NamedTuple):
    """Topic and type of some messages, and how they are put into bytes."""

    topic: str
    message_type: str
    coding: Literal["ros1", "cdr"]


class Batch(NamedTuple):
    """Messages that lie together, each with the number of its connection, and the place to go on from behind them."""

    messages: list[tuple[int, memoryview]]
    place: int


class Container(ABC):
    """A file of messages, read from front to end. `connections` grows while reading unless `is_indexed`."""

    # for people
    name: ClassVar[str]

    def __init__(self, handle: BufferedReader, n_bytes: int) -> None:
        self._handle = handle
        self.n_bytes = n_bytes
        self.start = 0
        self.is_indexed = False
        self.connections: dict[int, Connection] = {}
        self.n_bytes_cut = self.n_skipped = self.n_bytes_skipped = 0
        self.reasons: list[str] = []

    @abstractmethod
    def batches(self, place: int) -> Iterator[Batch]:
        """The messages from a place on: `start`, or one that a batch named."""

    def close(self) -> None:
        """Release the file."""
        self._handle.close()

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the file; DamagedRecordError if it ends before."""
        if not 0 <= start <= end <= self.n_bytes:
            raise DamagedRecordError("its last record is cut off")
        self._handle.seek(start)
        data = self._handle.read(end - start)
        if len(data) < end - start:
            raise DamagedRecordError("its last record is cut off")
        return data

    def cut(self, place: int, reason: str) -> None:
        """Nothing can be read from a place on."""
        self.n_bytes_cut += self.n_bytes - place
        self.reasons.append(reason)

    def skip(self, n_bytes: int, reason: str) -> None:
        """A part was left out; what follows can be read."""
        self.n_skipped += 1
        self.n_bytes_skipped += n_bytes
        self.reasons.append(reason)
