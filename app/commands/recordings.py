"""Commands that read recordings: info, frames. Deliver what can be read, then say what was lost."""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.reading import AS_IT_IS, WHOLE, open_part
from app.source_options import ReadingFlags, SpanFlags
from app.targets import check_target, end_with, reason_of, removed_on_error
from app.terminal import Progress, complain, print_json, print_pairs, print_table, progress_bar
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import InputError, PartialInputError, SaccadeError, UsageError
from pipeline.schema.events import SensorSize

if TYPE_CHECKING:
    from pipeline.binning import TimeBinner
    from pipeline.recording import RecordingSummary
    from pipeline.sources.base import ReadReport, RecordedSource

_TABLE = ("path", "format", "encoding", "size", "events*", "seconds*", "events/s*", "warnings")


def info(*files: Path, json: bool = False, reading: ReadingFlags = AS_IT_IS, span: SpanFlags = WHOLE) -> int:
    """Describe recordings: format, sensor, events, times, damage.

    Parameters
    ----------
    files
        Recordings, or folders of them.
    json
        One JSON object a line.
    """
    from pipeline.recording import is_partial, summarise_source

    paths = list(_expand(files))
    codes, found = [0], []
    for path in paths:
        try:
            with open_part(path, reading, span) as recording, progress_bar(path.name) as progress:
                summary, report = summarise_source(recording, str(path), progress)
        except SaccadeError as error:
            complain(error)
            codes.append(error.exit_code)
            continue
        found.append((summary, report))
        if json:
            print_json(summary)
        if is_partial(report):
            complain(f"{path}: {reason_of(report)}")
            codes.append(PartialInputError.exit_code)
    if not json and len(paths) == 1 and found:
        print_pairs(_describe(*found[0]))
    elif not json and found:
        folder = _common_folder([summary.path for summary, _ in found])
        if folder:
            print(f"in {folder}")
        print_table(_TABLE, (_row(summary, folder) for summary, _ in found))
    # a file that cannot be read at all is worse than one that is damaged, whatever the numbers
    return InputError.exit_code if InputError.exit_code in codes else max(codes)


def frames(
    source: Path,
    target: Path,
    *,
    delta_t: str = "10ms",
    size: str | None = None,
    reading: ReadingFlags = AS_IT_IS,
    span: SpanFlags = WHOLE,
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
    force
        Overwrite the target.
    """
    from pipeline.recording import summarise_source

    delta_t_us = parse_duration_us(delta_t)
    if delta_t_us == 0:
        raise UsageError("a time bin of 0 us is too short; it must last at least 1 us")
    with open_part(source, reading, span) as recording:
        frame_size = _parse_size(size) if size else recording.info.sensor_size
        check_target(target, [source], force=force)
        with progress_bar(f"measuring {source.name}") as progress:
            summary, report = summarise_source(recording, str(source), progress)
        with progress_bar(f"writing {target.name}") as progress:
            n_time_bins = _write_frames(recording, summary, target, frame_size, delta_t_us, progress)
    print(f"{target}: {n_time_bins} frames of {frame_size.width}x{frame_size.height}, {delta_t_us} us each")
    end_with(str(source), report)
    return 0


def _write_frames(
    recording: "RecordedSource",
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
        with removed_on_error(target), zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
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


def _write_counts(recording: "RecordedSource", binner: "TimeBinner", stream: IO[bytes], progress: Progress) -> None:
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
        if not path.is_dir() or _is_bag(path):
            yield path
            continue
        visible = (found for found in sorted(path.rglob("*")) if not _is_hidden(found.relative_to(path)))
        candidates = (found for found in visible if _is_bag(found) or (found.is_file() and not _is_bag(found.parent)))
        inside = [found for found in candidates if is_recording(found)]
        if not inside:
            raise InputError(f"{path} holds no recording that can be read")
        yield from inside


def _is_bag(folder: Path) -> bool:
    """Whether this is a ROS 2 bag: a folder that is one recording."""
    return (folder / "metadata.yaml").is_file()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _parse_size(text: str) -> SensorSize:
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    if match is None or int(match[1]) == 0 or int(match[2]) == 0:
        raise UsageError(f"{text!r} is no size; write WIDTHxHEIGHT, such as 128x128")
    return SensorSize(int(match[1]), int(match[2]))


def _describe(summary: "RecordingSummary", report: "ReadReport") -> Iterator[tuple[str, object]]:
    yield "path", summary.path
    yield "format", f"{summary.format} ({summary.encoding})"
    yield "sensor", f"{summary.width} x {summary.height} pixels"
    share = f" ({100 * summary.on_events / summary.events:.1f} % ON)" if summary.events else ""
    yield "events", f"{summary.events}{share}"
    if report.n_triggers:
        yield "triggers", report.n_triggers
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
