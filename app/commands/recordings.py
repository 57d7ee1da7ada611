"""Commands on recordings: info, convert, frames. Deliver what can be read, then say what was lost."""

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.durations import parse_duration_us
from app.terminal import Progress, complain, print_json, print_pairs, print_table, progress_bar
from pipeline.schema.errors import InputError, PartialInputError, SaccadeError, UsageError
from pipeline.schema.events import SensorSize

if TYPE_CHECKING:
    from pipeline.binning import TimeBinner
    from pipeline.recording import RecordingSummary
    from pipeline.sources.base import ReadReport
    from pipeline.sources.file import FileSource

_TABLE = ("path", "format", "encoding", "size", "events*", "seconds*", "events/s*", "warnings")


def info(*files: Path, json: bool = False, chip: str | None = None, stream: int | None = None) -> int:
    """Describe recordings: format, sensor, events, times, damage.

    Parameters
    ----------
    files
        Recordings, or folders of them.
    json
        One JSON object a line.
    chip
        Sensor of a recording that does not name its own: dvs128, davis346, gen41, or WIDTHxHEIGHT where the format allows.
    stream
        Event stream of an AEDAT 4 file, or source id of an AEDAT 3.x file.
    """
    from pipeline.recording import is_partial, summarise

    paths = list(_expand(files))
    codes, summaries = [0], []
    for path in paths:
        try:
            with progress_bar(path.name) as progress:
                summary, report = summarise(path, progress=progress, chip=chip, stream=stream)
        except SaccadeError as error:
            complain(error)
            codes.append(error.exit_code)
            continue
        summaries.append(summary)
        if json:
            print_json(summary)
        if is_partial(report):
            complain(f"{path}: {_reason(report)}")
            codes.append(PartialInputError.exit_code)
    if not json and len(paths) == 1 and summaries:
        print_pairs(_describe(summaries[0]))
    elif not json and summaries:
        folder = _common_folder([summary.path for summary in summaries])
        if folder:
            print(f"in {folder}")
        print_table(_TABLE, (_row(summary, folder) for summary in summaries))
    # a file that cannot be read at all is worse than one that is damaged, whatever the numbers
    return InputError.exit_code if InputError.exit_code in codes else max(codes)


def convert(  # noqa: PLR0913 # each is an option of the command
    source: Path,
    target: Path,
    *,
    format: str | None = None,  # noqa: A002 # the word users know
    compression: str | None = None,
    chip: str | None = None,
    stream: int | None = None,
    from_zero: bool = False,
    force: bool = False,
) -> int:
    """Rewrite a recording in another format.

    Parameters
    ----------
    source
        The recording to read.
    target
        The recording to write.
    format
        aedat2, aedat3 or aedat4; else told by the ending of the target (.aedat is AEDAT 3.1).
    compression
        none, lz4 or zstd (AEDAT 4 only; lz4 otherwise).
    chip
        Sensor of a recording that does not name its own: dvs128, davis346, gen41, or WIDTHxHEIGHT where the format allows.
    stream
        Event stream of an AEDAT 4 source, or source id of an AEDAT 3.x source.
    from_zero
        Shift all times so that the first event is at 0.
    force
        Overwrite the target.
    """
    from pipeline.sinks.registry import choose_format, open_sink
    from pipeline.sources.registry import open_recording

    choose_format(target, format)
    with open_recording(source, chip=chip, stream=stream) as recording:
        _check_target(source, target, force=force)
        sink = open_sink(target, recording.info.sensor_size, format, compression)
        n_events = 0
        with _removed_on_error(target), sink, progress_bar(f"writing {target.name}") as progress:
            shift_us = None
            for events in recording.packets():
                if from_zero and events.size:
                    shift_us = int(events["t"][0]) if shift_us is None else shift_us
                    events["t"] -= shift_us
                sink.write(events)
                n_events += events.size
                progress(recording.n_bytes_read, recording.n_bytes)
        print(f"{target}: {n_events} events")
        _end(source, recording.report())
    return 0


def frames(
    source: Path,
    target: Path,
    *,
    delta_t: str = "10ms",
    size: str | None = None,
    chip: str | None = None,
    stream: int | None = None,
    force: bool = False,
) -> int:
    """Bin a recording into spike frames: npz of counts (T,2,H,W) uint8, start_us (T,), delta_t_us.

    Parameters
    ----------
    source
        The recording to read.
    target
        The npz to write.
    delta_t
        Length of a time bin: 10ms, 50us, 1.5s.
    size
        WIDTHxHEIGHT of a frame; else that of the sensor.
    chip
        Sensor of a recording that does not name its own: dvs128, davis346, gen41, or WIDTHxHEIGHT where the format allows.
    stream
        Event stream of an AEDAT 4 source, or source id of an AEDAT 3.x source.
    force
        Overwrite the target.
    """
    from pipeline.recording import summarise_source
    from pipeline.sources.registry import open_recording

    delta_t_us = parse_duration_us(delta_t)
    if delta_t_us == 0:
        raise UsageError("a time bin of 0 us is too short; it must last at least 1 us")
    with open_recording(source, chip=chip, stream=stream) as recording:
        frame_size = _parse_size(size) if size else recording.info.sensor_size
        _check_target(source, target, force=force)
        with progress_bar(f"measuring {source.name}") as progress:
            summary, report = summarise_source(recording, str(source), progress)
        with _removed_on_error(target), progress_bar(f"writing {target.name}") as progress:
            n_time_bins = _write_frames(recording, summary, target, frame_size, delta_t_us, progress)
    print(f"{target}: {n_time_bins} frames of {frame_size.width}x{frame_size.height}, {delta_t_us} us each")
    _end(source, report)
    return 0


def _write_frames(
    recording: "FileSource",
    summary: "RecordingSummary",
    target: Path,
    frame_size: SensorSize,
    delta_t_us: int,
    progress: Progress,
) -> int:
    """Bin an already measured recording straight into the archive, one frame in memory at a time; gives how many there are."""
    import numpy as np

    from pipeline.binning import TimeBinner, check_memory, count_time_bins

    first_us = summary.first_us if summary.first_us is not None else 0
    n_time_bins = count_time_bins(first_us, summary.last_us, delta_t_us) if summary.last_us is not None else 0
    check_memory(n_time_bins, frame_size)
    try:
        # the fastest level: counts are nearly all zeros, and any level makes them small
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("counts.npy", "w", force_zip64=True) as stream:
                shape = (n_time_bins, 2, frame_size.height, frame_size.width)
                np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
                if n_time_bins:
                    binner = TimeBinner(recording.info.sensor_size, frame_size, delta_t_us)
                    _write_counts(recording, binner, stream, progress)
            start_us = first_us + np.arange(n_time_bins, dtype=np.int64) * delta_t_us
            for name, values in (("start_us", start_us), ("delta_t_us", np.int64(delta_t_us))):
                with archive.open(f"{name}.npy", "w") as stream:
                    np.lib.format.write_array(stream, np.asarray(values), allow_pickle=False)
    except OSError as error:
        raise SaccadeError(f"{target} cannot be written: {error.strerror or error}") from None
    return n_time_bins


def _write_counts(recording: "FileSource", binner: "TimeBinner", stream: IO[bytes], progress: Progress) -> None:
    for events in recording.packets():
        for frame in binner.push(events):
            stream.write(frame.counts.tobytes())
        progress(recording.n_bytes_read, recording.n_bytes)
    for frame in binner.flush():
        stream.write(frame.counts.tobytes())


def _expand(files: tuple[Path, ...]) -> Iterator[Path]:
    """The files named, and the recordings inside the folders named."""
    from pipeline.sources.registry import is_recording

    if not files:
        raise UsageError("name at least one recording, or a folder of them")
    for path in files:
        if not path.is_dir():
            yield path
            continue
        visible = (found for found in sorted(path.rglob("*")) if not _is_hidden(found.relative_to(path)))
        inside = [found for found in visible if found.is_file() and is_recording(found)]
        if not inside:
            raise InputError(f"{path} holds no recording that can be read")
        yield from inside


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _check_target(source: Path, target: Path, *, force: bool) -> None:
    """Raise UsageError rather than overwrite what the user did not mean to."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file in it")
    if not target.exists():
        return
    if target.samefile(source):
        raise UsageError(f"{target} is the recording itself; write to another file")
    if not force:
        raise UsageError(f"{target} exists; choose another name, or overwrite it with --force")


@contextmanager
def _removed_on_error(target: Path) -> Iterator[None]:
    """Leave no half-written file behind when the work is refused or broken off."""
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _end(source: Path, report: "ReadReport") -> None:
    """Complain about what was mended; PartialInputError when something was lost."""
    from pipeline.recording import is_partial

    if is_partial(report):
        raise PartialInputError(f"{source}: {_reason(report)}")
    for warning in report.warnings:
        complain(f"{source}: {warning}")


def _reason(report: "ReadReport") -> str:
    return "; ".join(report.warnings) or f"{report.n_bytes_skipped} bytes were not read"


def _parse_size(text: str) -> SensorSize:
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    if match is None or int(match[1]) == 0 or int(match[2]) == 0:
        raise UsageError(f"{text!r} is no size; write WIDTHxHEIGHT, such as 128x128")
    return SensorSize(int(match[1]), int(match[2]))


def _describe(summary: "RecordingSummary") -> Iterator[tuple[str, object]]:
    yield "path", summary.path
    yield "format", f"{summary.format} ({summary.encoding})"
    yield "sensor", f"{summary.width} x {summary.height} pixels"
    share = f" ({100 * summary.on_events / summary.events:.1f} % ON)" if summary.events else ""
    yield "events", f"{summary.events}{share}"
    if summary.first_us is not None:
        yield "first, last", f"{summary.first_us} us, {summary.last_us} us"
        yield "duration", f"{summary.duration_us / 1e6:.6f} s"
        yield "mean rate", f"{summary.mean_rate_hz:.0f} events/s"
    yield "monotonic", "yes" if summary.monotonic else "no"
    yield "truncated", "yes" if summary.truncated else "no"
    for warning in summary.warnings:
        yield "warning", warning


def _common_folder(paths: list[str]) -> str:
    """The deepest folder that holds all of these, empty when that is none, or where the user stands."""
    if len({Path(path).is_absolute() for path in paths}) > 1:
        return ""
    folder = os.path.commonpath([Path(path).parent for path in paths])
    return "" if folder in ("", os.sep) else folder


def _row(summary: "RecordingSummary", folder: str) -> tuple[object, ...]:
    return (
        os.path.relpath(summary.path, folder) if folder else summary.path,
        summary.format,
        summary.encoding,
        f"{summary.width}x{summary.height}",
        summary.events,
        f"{summary.duration_us / 1e6:.3f}",
        f"{summary.mean_rate_hz:.0f}",
        "; ".join(summary.warnings),
    )
