"""What all writers of recordings have in common: opening, whole writes, closing. Knows no file format."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import Events, SensorSize, Triggers


class FileSink(ABC):
    """A recording being written, in place and unbuffered: whatever was flushed is readable even when the process is killed."""

    holds_triggers = False

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        self._path = path
        self._sensor_size = sensor_size
        self._last_us: int | None = None
        try:
            self._handle = path.open("wb", buffering=0)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise UsageError(f"{path} cannot be written: {error}") from None

    @abstractmethod
    def _encode(self, events: Events) -> None:
        """Take a packet of at least one event whose times were checked."""

    @abstractmethod
    def _check_times(self, events: Events) -> None:
        """Raise UsageError where the format cannot hold these times."""

    def write(self, events: Events) -> None:
        """Take one packet; nothing of it is written when it is refused."""
        if events.size == 0:
            return
        assert int(events["x"].max()) < self._sensor_size.width, "x outside the sensor"
        assert int(events["y"].max()) < self._sensor_size.height, "y outside the sensor"
        assert self._last_us is None or int(events["t"][0]) >= self._last_us, "packets must not go back in time"
        self._check_times(events)
        self._encode(events)
        self._last_us = int(events["t"][-1])

    def write_triggers(self, triggers: Triggers) -> None:
        """Take external triggers, in the order of the source; UsageError where the format holds none (`holds_triggers`)."""
        if triggers.size:
            raise UsageError(f"{self._path}: this format holds no external triggers")

    def flush(self) -> None:  # noqa: B027 # most formats hold nothing back
        """Hand everything taken so far to the operating system; nothing to do where each packet is written at once."""

    def close(self) -> None:
        """Flush and finish; may be called twice."""
        if not self._handle.closed:
            try:
                self.flush()
                self._finish()
            finally:
                self._handle.close()

    def _finish(self) -> None:  # noqa: B027 # most formats have no end mark
        """Write what stands at the end of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _put(self, data: bytes | memoryview) -> None:
        """Append all of `data`; a full disk is an error with the path in it."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._handle.write(view) :]
        except OSError as error:
            raise SaccadeError(f"{self._path} cannot be written: {error.strerror}; free some space and try again") from None

    def _put_at(self, position: int, data: bytes) -> None:
        """Overwrite what stands at `position` without moving the end."""
        os.pwrite(self._handle.fileno(), data, position)
