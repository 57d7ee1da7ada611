"""The command that writes what a source sends: record. Heavy imports happen inside."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from app.reading import AS_IT_IS, Reading
from app.source_options import ReadingFlags
from app.targets import check_target, end_with
from app.terminal import complain, print_json
from pipeline.schema.clock import NS_PER_S, US_PER_S, host_ns
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.messages import Request

if TYPE_CHECKING:
    from pipeline.filters import FilterChain
    from pipeline.schema.events import Events
    from pipeline.sinks.file import FileSink
    from pipeline.sinks.recorder import RecordedClip, Recorder, Schedule
    from pipeline.sources.base import EventSource

_INTERRUPTED = 130
_COUNTDOWN_S = 3
# The camera that is there; cameras that are not built yet refuse by themselves.
_DEFAULT_SOURCE = "camera:"


@dataclass(frozen=True)
class ClipOptions:
    """What is recorded, and as what.

    Parameters
    ----------
    label
        The name of what is shown: OUT is then a folder, and clips go to OUT/LABEL/LABEL-001.aedat4 and on.
    seconds
        Length of a clip in sensor time (2s, 500ms; a bare number is seconds); else until Ctrl-C or the end of the source.
    clips
        Clips in a row.
    pause
        Time between two clips.
    format
        aedat2, aedat3, aedat4, evt2, evt3, dat, hdf5, npz or text; else told by the ending of OUT, AEDAT 4 where it has none.
    compression
        none, lz4 or zstd (AEDAT 4 only; lz4 otherwise).
    force
        Overwrite OUT.
    """

    label: str | None = None
    seconds: str | None = None
    clips: int = 1
    pause: str = "1s"
    format: str | None = None
    compression: str | None = None
    force: bool = False


_CLIP_OPTIONS = ClipOptions()


class ClipLine(msgspec.Struct, frozen=True):
    """One recorded clip, as `saccade record --json` prints it; times are sensor time, None without events."""

    path: str
    label: str | None
    events: int
    first_us: int | None
    last_us: int | None
    duration_us: int
    source: str


def record(
    out: Path,
    *,
    source: str | None = None,
    at: str | None = None,
    clip: Annotated[ClipOptions, Parameter(name="*")] = _CLIP_OPTIONS,
    reading: ReadingFlags = AS_IT_IS,
    json: bool = False,
) -> int:
    """Write the events of a source to a recording; what was received is kept even when this program is killed.

    Parameters
    ----------
    out
        The recording to write, or with --label the folder of recordings per label.
    source
        Where events come from: synthetic:gestures, a recording, or camera: (the first one found).
    at
        Let the Saccade that publishes on this address record what it sees, as its camera sends it: OUT is then below the folder
        that was given to it with --record-to.
    json
        Print one JSON object a clip.
    """
    if at is not None:
        if source is not None or reading != AS_IT_IS:
            raise UsageError("--at records what another Saccade sees; leave --source and the flags that say how to read it out")
        return _record_there(out, at, clip, is_json=json)
    return _record_here(out, source or _DEFAULT_SOURCE, clip, reading, is_json=json)


def _record_here(out: Path, source: str, clip: ClipOptions, reading: Reading, *, is_json: bool) -> int:
    from pipeline.filters import parse_filters
    from pipeline.service import signals_set
    from pipeline.sinks.recorder import Recorder
    from pipeline.sources.registry import open_source

    schedule = _schedule(clip)
    place = _placer(out, clip, schedule)
    chain = parse_filters(reading.filter or ())
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source, **reading.options()))
        stop = stack.enter_context(signals_set(Event(), *_endings()))
        size = chain.output_size(opened.info.sensor_size)
        packets = _filtered(opened, chain)
        if opened.info.is_live:
            _count_down(packets, stop)

        def open_clip(index: int) -> "tuple[Path, FileSink]":
            from pipeline.sinks.registry import open_sink

            path, name = place(index)
            return path, open_sink(path, size, name, clip.compression)

        report = _reporter(clip.label, opened.info.name, is_json=is_json)
        with Recorder(open_clip, schedule, report) as recorder:
            is_broken_off = _draw(packets, recorder, schedule, stop, is_live=opened.info.is_live)
        end_with(source, opened.report())
    return _INTERRUPTED if is_broken_off else 0


def _record_there(out: Path, at: str, clip: ClipOptions, *, is_json: bool) -> int:
    """Ask a running Saccade for each clip, and say what it says of them; paths are below its folder."""
    from app.requests import record_there
    from pipeline.service import signals_set
    from pipeline.sinks.recorder import RecordedClip
    from pipeline.sinks.requested import MAX_SECONDS

    schedule = _schedule(clip)
    if clip.format is not None or clip.compression is not None or clip.force:
        raise UsageError("with --at the ending of OUT tells the format, and nothing is overwritten; leave the other flags out")
    if schedule.n_clips > 1 and clip.label is None:
        raise UsageError("--clips with --at needs --label, which numbers them")
    path = "" if clip.label is not None and out == Path() else out.as_posix()
    seconds = MAX_SECONDS if schedule.clip_us is None else schedule.clip_us / US_PER_S
    tell = _reporter(clip.label, at, is_json=is_json)
    with signals_set(Event(), *_endings()) as stop:
        for index in range(schedule.n_clips):
            if index > 0 and stop.wait(schedule.pause_us / US_PER_S):
                break
            report = record_there(at, Request("record", seconds, name=clip.label or "", path=path), stop)
            if report.text and not stop.is_set():
                complain(f"{report.path} is shorter than was asked for: {report.text}")
            tell(RecordedClip(Path(report.path), report.n_events, report.first_us, report.last_us))
        # without a length, Ctrl-C is how a recording ends
        return _INTERRUPTED if stop.is_set() and schedule.clip_us is not None else 0


def _draw(packets: "Iterator[Events]", recorder: "Recorder", schedule: "Schedule", stop: Event, *, is_live: bool) -> bool:
    """Draw until the schedule is done, the source ends or `stop` is set; whether less than asked for was recorded by `stop`."""
    begun_ns, n_done = host_ns(), 0
    for events in packets:
        if stop.is_set():
            # without a length, Ctrl-C is how a recording ends
            return schedule.clip_us is not None
        if not recorder.take(events):
            return False
        if recorder.n_clips_done > n_done:
            begun_ns, n_done = host_ns(), recorder.n_clips_done
        if is_live and _is_silent_too_long(schedule, begun_ns):
            # a scene without events has no sensor time; the host's clock ends its clip
            recorder.end_clip()
    return False


def _is_silent_too_long(schedule: "Schedule", begun_ns: int) -> bool:
    if schedule.clip_us is None:
        return False
    grace_us = US_PER_S
    return (host_ns() - begun_ns) // 1000 > schedule.clip_us + schedule.pause_us + grace_us


def _filtered(source: "EventSource", chain: "FilterChain") -> "Iterator[Events]":
    states = chain.start(source.info.sensor_size)
    for packet in source.packets():
        events, states = chain.apply(packet, states)
        yield events


def _schedule(clip: ClipOptions) -> "Schedule":
    from pipeline.sinks.recorder import Schedule

    clip_us = None if clip.seconds is None else _seconds_us(clip.seconds)
    return Schedule(clip.clips, clip_us, _seconds_us(clip.pause))


def _seconds_us(text: str) -> int:
    """A duration; a bare number is seconds."""
    return parse_duration_us(text if text.strip()[-1:].isalpha() else f"{text.strip()}s")


def _placer(out: Path, clip: ClipOptions, schedule: "Schedule") -> "Callable[[int], tuple[Path, str]]":
    """From the number of a clip to its path and format; UsageError at once where that cannot be."""
    from pipeline.sinks.recorder import check_label, ending_of, numbered_path
    from pipeline.sinks.registry import choose_format

    if clip.label is not None:
        label = check_label(clip.label)
        if out.is_file():
            raise UsageError(f"{out} is a file; with --label name the folder that holds one folder per label")
        wanted = choose_format(out, clip.format or "aedat4")

        def place_labelled(_: int) -> tuple[Path, str]:
            return numbered_path(_made(out / label), label, ending_of(wanted)), wanted

        return place_labelled
    name = choose_format(out, clip.format or (None if out.suffix else "aedat4"))
    if schedule.n_clips == 1:
        check_target(out, [], force=clip.force)
        return lambda _: (out, name)
    return lambda _: (numbered_path(_made(out.parent), out.stem, out.suffix or ending_of(name)), name)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}; choose another place") from None
    return folder


def _reporter(label: str | None, source: str, *, is_json: bool) -> "Callable[[RecordedClip], None]":
    def report(clip: "RecordedClip") -> None:
        span_us = 0 if clip.first_us is None or clip.last_us is None else clip.last_us - clip.first_us
        if is_json:
            print_json(ClipLine(str(clip.path), label, clip.n_events, clip.first_us, clip.last_us, span_us, source))
        else:
            print(f"{clip.path}: {clip.n_events} events, {span_us / US_PER_S:.3f} s", flush=True)
        if clip.n_events == 0:
            complain(f"{clip.path} holds no events; did anything move before the camera?")

    return report


def _count_down(packets: "Iterator[Events]", stop: Event) -> None:
    """Let a person get ready, on a terminal; what the camera sends meanwhile is not kept."""
    if not sys.stderr.isatty():
        return
    deadline_ns, told = host_ns() + _COUNTDOWN_S * NS_PER_S, _COUNTDOWN_S + 1
    for _ in packets:
        left = -(-(deadline_ns - host_ns()) // NS_PER_S)
        if left <= 0 or stop.is_set():
            complain("recording")
            return
        if left < told:
            told = left
            complain(f"recording in {left}")
    raise SaccadeError("the source ended before the recording began")


def _endings() -> list[signal.Signals]:
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
