"""HDF5 recordings: Prophesee's `CD/events`, DSEC's `events/{p,t,x,y}`, and any other group with such columns.

Needs h5py (the extra `hdf5`), imported when a file is opened. Chunks in Prophesee's compression are taken as they lie in the
file and decoded by `ecf`; everything else goes through h5py. Only hard links inside the file are followed. Times that are whole
numbers are microseconds, others seconds; a DSEC `t_offset` is added.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError, MissingExtraError, UnknownFormatError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.ecf import FILTER_ID, DamagedChunkError, decode_chunk
from pipeline.sources.file import FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    MAX_FILE_TIME_US,
    NO_RESET,
    DecodeState,
    allocate,
    bounding_size,
    order,
)

# int64 (4, n): t in us, x, y, p
_Columns = npt.NDArray[np.int64]

_NAMES = {
    **dict.fromkeys(("t", "ts", "time", "timestamp", "timestamps"), "t"),
    **dict.fromkeys(("x", "xs"), "x"),
    **dict.fromkeys(("y", "ys"), "y"),
    **dict.fromkeys(("p", "ps", "pol", "polarity", "polarities"), "p"),
}
_PROPHESEE = "CD/events"
_PROPHESEE_DTYPE = np.dtype(
    {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16}
)
_WIDEST = SensorSize(1 << 16, 1 << 16)
_BLOCK_EVENTS = 1 << 16
_MAX_BLOCK_EVENTS = 1 << 20
# HDF5 takes in whole chunks; a forged chunk shape must not make it ask for all memory.
_MAX_CHUNK_BYTES = 1 << 26
# A chunk is unpacked once as long as it fits in here.
_CACHE_BYTES = 1 << 24
_US_PER_S = 1e6
# What h5py raises on damaged files.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError)


class _Table(NamedTuple):
    """Where the events are: datasets (or fields of one dataset) by column, and what they are called in the file."""

    path: str
    columns: dict[str, Any]
    offset_us: int = 0


class Hdf5Source(FileSource):
    """An HDF5 recording; without `sensor_size` it is the one in the attributes, or the smallest that holds all events."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, sensor_size: SensorSize | None = None) -> None:
        h5py = _load_h5py()
        try:
            self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
        except _DAMAGE as error:
            raise InputError(f"{path} begins like HDF5 but cannot be opened: {error}; it is cut off or damaged") from None
        try:
            self._open_table(path, handle, name, sensor_size)
        except _DAMAGE as error:
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
        tables = _find_tables(path, self._file)
        self._table, self._n_tables = tables[0], len(tables)
        self._n_events, self._n_done, self._n_missing = _n_rows(path, self._table), 0, 0
        self._is_ecf = _is_ecf(path, self._table)
        self._is_seconds = not self._is_ecf and self._judge_seconds()
        unit = "seconds" if self._is_seconds else "microseconds"
        encoding = "ECF" if self._is_ecf else f"{self._table.path}, t in {unit}"
        super().__init__(path, SourceInfo(name, "HDF5", encoding, _WIDEST), handle)
        size = sensor_size or _named_size(self._file, self._table)
        self._is_measured = size is None
        self._info = replace(self._info, sensor_size=size or self._measure())

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            width, height = self._info.sensor_size
            self._note(f"the file names no sensor size; {width}x{height} pixels is what its events need")
        if self._n_tables > 1:
            self._note(f"{self._n_tables} groups hold events; {self._table.path} was read")
        n_total = 0
        try:
            for columns in self._blocks():
                events, out = allocate(columns.shape[1])
                n, self._state = _place(columns, out, self._info.sensor_size, self._state)
                n_total += n
                yield events[:n]
        except _DAMAGE as error:
            self._note_cut(0, f"damaged after {n_total} events ({error})")
        if self._n_missing:
            self._note_cut(0, f"{self._n_missing} events are missing or damaged")
        if n_total == 0:
            self._note_header_only()

    def _measure(self) -> SensorSize:
        """The smallest sensor that holds all events, as far as they can be read."""
        max_x = max_y = -1
        try:
            for _, x, y, _ in self._blocks():
                inside = (x >= 0) & (x < _WIDEST.width) & (y >= 0) & (y < _WIDEST.height)
                if inside.any():
                    max_x, max_y = max(max_x, int(x[inside].max())), max(max_y, int(y[inside].max()))
        except _DAMAGE:
            # reading tells of the damage
            return bounding_size(max_x, max_y)
        return bounding_size(max_x, max_y)

    def _blocks(self) -> Iterator[_Columns]:
        """The events of the file as they are, in its order; counts those that are not there."""
        self._n_done = self._n_missing = 0
        n_given = 0
        for columns in self._ecf_blocks() if self._is_ecf else self._plain_blocks():
            n_given += columns.shape[1]
            self._n_done = n_given
            yield columns
        self._n_missing = self._table.columns["t"].shape[0] - n_given

    def _plain_blocks(self) -> Iterator[_Columns]:
        longest = max((dataset.chunks or (1,))[0] for dataset in self._table.columns.values())
        n_block = min(max(_BLOCK_EVENTS, longest), _MAX_BLOCK_EVENTS)
        for start in range(0, self._n_events, n_block):
            columns = _read(self._table, slice(start, min(start + n_block, self._n_events)))
            x, y, p = (_whole(columns[name]) for name in "xyp")
            yield np.stack((_microseconds(columns["t"], self._is_seconds, self._table.offset_us), x, y, p))

    def _ecf_blocks(self) -> Iterator[_Columns]:
        dataset = self._table.columns["t"]
        chunks: list[Any] = []
        dataset.id.chunk_iter(chunks.append)
        columns = np.zeros((4, dataset.chunks[0]), dtype=np.int64)
        for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset):
            n_expected = min(dataset.chunks[0], self._n_events - chunk.chunk_offset[0])
            if n_expected <= 0 or not 0 < chunk.size <= min(_MAX_CHUNK_BYTES, self.n_bytes):
                continue
            mask, data = dataset.id.read_direct_chunk(chunk.chunk_offset)
            try:
                n = _unfiltered(data, columns) if mask & 1 else decode_chunk(data, columns)
            except DamagedChunkError:
                continue
            yield columns[:, : min(n, n_expected)]

    def _judge_seconds(self) -> bool:
        """Whether times are seconds: numbers with fractions are, and so is a single one of the kind that could have some."""
        if _field(self._table, "t").kind != "f":
            return False
        times = _read(self._table, slice(0, min(self._n_events, _BLOCK_EVENTS)))["t"]
        return np.unique(times).size <= 1 or bool((times != np.rint(times)).any())


def _load_h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise MissingExtraError("hdf5", "h5py") from None


def _find_tables(path: Path, file: Any) -> list[_Table]:
    """Tables of events, the best one first; UnknownFormatError if there is none."""
    tables: list[_Table] = []
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        names.append(name)
        if hasattr(item, "shape"):
            fields = {_NAMES.get(field) for field in item.dtype.names or ()}
            if {"t", "x", "y", "p"} <= fields:
                tables.append(_Table(name, dict.fromkeys("txyp", item)))
        else:
            tables.extend(_group_table(file, name, item))

    visit("", file)
    file.visititems(visit)
    if not tables:
        found = ", ".join(name for name in names[1:9]) or "nothing"
        raise UnknownFormatError(
            f"{path} is HDF5 without events (found: {found}); a group with t, x, y and p or Prophesee's {_PROPHESEE} is needed"
        )
    return sorted(tables, key=lambda table: (table.path != _PROPHESEE, table.path.count("/"), table.path))


def _group_table(file: Any, name: str, group: Any) -> list[_Table]:
    """The table of a group that holds four columns as datasets of its own; none otherwise."""
    h5py = _load_h5py()
    columns: dict[str, Any] = {}
    for key in group:
        if key in _NAMES and isinstance(group.get(key, getlink=True), h5py.HardLink) and hasattr(group[key], "shape"):
            columns.setdefault(_NAMES[key], group[key])
    if set(columns) != {"t", "x", "y", "p"}:
        return []
    offset_us = 0
    # DSEC keeps the offset of its 32-bit times beside the group
    if "t_offset" in file and name == "events":
        offset = file["t_offset"]
        offset_us = int(offset[()]) if offset.shape == () and offset.dtype.kind in "iu" else 0
    if abs(offset_us) >= MAX_FILE_TIME_US:
        raise ValueError(f"its t_offset, {offset_us} us, cannot be")
    return [_Table(name or "/", columns, offset_us)]


def _field(table: _Table, name: str) -> np.dtype[Any]:
    """Type of one column."""
    dtype: np.dtype[Any] = table.columns[name].dtype
    if dtype.names is None:
        return dtype
    return dtype[next(field for field in dtype.names if _NAMES.get(field) == name)]


def _n_rows(path: Path, table: _Table) -> int:
    """How many rows lie in the file in all columns; InputError for columns that cannot be read."""
    shapes = {name: dataset.shape for name, dataset in table.columns.items()}
    if len(set(shapes.values())) != 1 or len(shapes["t"]) != 1:
        raise InputError(f"{path}: t, x, y and p must be columns of one length, but have the shapes {shapes}")
    n_rows = shapes["t"][0]
    for name, dataset in table.columns.items():
        kind = _field(table, name)
        if kind.kind not in {"t": "iuf", "x": "iu", "y": "iu", "p": "iubf"}[name]:
            raise InputError(f"{path}: {name} is {kind}; only numbers are read, and whole ones for x and y")
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{path}: {name} lies in another file; copy the data into one file with h5repack")
        item_bytes = dataset.dtype.itemsize
        if dataset.chunks is None:
            n_rows = min(n_rows, dataset.id.get_storage_size() // item_bytes)
            continue
        if dataset.chunks[0] * item_bytes > _MAX_CHUNK_BYTES:
            raise InputError(
                f"{path}: {name} is kept in chunks of {dataset.chunks[0]} values; write smaller ones with h5repack"
            )
        n_rows = min(n_rows, dataset.id.get_num_chunks() * dataset.chunks[0])
    return int(n_rows)


def _is_ecf(path: Path, table: _Table) -> bool:
    """Whether the table is in Prophesee's compression; InputError for compressions that cannot be unpacked here."""
    h5z = _load_h5py().h5z
    for dataset in {dataset.name: dataset for dataset in table.columns.values()}.values():
        creation = dataset.id.get_create_plist()
        filters = [creation.get_filter(i) for i in range(creation.get_nfilters())]
        codes = [code for code, *_ in filters]
        if codes == [FILTER_ID] and dataset.dtype == _PROPHESEE_DTYPE:
            return True
        if FILTER_ID in codes:
            raise InputError(f"{path}: {dataset.name} is packed by ECF in a way of its own; write it again with Metavision")
        for code, _, _, name in filters:
            if not h5z.filter_avail(code) and not _has_plugin(code):
                named = name.decode("latin-1").split(";")[0][:40]
                raise InputError(
                    f"{path}: {dataset.name} is packed with HDF5 filter {code} ({named}); pip install hdf5plugin adds it"
                )
    return False


def _has_plugin(code: int) -> bool:
    """Whether hdf5plugin, which adds filters when it is imported, is there and knows this one."""
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return bool(_load_h5py().h5z.filter_avail(code))


def _named_size(file: Any, table: _Table) -> SensorSize | None:
    """Sensor size in the attributes of the file or of the table; None if there is none."""
    for attributes in (file.attrs, table.columns["t"].parent.attrs):
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", _text(attributes.get("geometry", "")))
        size = SensorSize(int(found[1]), int(found[2])) if found else None
        if size is None and {"width", "height"} <= set(attributes):
            size = SensorSize(int(attributes["width"]), int(attributes["height"]))
        if size is not None and 0 < size.width <= _WIDEST.width and 0 < size.height <= _WIDEST.height:
            return size
    return None


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _read(table: _Table, rows: slice) -> dict[str, npt.NDArray[Any]]:
    """Some rows of all four columns."""
    if table.columns["t"].dtype.names is None:
        return {name: dataset[rows] for name, dataset in table.columns.items()}
    records = table.columns["t"][rows]
    return {_NAMES[field]: records[field] for field in records.dtype.names if field in _NAMES}


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Coordinates or polarities, (n,), as int64; polarities may be floating, and huge values stay outside."""
    if values.dtype.kind == "f":
        return (values > 0).astype(np.int64)
    if values.dtype.kind == "u":
        # unsigned 64-bit numbers would turn negative
        values = np.minimum(values.astype(np.uint64), np.uint64(_WIDEST.width))
    return values.astype(np.int64)


def _microseconds(times: npt.NDArray[Any], is_seconds: bool, offset_us: int) -> npt.NDArray[np.int64]:
    """Times of the file, (n,), in us; those that no clock shows become `MAX_FILE_TIME_US`, which is dropped later."""
    if times.dtype.kind == "f":
        with np.errstate(all="ignore"):  # what is too large or no number is found in the next line
            rounded = np.rint(times.astype(np.float64) * (_US_PER_S if is_seconds else 1.0))
        is_possible = np.abs(rounded) < MAX_FILE_TIME_US
        times = np.where(is_possible, rounded, MAX_FILE_TIME_US)
    else:
        is_possible = (times < MAX_FILE_TIME_US) & (times.astype(np.float64) > -MAX_FILE_TIME_US)
        times = np.where(is_possible, times, 0)
    microseconds: npt.NDArray[np.int64] = np.where(is_possible, times.astype(np.int64) + offset_us, MAX_FILE_TIME_US)
    return microseconds


def _unfiltered(data: bytes, columns: _Columns) -> int:
    """Records of a chunk that was stored as it is into `columns`; gives how many."""
    records = np.frombuffer(data, dtype=_PROPHESEE_DTYPE, count=len(data) // _PROPHESEE_DTYPE.itemsize)[: columns.shape[1]]
    for row, name in enumerate("txyp"):
        columns[row, : records.size] = records[name]
    return int(records.size)


@njit(cache=True, nogil=True)
def _place(
    columns: npt.NDArray[np.int64], out: npt.NDArray[np.uint64], sensor_size: SensorSize, state: DecodeState
) -> tuple[int, DecodeState]:
    """Columns t, x, y, p, int64 (4, n), to events; gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    n = 0
    for i in range(columns.shape[1]):
        x, y = columns[1, i], columns[2, i]
        if not (0 <= x < sensor_size.width and 0 <= y < sensor_size.height):
            n_outside += 1
            continue
        t = columns[0, i] + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(columns[0, i], last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        out[n, 0] = x | (y << 16) | (np.int64(columns[3, i] > 0) << 32)
        out[n, 1] = last
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
