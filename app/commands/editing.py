"""Commands that make recordings of recordings: convert, cut, merge. Deliver what can be read, then say what was lost."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from app.reading import AS_IT_IS, WHOLE, Reading, Span, open_part
from app.source_options import ReadingFlags, SpanFlags
from app.targets import AS_TOLD, Writing, WritingFlags, end_with, open_transfer
from app.terminal import progress_bar
from pipeline.schema.errors import UsageError

if TYPE_CHECKING:
    from pipeline.sources.base import RecordedSource
    from pipeline.sources.merge import MergedSource


def convert(
    source: Path,
    target: Path,
    *,
    reading: ReadingFlags = AS_IT_IS,
    span: SpanFlags = WHOLE,
    writing: WritingFlags = AS_TOLD,
) -> int:
    """Rewrite a recording in another format.

    Parameters
    ----------
    source
        The recording to read.
    target
        The recording to write.
    """
    return _copy(source, target, reading, span, writing)


def cut(
    source: Path,
    target: Path,
    *,
    reading: ReadingFlags = AS_IT_IS,
    span: SpanFlags = WHOLE,
    writing: WritingFlags = AS_TOLD,
) -> int:
    """Keep a part of a recording.

    Parameters
    ----------
    source
        The recording to read.
    target
        The recording to write.
    """
    if span == WHOLE:
        raise UsageError("say which part to keep, with --start, --end or both; convert copies the whole")
    return _copy(source, target, reading, span, writing)


def merge(
    *files: Path,
    reading: ReadingFlags = AS_IT_IS,
    writing: WritingFlags = AS_TOLD,
    align: bool = False,
    sequence: bool = False,
) -> int:
    """Join recordings of one sensor: their events in the order of time, or one recording after another.

    Parameters
    ----------
    files
        The recordings to read, and last the one to write.
    align
        Let all begin together, at 0, whatever their clocks said.
    sequence
        Put one after another, each shifted to begin 1 us after the last event of the one before.
    """
    from pipeline.sources.merge import MergedSource, MergeOrder

    *sources, target = files or [Path()]
    if len(sources) < 2:
        raise UsageError("name at least two recordings to read, and then the one to write")
    if align and sequence:
        raise UsageError("--align lets all begin together, --sequence one after another; choose one of them")
    order: MergeOrder = "sequence" if sequence else "start" if align else "time"
    with ExitStack() as stack:
        merged = MergedSource([stack.enter_context(open_part(source, reading)) for source in sources], order)
        _write(merged, target, sources, writing)
        end_with(f"merge into {target.name}", merged.report())
    return 0


def _copy(source: Path, target: Path, reading: Reading, span: Span, writing: Writing) -> int:
    """Write the wanted part of a recording, through its filters, and give the exit code."""
    with open_part(source, reading, span) as recording:
        _write(recording, target, [source], writing)
        end_with(str(source), recording.report())
    return 0


def _write(recording: "RecordedSource | MergedSource", target: Path, sources: list[Path], writing: Writing) -> None:
    sensor_size = recording.info.sensor_size
    with (
        open_transfer(target, sensor_size, sources, writing) as transfer,
        progress_bar(f"writing {target.name}") as progress,
    ):
        transfer.copy(recording, progress)
    print(f"{target}: {transfer.n_events} events")
    transfer.complain_of_lost(target)
