"""What all recordings on disk have in common: opening, block-wise reading, the report. Knows no file format."""

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events
from pipeline.sources.base import ReadReport, SourceInfo
from pipeline.sources.ordering import DecodeState, describe

# One read: large enough that a decoder's loop outweighs the call, small enough to stay in the second-level cache.
BLOCK_BYTES = 1 << 20

HEADER_ONLY = "header only: no events"


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; InputError says why it cannot be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; name a recording inside it")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is not a regular file; copy the recording to a file first")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except PermissionError:
        raise InputError(f"{path} may not be read by this user; change its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError(f"{path} cannot be opened: {error}") from None


class FileSource(ABC):
    """A recording on disk as an EventSource; subclasses decode.

    `packets` may be asked for again: it starts over from the first event. Memory stays at a few blocks, however large the file.
    """

    def __init__(self, path: Path, info: SourceInfo, handle: BufferedReader) -> None:
        self._path = path
        self._info = info
        self._handle = handle
        self._state = DecodeState()
        self._notes: list[str] = []
        self._is_truncated = False
        self._n_bytes_skipped = 0
        self.n_bytes = path.stat().st_size

    @abstractmethod
    def _decode(self) -> Iterator[Events]:
        """Event packets from the first event on; keeps `_state` and the private fields below it up to date."""

    @property
    def info(self) -> SourceInfo:
        """What this recording is."""
        return self._info

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`; for progress bars."""
        return 0 if self._handle.closed else self._handle.tell()

    def packets(self) -> Iterator[Events]:
        """Event packets from the first event to the last one that can be read."""
        self._state = DecodeState()
        self._notes = []
        self._is_truncated = False
        self._n_bytes_skipped = 0
        return self._decode()

    def report(self) -> ReadReport:
        """Say what was damaged or skipped so far."""
        return ReadReport(
            warnings=(*self._notes, *describe(self._state, self._info.sensor_size)),
            is_truncated=self._is_truncated,
            is_monotonic=self._state.n_backward == 0 and self._state.n_jumps == 0,
            n_bytes_skipped=self._n_bytes_skipped,
        )

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_into(self, buffer: npt.NDArray[np.uint8]) -> int:
        """Fill `buffer`, uint8 (n,), with the next bytes; how many there were, fewer than n only at the file's end."""
        try:
            return self._handle.readinto(buffer.data)
        except OSError as error:
            raise InputError(f"{self._path} cannot be read at byte {self.n_bytes_read}: {error}") from None

    def _note(self, sentence: str) -> None:
        self._notes.append(sentence)

    def _note_header_only(self) -> None:
        self._is_truncated = True
        self._note(HEADER_ONLY)

    def _note_cut(self, n_bytes: int, what: str) -> None:
        """The last `n_bytes` of the file were not read; `what` says why."""
        self._is_truncated = True
        self._n_bytes_skipped += n_bytes
        self._note(f"{what}; the last {n_bytes} bytes were not read" if n_bytes else what)
