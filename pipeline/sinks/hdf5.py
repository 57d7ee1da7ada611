"""Writes HDF5 as Prophesee's tools do: `CD/events` in their compression, `EXT_TRIGGER/events`, an index every 2000 us for both.

The file is written in HDF5's mode for one writer and many readers, in which whatever was flushed can be read while the file
grows and after the writer was killed; files so left open are opened by `h5py.File(path, swmr=True)`. HDF5 1.10 or newer reads
them. Every few chunks are flushed unasked. A chunk that is flushed before it is full takes up room twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sinks.ecf import encode_chunk
from pipeline.sinks.file import FileSink
from pipeline.sources.ecf import FILTER_ID
from pipeline.sources.hdf5_tables import EVENT_RECORD, TRIGGER_RECORD, load_h5py

CHUNK_EVENTS = 1 << 14
INDEX_US = 2000
_INDEX_RECORD = np.dtype([("id", "<u8"), ("ts", "<i8")])
# Coordinates have 11 bits in every form of the compression.
_MAX_SIDE = 1 << 11
_MAX_TIME_US = 1 << 60
# A flush costs as much as encoding a fifth of a chunk.
_CHUNKS_PER_FLUSH = 4
# A pause that needs more entries than these (two hours) ends the index, but not the recording.
_MAX_PAUSE_ENTRIES = 1 << 22
_FAILURES = (OSError, RuntimeError, ValueError)


class _Index:
    """Where the periods of `INDEX_US` begin: entry k is the first record of the last period before k that has any.

    Before the first such record stands (0, -1). `entries` holds those not yet written; the last one is known when all is over.
    """

    def __init__(self) -> None:
        self.entries: list[npt.NDArray[Any]] = []
        self._latest = np.array([(0, -1)], dtype=_INDEX_RECORD)
        self._last_period = -1
        self._n_records = 0
        self._is_over = False

    def add(self, t: npt.NDArray[np.int64]) -> None:
        """Take the times of the next records, int64 (n,), in us since the beginning, not falling."""
        periods = np.maximum.accumulate(np.maximum(t // INDEX_US, max(self._last_period, 0)))
        firsts = np.flatnonzero(np.diff(periods, prepend=self._last_period) > 0)
        self._n_records += t.size
        if firsts.size == 0 or self._is_over:
            return
        steps = np.diff(periods[firsts], prepend=self._last_period)
        self._is_over = bool(steps.max() > _MAX_PAUSE_ENTRIES)
        if self._is_over:
            return
        found = np.empty(firsts.size, dtype=_INDEX_RECORD)
        # triggers may come before the first event; negative times are those of empty entries
        found["id"], found["ts"] = self._n_records - t.size + firsts, np.maximum(t[firsts], 0)
        self.entries.append(np.repeat(np.concatenate([self._latest, found[:-1]]), steps))
        self._latest, self._last_period = found[-1:], int(periods[-1])

    def finish(self) -> None:
        """Add the last entry."""
        if self._last_period >= 0 and not self._is_over:
            self.entries.append(self._latest)


@dataclass(frozen=True, slots=True)
class _Group:
    """A kind of record in the file: its dataset (low-level, for chunks), the dataset of its index, and the index."""

    records: Any
    index_rows: Any
    index: _Index


class Hdf5Sink(FileSink):
    """An HDF5 recording being written; the last chunk is rewritten at each flush until it is full."""

    holds_triggers = True

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        if max(sensor_size) > _MAX_SIDE:
            width, height = sensor_size
            raise UsageError(f"Prophesee's HDF5 has 11 bits for a coordinate; a sensor of {width}x{height} pixels does not fit")
        h5py = load_h5py()
        super().__init__(path, sensor_size)
        self._begin_us: int | None = None
        self._chunk = np.empty(CHUNK_EVENTS, dtype=EVENT_RECORD)
        self._n_in_chunk = self._n_flushed_of_chunk = self._n_chunks = self._n_unflushed = 0
        try:
            self._file = h5py.File(path, "w", libver=("v110", "v110"), locking=False)
            self._events = self._create("CD", EVENT_RECORD, is_packed=True)
            self._triggers = self._create("EXT_TRIGGER", TRIGGER_RECORD, is_packed=False)
            self._name_attributes()
            self._file.flush()
        except _FAILURES as error:
            self._handle.close()
            raise UsageError(f"{path} cannot be written: {error}") from None

    def write_triggers(self, triggers: Triggers) -> None:
        """Take external triggers, in the order of the source."""
        if triggers.size == 0:
            return
        self._check_span(int(triggers["t"].min()), int(triggers["t"].max()))
        records = np.zeros(triggers.size, dtype=TRIGGER_RECORD)
        for name in ("t", "id", "p"):
            records[name] = triggers[name]
        self._start(int(triggers["t"][0]))
        self._triggers.index.add(triggers["t"] - self._begin_us)
        try:
            self._append(self._file["EXT_TRIGGER/events"], records)
        except _FAILURES as error:
            raise self._failure(error) from None

    def flush(self) -> None:
        """Write the chunk begun, and hand everything to the operating system."""
        if self._begin_us is None:
            return
        try:
            if self._n_flushed_of_chunk < self._n_in_chunk:
                self._write_chunk()
            for group in (self._events, self._triggers):
                self._write_index(group)
            self._file.flush()
        except _FAILURES as error:
            raise self._failure(error) from None
        self._n_unflushed = 0

    def close(self) -> None:
        """Flush and finish; may be called twice."""
        try:
            super().close()
        finally:
            self._file.close()

    def _check_times(self, events: Events) -> None:
        self._check_span(int(events["t"][0]), int(events["t"][-1]))

    def _check_span(self, first_us: int, last_us: int) -> None:
        if first_us < 0 or last_us >= _MAX_TIME_US:
            raise UsageError(f"HDF5 (ECF) cannot hold the times {first_us} to {last_us} us; shift them with --from-zero")

    def _encode(self, events: Events) -> None:
        self._start(int(events["t"][0]))
        self._events.index.add(events["t"] - self._begin_us)
        at = 0
        try:
            while at < events.size:
                n = min(events.size - at, CHUNK_EVENTS - self._n_in_chunk)
                # copied: the caller may fill its array anew before this chunk is written
                for name in "txyp":
                    self._chunk[name][self._n_in_chunk : self._n_in_chunk + n] = events[name][at : at + n]
                self._n_in_chunk += n
                at += n
                if self._n_in_chunk == CHUNK_EVENTS:
                    self._finish_chunk()
        except _FAILURES as error:
            raise self._failure(error) from None

    def _finish_chunk(self) -> None:
        self._write_chunk()
        self._n_chunks += 1
        self._n_in_chunk = self._n_flushed_of_chunk = 0
        self._n_unflushed += 1
        if self._n_unflushed == _CHUNKS_PER_FLUSH:
            self.flush()

    def _write_chunk(self) -> None:
        start = self._n_chunks * CHUNK_EVENTS
        self._events.records.set_extent((start + self._n_in_chunk,))
        self._events.records.write_direct_chunk((start,), encode_chunk(self._chunk[: self._n_in_chunk]))
        self._n_flushed_of_chunk = self._n_in_chunk

    def _write_index(self, group: _Group) -> None:
        if group.index.entries:
            self._append(group.index_rows, np.concatenate(group.index.entries))
            group.index.entries.clear()

    def _append(self, rows: Any, values: npt.NDArray[Any]) -> None:
        n = rows.shape[0]
        rows.resize((n + values.size,))
        rows[n:] = values

    def _finish(self) -> None:
        for group in (self._events, self._triggers):
            group.index.finish()
        self.flush()

    def _start(self, first_us: int) -> None:
        """Name the time that indexes count from; from then on nothing but rows is added."""
        if self._begin_us is not None:
            return
        self._begin_us = first_us
        for group in (self._events, self._triggers):
            self._name(group.index_rows, "offset", str(-first_us))
        self._file.swmr_mode = True

    def _create(self, name: str, record: np.dtype[Any], *, is_packed: bool) -> _Group:
        """The datasets of one kind of record, still empty."""
        h5py = load_h5py()
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((CHUNK_EVENTS,))
        if is_packed:
            creation.set_filter(FILTER_ID, h5py.h5z.FLAG_OPTIONAL)
        group = self._file.create_group(name)
        space = h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,))
        records = h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(record), space, creation)
        index_rows = group.create_dataset("indexes", (0,), maxshape=(None,), chunks=(CHUNK_EVENTS,), dtype=_INDEX_RECORD)
        return _Group(records, index_rows, _Index())

    def _name_attributes(self) -> None:
        width, height = self._sensor_size
        self._name(self._file, "version", "1.0")
        self._name(self._file, "geometry", f"{width}x{height}")

    def _name(self, item: Any, key: str, value: str) -> None:
        """An attribute as OpenEB reads it: text of variable length, ASCII (HDF5 does not turn UTF-8 into it)."""
        item.attrs.create(key, value, dtype=load_h5py().string_dtype("ascii"))

    def _failure(self, error: BaseException) -> SaccadeError:
        return SaccadeError(f"{self._path} cannot be written: {error}; free some space and try again")
