"""Recordings that others ask for on the control socket: where they may lie, when they end, what became of them.

Nothing here may stop the stream that is recorded: what cannot be written ends the recording, and the status says why.
"""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Literal

from pipeline.schema.clock import NS_PER_S, US_PER_S, host_ns
from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.schema.messages import RecordingReport, Reply, Request
from pipeline.service import Pulse
from pipeline.sinks.recorder import FLUSH_NS, RecordedClip, Recorder, Schedule, check_label, is_name, numbered_path
from pipeline.sinks.registry import choose_format, open_sink
from pipeline.sources.base import SourceInfo

# Longer ones are for `saccade record`, which its owner can see.
MAX_SECONDS = 3600.0
# A full disk harms more than this program.
_LEFT_FREE_BYTES = 200_000_000
_MAX_PARTS = 4
_ENDING = ".aedat4"
# Without events there is no sensor time: so much later the host's clock ends a recording of a camera.
_GRACE_NS = NS_PER_S
_State = Literal["running", "ended", "failed"]


class RequestedRecordings:
    """At most one recording at a time of what capture draws, below `folder`; without a folder, none.

    `answer` may be called at any time, `take` with every packet as the source gave it, `end` where the stream breaks off.
    A recording begins with the first event after the request.
    """

    def __init__(
        self, folder: Path | None, sensor_size: SensorSize, *, is_live: bool, clock: Callable[[], int] = host_ns
    ) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._size, self._is_live, self._clock = sensor_size, is_live, clock
        self._recorder: Recorder | None = None
        self._report: RecordingReport | None = None
        self._place, self._clip_us, self._deadline_ns = "", 0, 0
        self._disk_pulse = Pulse(FLUSH_NS)

    @property
    def report(self) -> RecordingReport | None:
        """The recording under way, or else the last one; None before the first."""
        return self._report if self._recorder is None else _report_of(self._recorder.clip, self._place, "running")

    def answer(self, request: Request) -> Reply:
        """Begin a recording, or end the one under way; refused with the reason, and the stream goes on."""
        try:
            return Reply(ok=True, text=self._stop() if request.value == 0 else self._begin(request))
        except (SaccadeError, OSError) as error:
            return Reply(ok=False, text=str(error))

    def take(self, events: Events, reached_us: int) -> None:
        """Write the next packet, which may be empty; `reached_us` is the sensor time that has passed."""
        recorder = self._recorder
        if recorder is None:
            return
        try:
            is_over = not recorder.take(events) or self._is_time_over(recorder, reached_us)
            if self._disk_pulse.is_due(self._clock()):
                self._check_disk()
        except (SaccadeError, OSError) as error:
            self._close("failed", str(error))
            return
        if is_over:
            self._close("ended", "")

    def end(self, why: str) -> RecordingReport | None:
        """Close the recording under way, if there is one, whole but shorter than was asked for; gives the report."""
        if self._recorder is not None:
            self._close("ended", why)
        return self._report

    def _begin(self, request: Request) -> str:
        seconds = request.value
        if self._folder is None:
            raise UsageError(
                "nobody may record here; start saccade replay or daemon with --record-to FOLDER to allow it below FOLDER"
            )
        if self._recorder is not None:
            raise UsageError(f"{self._place} is being recorded; wait until it is over, or end it with the value 0")
        if seconds is None or not 0 < seconds <= MAX_SECONDS:
            raise UsageError(f"record needs a value: seconds above 0 and at most {MAX_SECONDS:g}, or 0 to end a recording")
        self._check_disk()
        self._clip_us = max(1, round(seconds * US_PER_S))
        self._deadline_ns = self._clock() + self._clip_us * 1000 + _GRACE_NS
        self._recorder = self._open(reserve(self._folder, request.path, request.name))
        self._place = self._recorder.clip.path.relative_to(self._folder).as_posix()
        return self._place

    def _open(self, path: Path) -> Recorder:
        try:
            return Recorder(lambda _: (path, open_sink(path, self._size)), Schedule(1, self._clip_us), lambda _: None)
        except BaseException:
            path.unlink()
            raise

    def _stop(self) -> str:
        if self._recorder is None:
            raise UsageError("nothing is being recorded")
        self._close("ended", "as was asked for")
        return self._place

    def _close(self, state: _State, text: str) -> None:
        assert self._recorder is not None
        recorder, self._recorder = self._recorder, None
        try:
            recorder.close()
        except (SaccadeError, OSError) as error:
            state, text = "failed", text or str(error)
        self._report = _report_of(recorder.clip, self._place, state, text)

    def _is_time_over(self, recorder: Recorder, reached_us: int) -> bool:
        if self._is_live:
            return self._clock() > self._deadline_ns
        return recorder.start_us is not None and reached_us >= recorder.start_us + self._clip_us

    def _check_disk(self) -> None:
        assert self._folder is not None
        n_free = shutil.disk_usage(self._folder).free
        if n_free < _LEFT_FREE_BYTES:
            raise SaccadeError(f"the disk is full: {n_free} bytes are left; free some space and try again")


def allow_recordings(folder: str, info: SourceInfo) -> RequestedRecordings:
    """Recordings of this source below `folder`, which is made where it is missing; none where it is empty."""
    if not folder:
        return RequestedRecordings(None, info.sensor_size, is_live=info.is_live)
    # the usual writer, so that the first request does not hold up the stream
    import_module("pipeline.sinks.aedat4")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--record-to {folder}: {error.strerror}; name a folder") from None
    return RequestedRecordings(Path(folder), info.sensor_size, is_live=info.is_live)


def reserve(folder: Path, path: str, label: str) -> Path:
    """Make a new, empty file below `folder`, which must be resolved: `path`, or the next clip of `label` in the folder `path`.

    UsageError where that would lead out of `folder`, is there already, or has no known ending.
    """
    parts = path.split("/") if path else []
    if not (parts or label) or len(parts) > _MAX_PARTS or not all(is_name(part) for part in parts):
        raise UsageError(
            f"{path!r} is no path of a recording; give at most {_MAX_PARTS} names with '/' between them, below the folder of "
            "recordings, each beginning with a letter or a digit"
        )
    target = folder.joinpath(*parts)
    if label:
        target = numbered_path(target / check_label(label), label, _ENDING)
    elif not target.suffix:
        target = target.with_name(target.name + _ENDING)
    choose_format(target)
    place = target.relative_to(folder).as_posix()
    # a link inside the folder may lead out of it
    if not target.parent.resolve().is_relative_to(folder):
        raise UsageError(f"{place} leads out of the folder of recordings")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.open("xb").close()
    except FileExistsError:
        raise UsageError(f"{place} exists, or a file stands where a folder should; choose another name") from None
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror}") from None
    return target


def _report_of(clip: RecordedClip, place: str, state: _State, text: str = "") -> RecordingReport:
    return RecordingReport(place, state, clip.n_events, clip.first_us, clip.last_us, text)
