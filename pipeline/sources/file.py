"""What all recordings on disk have in common: opening, block-wise reading, seeking, the report. Knows no file format."""

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
from pipeline.schema.events import Events, Triggers, empty_triggers
from pipeline.sources.base import ReadReport, SourceInfo
from pipeline.sources.index import Bookmark, Index, cut_to_span
from pipeline.sources.ordering import DecodeState, describe

# One read: large enough that a decoder's loop outweighs the call, small enough to stay, with the events made of it, in the
# second-level cache.
BLOCK_BYTES = 1 << 18

HEADER_ONLY = "header only: no events"

# Triggers that wait for somebody to take them; beyond that the oldest go, and are counted.
_MAX_TRIGGERS = 1 << 20


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
    A reader that can begin in the middle says so with `_mark` and begins at `_begin`.
    """

    def __init__(self, path: Path, info: SourceInfo, handle: BufferedReader) -> None:
        self._path = path
        self._info = info
        self._handle = handle
        self._state = DecodeState()
        self._notes: list[str] = []
        self._is_truncated = False
        self._n_bytes_skipped = 0
        self._triggers: list[Triggers] = []
        self._n_triggers = self._n_triggers_waiting = self._n_triggers_lost = 0
        self._begin: Bookmark | None = None
        self._index: Index | None = None
        # set by readers that can read one file in several ways
        self._variant = ""
        self.n_bytes = path.stat().st_size

    @abstractmethod
    def _decode(self) -> Iterator[Events]:
        """Event packets from `_begin` (None: the first event) on; keeps `_state` and the private fields below it up to date."""

    @property
    def info(self) -> SourceInfo:
        """What this recording is."""
        return self._info

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`; for progress bars."""
        return 0 if self._handle.closed else self._handle.tell()

    def packets(self, start_us: int | None = None, end_us: int | None = None) -> Iterator[Events]:
        """Event packets of the sensor times `[start_us, end_us)`; without bounds, to the last event that can be read.

        Where this recording has been read before, reading begins near `start_us`. What lies behind `end_us` is not read at
        all, so that its damage goes unsaid.
        """
        self._begin = self._find_bookmark(start_us) if start_us is not None else None
        self._state = self._begin.decode if self._begin is not None else DecodeState()
        self._notes = []
        self._is_truncated = False
        self._n_bytes_skipped = 0
        self._triggers = []
        self._n_triggers = self._n_triggers_waiting = self._n_triggers_lost = 0
        packets = self._decode()
        return packets if start_us is None and end_us is None else cut_to_span(packets, start_us, end_us)

    def take_triggers(self) -> Triggers:
        """The external triggers met since the last call, in the order of the file; asked for after each packet."""
        taken, self._triggers, self._n_triggers_waiting = self._triggers, [], 0
        return np.concatenate(taken) if taken else empty_triggers()

    def report(self) -> ReadReport:
        """Say what was damaged or skipped so far."""
        return ReadReport(
            warnings=(*self._notes, *describe(self._state, self._info.sensor_size)),
            is_truncated=self._is_truncated,
            is_monotonic=self._state.n_backward == 0 and self._state.n_jumps == 0,
            n_bytes_skipped=self._n_bytes_skipped,
            n_triggers=self._n_triggers,
            n_triggers_lost=self._n_triggers_lost,
        )

    def close(self) -> None:
        """Release the file, and keep what was learnt about where its times are; may be called twice."""
        if self._index is not None:
            self._index.save()
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

    def _find_bookmark(self, start_us: int) -> Bookmark | None:
        """The last place known from which all events at or after `start_us` can be read; None: the front."""
        return self._open_index().find(start_us)

    def _mark(self, position: int, *state: int) -> None:
        """Say between two blocks that reading could begin at `position` with `state`, both the reader's own."""
        if self._index is None and position < Index.STEP:
            return
        self._open_index().add(position, state, self._state)

    def _open_index(self) -> Index:
        if self._index is None:
            self._index = Index(self._path, self._info, self._variant)
        return self._index

    def _keep_triggers(self, triggers: Triggers) -> None:
        """Hold triggers, times as delivered, until somebody takes them."""
        if triggers.size == 0:
            return
        self._triggers.append(triggers)
        self._n_triggers += triggers.size
        self._n_triggers_waiting += triggers.size
        while self._n_triggers_waiting > _MAX_TRIGGERS and len(self._triggers) > 1:
            lost = self._triggers.pop(0).size
            self._n_triggers_waiting -= lost
            self._n_triggers_lost += lost

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
