"""What can be said of a recording after reading it once from front to end."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import msgspec
import numpy as np

from pipeline.schema.clock import US_PER_S
from pipeline.sources.base import ReadReport, RecordedSource
from pipeline.sources.registry import SourceOptions, open_recording


class RecordingSummary(msgspec.Struct, frozen=True):
    """One recording, as `saccade info --json` prints it.

    Times are in microseconds of sensor time, as delivered (after unwrapping); they are None without events.
    `mean_rate_hz` is events over duration, 0 where there is no duration. `monotonic` tells whether the file's own times never
    ran backwards, `truncated` whether its end is missing.
    """

    path: str
    format: str
    encoding: str
    width: int
    height: int
    events: int
    on_events: int
    first_us: int | None
    last_us: int | None
    duration_us: int
    mean_rate_hz: float
    monotonic: bool
    truncated: bool
    warnings: list[str]


def summarise(
    path: str | Path, *, progress: Callable[[int, int], None] | None = None, **options: Unpack[SourceOptions]
) -> tuple[RecordingSummary, ReadReport]:
    """Read a recording to its end; gives the summary and the source's report. InputError when nothing can be read.

    `progress` is called with the bytes read so far and the bytes in all.
    """
    with open_recording(path, **options) as source:
        return summarise_source(source, str(path), progress)


def summarise_source(
    source: RecordedSource, path: str, progress: Callable[[int, int], None] | None = None
) -> tuple[RecordingSummary, ReadReport]:
    """Read an open recording to its end, from its first event; it can be read again afterwards."""
    n_events = n_on = 0
    first_us = last_us = None
    for events in source.packets():
        if events.size:
            first_us = int(events["t"][0]) if first_us is None else first_us
            last_us = int(events["t"][-1])
            n_events += events.size
            n_on += int(np.count_nonzero(events["p"]))
        if progress is not None:
            progress(source.n_bytes_read, source.n_bytes)
    report, info = source.report(), source.info
    duration_us = last_us - first_us if first_us is not None and last_us is not None else 0
    summary = RecordingSummary(
        path=path,
        format=info.format,
        encoding=info.encoding,
        width=info.sensor_size.width,
        height=info.sensor_size.height,
        events=n_events,
        on_events=n_on,
        first_us=first_us,
        last_us=last_us,
        duration_us=duration_us,
        mean_rate_hz=n_events * US_PER_S / duration_us if duration_us else 0.0,
        monotonic=report.is_monotonic,
        truncated=report.is_truncated,
        warnings=list(report.warnings),
    )
    return summary, report


def is_partial(report: ReadReport) -> bool:
    """Whether some of the recording is missing, so that a command that used it ends with exit code 4."""
    return report.is_truncated or report.n_bytes_skipped > 0
