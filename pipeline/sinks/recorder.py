"""A stream of events written as one clip after another, so that a crash costs no more than the last quarter of a second.

Clips are cut by sensor time; knows neither where events come from nor who asked.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.schema.clock import NS_PER_S, host_ns
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events
from pipeline.service import Pulse
from pipeline.sinks.file import FileSink
from pipeline.sinks.registry import Format

# Longest host time that events may wait in this process.
FLUSH_NS = NS_PER_S // 4
_MAX_NAME_CHARACTERS = 64
_NUMBER_DIGITS = 3
_ENDINGS: dict[Format, str] = {
    "aedat2": ".aedat2", "aedat3": ".aedat", "aedat4": ".aedat4", "evt2": ".raw", "evt3": ".raw", "dat": ".dat",
    "hdf5": ".h5", "npz": ".npz", "text": ".csv",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many clips, how long each is and the time between two, in sensor time; no `clip_us`: one clip without end."""

    n_clips: int = 1
    clip_us: int | None = None
    pause_us: int = 0

    def __post_init__(self) -> None:
        if self.n_clips < 1:
            raise UsageError(f"--clips {self.n_clips}: record at least one")
        if self.clip_us is not None and self.clip_us < 1:
            raise UsageError("a clip of no time; give --seconds above 0")
        if self.pause_us < 0:
            raise UsageError(f"a pause of {self.pause_us} us; give 0 or more")
        if self.clip_us is None and self.n_clips > 1:
            raise UsageError(f"--clips {self.n_clips} needs --seconds, the length of each")


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """A clip that was written: times are sensor time, None without events."""

    path: Path
    n_events: int
    first_us: int | None
    last_us: int | None


class Recorder:
    """Writes what it is given to the clips of a schedule; used in a `with` block, which closes the clip under way whole.

    `open_clip` opens the sink of clip 0, 1, ...; `finished` is told of each clip once it is closed. The first clip begins with
    the first event, each other a pause after the end of the one before; events between clips are not kept.
    """

    def __init__(
        self,
        open_clip: Callable[[int], tuple[Path, FileSink]],
        schedule: Schedule,
        finished: Callable[[RecordedClip], None],
        clock: Callable[[], int] = host_ns,
    ) -> None:
        self.n_clips_done = 0
        self._is_closed = False
        self._open_clip, self._schedule, self._finished, self._clock = open_clip, schedule, finished, clock
        self._path, self._sink = open_clip(0)
        self._pulse = Pulse(FLUSH_NS)
        self._start_us: int | None = None
        self._span: tuple[int | None, int | None] = (None, None)
        self._n_events = 0

    @property
    def is_done(self) -> bool:
        """Whether all clips are written."""
        return self._is_closed or self.n_clips_done >= self._schedule.n_clips

    @property
    def start_us(self) -> int | None:
        """Sensor time at which the clip under way or the next begins; None before the first event."""
        return self._start_us

    @property
    def clip(self) -> RecordedClip:
        """The clip under way, as far as it is written, or else the last one."""
        return RecordedClip(self._path, self._n_events, *self._span)

    def take(self, events: Events) -> bool:
        """Take the next packet, which may be empty; False once all clips are written."""
        if self._start_us is None and events.size:
            self._start_us = int(events["t"][0])
        while events.size and not self.is_done:
            events = self._write(events[_first_at(events, self._start_us) :])
        if not self.is_done and self._pulse.is_due(self._clock()):
            self._sink.flush()
        return not self.is_done

    def end_clip(self) -> None:
        """Close the clip under way as it is; the next begins a pause later, or is the last."""
        if self.is_done:
            return
        self._sink.close()
        self.n_clips_done += 1
        self._finished(self.clip)
        if self.n_clips_done == self._schedule.n_clips:
            return
        self._path, self._sink = self._open_clip(self.n_clips_done)
        self._n_events, self._span = 0, (None, None)
        if self._start_us is not None:
            self._start_us += (self._schedule.clip_us or 0) + self._schedule.pause_us

    def close(self) -> None:
        """Close the clip under way whole and write no other; a clip that has not begun is removed again."""
        if self.is_done:
            return
        self._is_closed = True
        self._sink.close()
        if self._n_events > 0 or self.n_clips_done == 0:
            self._finished(self.clip)
        else:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Give the recorder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _write(self, events: Events) -> Events:
        """Write what belongs to the clip under way and give what comes after it."""
        if events.size == 0:
            return events
        clip_us = self._schedule.clip_us
        assert self._start_us is not None  # set by the first event
        n = events.size if clip_us is None else _first_at(events, self._start_us + clip_us)
        if n:
            self._sink.write(events[:n])
            first_us = self._span[0] if self._span[0] is not None else int(events["t"][0])
            self._span = (first_us, int(events["t"][n - 1]))
            self._n_events += n
        if n < events.size:
            self.end_clip()
        return events[n:]


def check_label(label: str) -> str:
    """Give the label; UsageError when it cannot be the name of a class and of a folder."""
    if not is_name(label):
        raise UsageError(
            f"{label!r} is no label; begin with a letter or a digit, go on with letters, digits, spaces, '_', '-', '+', '.', "
            f"at most {_MAX_NAME_CHARACTERS} in all"
        )
    return label


def is_name(text: str) -> bool:
    """Whether this can be the name of a file or folder anywhere, and leads nowhere else."""
    is_fine = bool(re.fullmatch(r"[^\W_][\w .+-]*", text)) and len(text) <= _MAX_NAME_CHARACTERS
    return is_fine and text == text.strip() and not text.endswith(".")


def ending_of(name: Format) -> str:
    """The ending of file names in a format."""
    return _ENDINGS[name]


def numbered_path(folder: Path, stem: str, ending: str) -> Path:
    """The next free `STEM-001.ENDING` in a folder: one more than the highest number there, whatever its ending."""
    pattern = re.compile(re.escape(stem) + r"-(\d{1,9})(\..*)?")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return folder / f"{stem}-{max(numbers, default=0) + 1:0{_NUMBER_DIGITS}d}{ending}"


def _first_at(events: Events, t_us: int | None) -> int:
    """Index of the first event at or after `t_us`."""
    return 0 if t_us is None else int(np.searchsorted(events["t"], t_us))
