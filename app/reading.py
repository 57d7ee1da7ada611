"""What every command that reads events may be told about them, as plain values, and the one way to open what they ask for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import UsageError

if TYPE_CHECKING:
    from pipeline.sources.base import RecordedSource
    from pipeline.sources.registry import SourceOptions


@dataclass(frozen=True)
class Reading:
    """How recordings are read.

    Parameters
    ----------
    chip
        Sensor of a recording that does not name its own: dvs128, davis346, gen41, or WIDTHxHEIGHT where the format allows.
    stream
        Event stream of an AEDAT 4 file, or source id of an AEDAT 3.x file.
    orientation
        Who wrote an AEDAT 1 or 2 file, as programs disagree on its axes: jaer, inivation, tonic or spikingjelly.
    source_format
        What a file is whose content does not tell: aedat1, dat, bin40 or text.
    columns
        Order and units of the columns of text, such as t_s,x,y,p.
    topic
        Topic of a ROS bag that holds several.
    filter
        What to do with the events, such as background=2ms or roi=10,20,64x64; may be repeated, and then works in this order.
        Any wrong name lists them all.
    """

    chip: str | None = None
    stream: int | None = None
    orientation: str | None = None
    source_format: str | None = None
    columns: str | None = None
    topic: str | None = None
    filter: tuple[str, ...] | None = None

    def options(self) -> "SourceOptions":
        """The part that readers understand."""
        return {
            "chip": self.chip,
            "stream": self.stream,
            "orientation": self.orientation,
            "format": self.source_format,
            "columns": self.columns,
            "topic": self.topic,
        }


@dataclass(frozen=True)
class Span:
    """Which part of a recording is read.

    Parameters
    ----------
    start
        Where to begin, after the first event (1.5s, 200ms).
    end
        Where to end, after the first event.
    """

    start: str | None = None
    end: str | None = None

    def bounds_us(self) -> tuple[int, int | None]:
        """Start and end in microseconds after the first event; UsageError when nothing lies between them."""
        start_us = parse_duration_us(self.start) if self.start else 0
        end_us = parse_duration_us(self.end) if self.end else None
        if end_us is not None and end_us <= start_us:
            raise UsageError(f"--start {self.start or '0s'} and --end {self.end} leave nothing; the end comes after the start")
        return start_us, end_us


AS_IT_IS = Reading()
WHOLE = Span()


def open_part(path: Path, reading: Reading = AS_IT_IS, span: Span = WHOLE) -> "RecordedSource":
    """The wanted part of a recording, behind its filters."""
    return open_stretch(path, reading, *span.bounds_us())


def open_stretch(path: Path, reading: Reading, start_us: int, end_us: int | None) -> "RecordedSource":
    """The events from `start_us` to before `end_us` after the first event, None for the end, behind the filters."""
    from pipeline.sources.registry import open_recording
    from pipeline.sources.stretch import StretchSource

    source: RecordedSource = open_recording(path, **reading.options())
    if start_us > 0 or end_us is not None:
        source = StretchSource(source, start_us, end_us)
    return filtered(source, reading.filter)


def find_first_event_us(path: Path, reading: Reading) -> int | None:
    """Sensor time of the first event of a recording, before any filter; None without events."""
    from pipeline.sources.registry import open_recording
    from pipeline.sources.stretch import find_first_us

    with open_recording(path, **reading.options()) as source:
        return find_first_us(source)


def filtered(source: "RecordedSource", filters: tuple[str, ...] | None) -> "RecordedSource":
    """The recording behind these filters; closed when they are refused."""
    if not filters:
        return source
    from pipeline.filters import parse_filters
    from pipeline.sources.filtered import FilteredSource

    try:
        return FilteredSource(source, parse_filters(filters))
    except UsageError:
        source.close()
        raise
