"""What commands on recordings write: never onto what the user did not mean, nothing half-done left, every loss said."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter

from app.terminal import Progress, complain
from pipeline.schema.errors import PartialInputError, UsageError
from pipeline.schema.events import SensorSize, Triggers

if TYPE_CHECKING:
    from pipeline.sinks.file import FileSink
    from pipeline.sinks.triggers import TriggerTable
    from pipeline.sources.base import ReadReport, RecordedSource
    from pipeline.sources.merge import MergedSource


@dataclass(frozen=True)
class Writing:
    """How a recording is written.

    Parameters
    ----------
    format
        aedat2, aedat3, aedat4, evt2, evt3, dat, hdf5, npz or text; else told by the ending of the target (.aedat is AEDAT 3.1).
    compression
        none, lz4 or zstd (AEDAT 4 only; lz4 otherwise).
    from_zero
        Shift all times so that the first event is at 0.
    triggers
        Write the external triggers to this CSV (t_us,id,p).
    force
        Overwrite the target.
    """

    format: str | None = None
    compression: str | None = None
    from_zero: bool = False
    triggers: Path | None = None
    force: bool = False


WritingFlags = Annotated[Writing, Parameter(name="*")]
AS_TOLD = Writing()


class Transfer:
    """Copies recordings to a sink, and the triggers that come with them to wherever there is room for them."""

    def __init__(self, sink: "FileSink", table: "TriggerTable | None", *, from_zero: bool) -> None:
        self.n_events = 0
        self.n_triggers_lost = 0
        self._sink, self._table = sink, table
        self._shift_us: int | None = None if from_zero else 0
        self._refusal = ""

    def copy(self, recording: "RecordedSource | MergedSource", progress: Progress) -> None:
        """Copy everything, packet by packet."""
        for events in recording.packets():
            if self._shift_us is None and events.size:
                self._shift_us = int(events["t"][0])
            if self._shift_us:
                events["t"] -= self._shift_us
            self._sink.write(events)
            self.n_events += events.size
            # triggers before the first event wait in their source until the shift is known
            if self._shift_us is not None:
                self._write_triggers(recording.take_triggers())
            progress(recording.n_bytes_read, recording.n_bytes)
        self._write_triggers(recording.take_triggers())

    def _write_triggers(self, triggers: Triggers) -> None:
        if triggers.size == 0:
            return
        triggers["t"] -= self._shift_us or 0
        if self._table is not None:
            self._table.write(triggers)
        if self._sink.holds_triggers:
            # times below zero fit into hardly any format: a trigger before the event that --from-zero puts at 0
            is_early = triggers["t"] < 0 if self._shift_us else np.zeros(triggers.size, dtype=bool)
            try:
                self._sink.write_triggers(triggers[~is_early])
                triggers = triggers[is_early]
            except UsageError as error:
                # events matter more: a trigger that the format has no word for must not stop them
                self._refusal = str(error)
        self.n_triggers_lost += triggers.size if self._table is None else 0

    def complain_of_lost(self, target: Path) -> None:
        """Say how many triggers found no room, and how to keep them."""
        if self.n_triggers_lost:
            why = f" ({self._refusal})" if self._refusal else ""
            complain(f"{self.n_triggers_lost} triggers not written to {target.name}{why}; keep them with --triggers OUT.csv")


@contextmanager
def open_transfer(target: Path, sensor_size: SensorSize, sources: Sequence[Path], writing: Writing) -> Iterator[Transfer]:
    """A transfer to a new recording (and table of triggers), both removed again when the block ends in an error."""
    from pipeline.sinks.registry import open_sink
    from pipeline.sinks.triggers import TriggerTable

    check_target(target, sources, force=writing.force)
    if writing.triggers is not None:
        check_target(writing.triggers, [*sources, target], force=writing.force)
    with ExitStack() as stack:
        sink = open_sink(target, sensor_size, writing.format, writing.compression)
        stack.enter_context(removed_on_error(target))
        stack.enter_context(sink)
        table = None
        if writing.triggers is not None:
            table = TriggerTable(writing.triggers)
            stack.enter_context(removed_on_error(writing.triggers))
            stack.enter_context(table)
        yield Transfer(sink, table, from_zero=writing.from_zero)


def check_target(target: Path, sources: Sequence[Path], *, force: bool) -> None:
    """Raise UsageError rather than overwrite what the user did not mean to."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file in it")
    for source in sources:
        if target == source or (target.exists() and source.exists() and target.samefile(source)):
            raise UsageError(
                f"{target} is {'the recording itself' if target.exists() else 'named twice'}; write to another file"
            )
    if target.exists() and not force:
        raise UsageError(f"{target} exists; choose another name, or overwrite it with --force")


@contextmanager
def removed_on_error(target: Path) -> Iterator[None]:
    """Leave no half-written file behind when the work is refused or broken off."""
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def end_with(what: str, report: "ReadReport") -> None:
    """Complain about what was mended; PartialInputError when something was lost. `what` names the source."""
    from pipeline.recording import is_partial

    if is_partial(report):
        raise PartialInputError(f"{what}: {reason_of(report)}")
    for warning in report.warnings:
        complain(f"{what}: {warning}")


def reason_of(report: "ReadReport") -> str:
    """Why a recording could not be read whole."""
    return "; ".join(report.warnings) or f"{report.n_bytes_skipped} bytes were not read"
