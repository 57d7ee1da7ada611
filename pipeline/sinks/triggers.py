"""Writes external triggers as a table that every program reads: t_us,id,p."""

from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import Triggers

HEADER = "t_us,id,p\n"


class TriggerTable:
    """A CSV of triggers being written: sensor time in us, input of the camera, 1 rising or 0 falling."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._handle = path.open("w", encoding="ascii", newline="")
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise UsageError(f"{path} cannot be written: {error}") from None
        self._handle.write(HEADER)

    def write(self, triggers: Triggers) -> None:
        """Take triggers, (n,), in the order in which they shall stand."""
        try:
            self._handle.writelines(f"{t},{id},{p}\n" for t, id, p in triggers.tolist())  # noqa: A001 # the field's name
        except OSError as error:
            raise SaccadeError(f"{self._path} cannot be written: {error.strerror}; free some space and try again") from None

    def close(self) -> None:
        """Finish; may be called twice."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
