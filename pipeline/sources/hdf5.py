"""HDF5 recordings: Prophesee's `CD/events`, DSEC's `events/{p,t,x,y}`, and any other group with such columns.

Needs h5py (the extra `hdf5`), imported when a file is opened. Chunks in Prophesee's compression are taken as they lie in the
file and decoded by `ecf`; everything else goes through h5py. Only hard links inside the file are followed. Times that are whole
numbers are microseconds, others seconds; a DSEC `t_offset` is added.
"""

import os
from array import array
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.columns import Columns, Room, place
from pipeline.sources.ecf import SLACK, DamagedChunkError, decode_chunk
from pipeline.sources.file import FileSource
from pipeline.sources.hdf5_heaps import check_heaps
from pipeline.sources.hdf5_tables import (
    COLUMN_NAMES,
    DAMAGE,
    EVENT_RECORD,
    MAX_CHUNK_BYTES,
    WIDEST,
    Table,
    count_rows,
    find_tables,
    is_ecf,
    load_h5py,
    named_size,
    type_of,
)
from pipeline.sources.hdf5_triggers import TriggerRows
from pipeline.sources.hdf5_unclosed import view_unclosed
from pipeline.sources.index import Bookmark
from pipeline.sources.ordering import DecodeState, allocate, bounding_size

_BLOCK_EVENTS = 1 << 16
_MAX_BLOCK_EVENTS = 1 << 20
# A chunk is unpacked once as long as it fits in here.
_CACHE_BYTES = 1 << 24
# Positions are told in bytes as delivered, so that places to go on from lie as far apart as in other formats.
_ROW_BYTES = EVENT_DTYPE.itemsize
_US_PER_MS = 1000
# Of a chunk's bytes: where the first time stands, packed and unpacked.
_FIRST_TIME_AT, _FIRST_TIME_UNPACKED_AT = 4, 8
_NOT_CLOSED = "the recording was not closed; all that had been flushed was read"


class Hdf5Source(FileSource):
    """An HDF5 recording; without `sensor_size` it is the one in the attributes, or the smallest that holds all events."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, sensor_size: SensorSize | None = None) -> None:
        check_heaps(path, handle, path.stat().st_size)
        self._file, self._is_closed_well = _open(path, handle)
        try:
            self._open_table(path, handle, name, sensor_size)
        except DAMAGE as error:
            self._file.close()
            raise InputError(f"{path}: this HDF5 file is damaged: {error}") from None
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._file.close()
        super().close()

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`; a share of the events, because HDF5 keeps them in any order."""
        return self.n_bytes * self._n_done // self._n_events if self._n_events else 0

    def _open_table(self, path: Path, handle: BufferedReader, name: str, sensor_size: SensorSize | None) -> None:
        tables = find_tables(path, self._file)
        self._table, self._n_tables = tables[0], len(tables)
        self._n_events, self._n_done, self._n_missing = count_rows(path, self._table), 0, 0
        self._is_ecf = is_ecf(path, self._table)
        self._chunks = _list_chunks(self._table) if self._is_ecf else np.zeros((0, 4), dtype=np.int64)
        self._scratch: Columns = np.empty(
            (4, self._table.columns["t"].chunks[0] + SLACK if self._is_ecf else 0), dtype=np.int64
        )
        self._is_seconds = not self._is_ecf and self._judge_seconds()
        unit = "seconds" if self._is_seconds else "microseconds"
        encoding = "ECF" if self._is_ecf else f"{self._table.path}, t in {unit}"
        super().__init__(path, SourceInfo(name, "HDF5", encoding, WIDEST), handle)
        size = sensor_size or named_size(self._file, self._table)
        self._is_measured = size is None
        self._info = replace(self._info, sensor_size=size or self._measure())

    def _decode(self) -> Iterator[Events]:
        self._note_layout()
        first_row = self._begin.position // _ROW_BYTES if self._begin is not None else 0
        triggers = TriggerRows(self._file, self._table, self._begin.t_us if self._begin is not None else None)
        n_total = 0
        try:
            for columns in self._blocks(first_row):
                events, out = allocate(columns.shape[1])
                n, self._state = place(columns, out, self._info.sensor_size, self._state)
                n_total += n
                self._keep_triggers(triggers.take(self._state))
                yield events[:n]
                self._mark(self._n_done * _ROW_BYTES)
        except DAMAGE as error:
            self._note_cut(0, f"damaged after {n_total} events ({error})")
        self._keep_triggers(triggers.take_rest(self._state))
        for sentence in triggers.notes:
            self._note(sentence)
        if self._n_missing:
            self._note_cut(0, f"{self._n_missing} events are missing or damaged")
        if n_total == 0 and first_row == 0:
            self._note_header_only()

    def _note_layout(self) -> None:
        if not self._is_closed_well:
            self._note(_NOT_CLOSED)
        if self._is_measured:
            width, height = self._info.sensor_size
            self._note(f"the file names no sensor size; {width}x{height} pixels is what its events need")
        if self._n_tables > 1:
            self._note(f"{self._n_tables} groups hold events; {self._table.path} was read")

    def _measure(self) -> SensorSize:
        """The smallest sensor that holds all events, as far as they can be read."""
        max_x = max_y = -1
        try:
            for _, x, y, _ in self._blocks(0):
                inside = (x >= 0) & (x < WIDEST.width) & (y >= 0) & (y < WIDEST.height)
                if inside.any():
                    max_x, max_y = max(max_x, int(x[inside].max())), max(max_y, int(y[inside].max()))
        except DAMAGE:
            # reading tells of the damage
            return bounding_size(max_x, max_y)
        return bounding_size(max_x, max_y)

    def _blocks(self, first_row: int) -> Iterator[Columns]:
        """The events of the file as they are, in its order, from a row on; counts those that are not there."""
        self._n_done, self._n_missing = first_row, 0
        n_given = 0
        for row, columns in self._ecf_blocks(first_row) if self._is_ecf else self._plain_blocks(first_row):
            n_given += columns.shape[1]
            self._n_done = row + columns.shape[1]
            yield columns
        self._n_missing = self._table.columns["t"].shape[0] - first_row - n_given

    def _plain_blocks(self, first_row: int) -> Iterator[tuple[int, Columns]]:
        longest = max((dataset.chunks or (1,))[0] for dataset in self._table.columns.values())
        n_block = min(max(_BLOCK_EVENTS, longest), _MAX_BLOCK_EVENTS)
        room = Room(n_block)
        for start in range(first_row, self._n_events, n_block):
            columns = _read(self._table, slice(start, min(start + n_block, self._n_events)))
            yield (
                start,
                room.fill(*(columns[name] for name in "txyp"), is_seconds=self._is_seconds, offset_us=self._table.offset_us),
            )

    def _ecf_blocks(self, first_row: int) -> Iterator[tuple[int, Columns]]:
        for i in range(int(np.searchsorted(self._chunks[:, 0], first_row)), len(self._chunks)):
            columns = self._ecf_chunk(i)
            if columns is not None:
                yield int(self._chunks[i, 0]), columns

    def _ecf_chunk(self, i: int) -> Columns | None:
        """The events of one chunk, good until the next one is asked for; None if it is damaged or holds none."""
        dataset = self._table.columns["t"]
        row, _, n_bytes, _ = (int(number) for number in self._chunks[i])
        n_expected = min(dataset.chunks[0], self._n_events - row)
        if n_expected <= 0 or not 0 < n_bytes <= min(MAX_CHUNK_BYTES, self.n_bytes):
            return None
        mask, data = dataset.id.read_direct_chunk((row,))
        columns = self._scratch
        try:
            n = _unfiltered(data, columns) if mask & 1 else decode_chunk(data, columns)
        except DamagedChunkError:
            return None
        return columns[:, : min(n, n_expected)]

    def _find_bookmark(self, start_us: int) -> Bookmark | None:
        """From the first times of packed chunks, or DSEC's table of milliseconds; else from what earlier passes learnt."""
        learnt = super()._find_bookmark(start_us)
        if learnt is not None and (learnt.decode.n_backward or learnt.decode.n_jumps):
            # times are not what first times and tables promise
            return learnt
        try:
            found = self._find_chunk(start_us) if self._is_ecf else self._find_millisecond(start_us)
        except DAMAGE:
            found = None
        return found or learnt

    def _find_chunk(self, start_us: int) -> Bookmark | None:
        """The chunk before which nothing is as late as `start_us`; None unless times rise from chunk to chunk."""
        firsts = self._first_times()
        at = int(np.searchsorted(firsts, start_us)) - 1
        if at < 1 or (np.diff(firsts) < 0).any():
            return None
        before = self._ecf_chunk(at - 1)
        if before is None or before.shape[1] == 0 or before[0, -1] > firsts[at]:
            return None
        return _bookmark(int(before[0, -1]), int(self._chunks[at, 0]))

    def _first_times(self) -> npt.NDArray[np.int64]:
        """First time of each chunk, int64 (n,), from a few bytes of each."""
        times = np.zeros(len(self._chunks), dtype=np.int64)
        for i, (_, at, _, mask) in enumerate(self._chunks.tolist()):
            within = _FIRST_TIME_UNPACKED_AT if mask & 1 else _FIRST_TIME_AT
            times[i] = int.from_bytes(os.pread(self._handle.fileno(), 8, at + within), "little", signed=True)
        return times

    def _find_millisecond(self, start_us: int) -> Bookmark | None:
        """The row where DSEC's `ms_to_idx` says that the millisecond of `start_us` begins, if its neighbours agree."""
        table = self._file.get("ms_to_idx")
        if self._table.path != "events" or self._is_seconds or table is None or table.ndim != 1 or table.dtype.kind not in "iu":
            return None
        millisecond = (start_us - self._table.offset_us) // _US_PER_MS
        if not 0 < millisecond < table.shape[0]:
            return None
        row = int(table[millisecond])
        if not 0 < row < self._n_events:
            return None
        before, behind = _read(self._table, slice(row - 1, row + 1))["t"].tolist()
        if not before < millisecond * _US_PER_MS <= behind:
            return None
        return _bookmark(int(before) + self._table.offset_us, row)

    def _judge_seconds(self) -> bool:
        """Whether times are seconds: numbers with fractions are, and so is a single one of the kind that could have some."""
        if type_of(self._table, "t").kind != "f":
            return False
        times = _read(self._table, slice(0, min(self._n_events, _BLOCK_EVENTS)))["t"]
        return np.unique(times).size <= 1 or bool((times != np.rint(times)).any())


def _open(path: Path, handle: BufferedReader) -> tuple[Any, bool]:
    """The HDF5 file, and whether its writer closed it."""
    h5py = load_h5py()
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES), True
    except DAMAGE as error:
        reason = error
    try:
        # a file that is being written, or whose writer was killed
        view = view_unclosed(handle)
        if view is not None:
            return h5py.File(view, "r", rdcc_nbytes=_CACHE_BYTES), False
    except DAMAGE as error:
        reason = error
    raise InputError(f"{path} begins like HDF5 but cannot be opened: {reason}; it is cut off or damaged") from None


def _list_chunks(table: Table) -> npt.NDArray[np.int64]:
    """First row, place in the file, bytes and filter mask of every chunk, int64 (n, 4), in the order of rows."""
    numbers = array("q")

    def keep(chunk: Any) -> None:
        numbers.extend((chunk.chunk_offset[0], min(chunk.byte_offset, 1 << 62), chunk.size, chunk.filter_mask))

    table.columns["t"].id.chunk_iter(keep)
    chunks = np.frombuffer(numbers, dtype=np.int64).reshape(-1, 4)
    return chunks[np.argsort(chunks[:, 0], kind="stable")]


def _bookmark(last_us: int, row: int) -> Bookmark:
    """A place behind which nothing has been mended: times rise up to it."""
    return Bookmark(last_us, row * _ROW_BYTES, (), DecodeState(last_us=last_us))


def _read(table: Table, rows: slice) -> dict[str, npt.NDArray[Any]]:
    """Some rows of all four columns."""
    if table.columns["t"].dtype.names is None:
        return {name: dataset[rows] for name, dataset in table.columns.items()}
    records = table.columns["t"][rows]
    return {COLUMN_NAMES[field]: records[field] for field in records.dtype.names if field in COLUMN_NAMES}


def _unfiltered(data: bytes, columns: Columns) -> int:
    """Records of a chunk that was stored as it is into `columns`; gives how many."""
    records = np.frombuffer(data, dtype=EVENT_RECORD, count=len(data) // EVENT_RECORD.itemsize)[: columns.shape[1]]
    for row, name in enumerate("txyp"):
        columns[row, : records.size] = records[name]
    return int(records.size)
