"""Plain npz recordings: arrays t (us), x, y, p of one length, and width and height if they are known.

Columns are read side by side in blocks, so that memory stays constant; nothing is unpickled. Labelled clips and spike frames
are npz too and are refused by name.
"""

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError, UnknownFormatError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.columns import Columns, Room, place
from pipeline.sources.file import FileSource
from pipeline.sources.npz_journal import Journal, read_journal
from pipeline.sources.ordering import allocate

_COLUMNS = ("t", "x", "y", "p")
# A block and its columns stay in the second-level cache.
_BLOCK_EVENTS = 1 << 15
_SKIP_BYTES = 1 << 22
_WIDEST = 1 << 16
# Positions are told in bytes as delivered, so that places to go on from lie as far apart as in other formats.
_ROW_BYTES = EVENT_DTYPE.itemsize
# Of the header that stands before every entry: its length, and where those of name and extra field stand.
_LOCAL_HEADER_BYTES, _NAME_LENGTH_AT = 30, 26
# What zipfile, its decompressors and numpy's header parser raise on damaged archives.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    ValueError,
    EOFError,
    OSError,
    LookupError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    SyntaxError,
    TypeError,
)


class _Column:
    """One array of the archive, read in blocks from any row on. Values that lie there unpacked are read where they lie."""

    def __init__(self, archive: zipfile.ZipFile, handle: BufferedReader, key: str) -> None:
        info = archive.getinfo(f"{key}.npy")
        self._stream = archive.open(info)
        version = np.lib.format.read_magic(self._stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, _, self.dtype = read_header(self._stream)
        n_head = self._stream.tell()
        self.is_packed = info.compress_type != zipfile.ZIP_STORED
        self._stored = None if self.is_packed else _Stored(handle, info, n_head)

    def skip(self, n: int) -> None:
        """Go on `n` values behind the first."""
        n_left = n * self.dtype.itemsize
        if self._stored is not None:
            self._stored.skip(n_left)
            return
        while n_left > 0:
            n_read = len(self._stream.read(min(n_left, _SKIP_BYTES)))
            if n_read == 0:
                raise EOFError(f"{n_left} bytes are missing")
            n_left -= n_read

    def read(self, n: int) -> npt.NDArray[Any]:
        """Up to `n` more values, fewer only at the end."""
        source = self._stream if self._stored is None else self._stored
        data = source.read(n * self.dtype.itemsize)
        return np.frombuffer(data, dtype=self.dtype, count=len(data) // self.dtype.itemsize)


class _Stored:
    """The bytes of an entry that is stored as it is; whether they are sound is known where they were read from the first on."""

    def __init__(self, handle: BufferedReader, info: zipfile.ZipInfo, n_head: int) -> None:
        self._handle, self._info = handle, info
        handle.seek(info.header_offset + _NAME_LENGTH_AT)
        data_start = info.header_offset + _LOCAL_HEADER_BYTES + sum(struct.unpack("<HH", handle.read(4)))
        self._at, self._end = data_start + n_head, data_start + info.file_size
        handle.seek(data_start)
        self._sum: int | None = zlib.crc32(handle.read(n_head))

    def skip(self, n_bytes: int) -> None:
        self._at += n_bytes
        self._sum = None if n_bytes else self._sum

    def read(self, n_bytes: int) -> bytes:
        self._handle.seek(self._at)
        data = self._handle.read(max(0, min(n_bytes, self._end - self._at)))
        self._at += len(data)
        if self._sum is not None:
            self._sum = zlib.crc32(data, self._sum)
            if self._at == self._end and self._sum != self._info.CRC:
                raise zipfile.BadZipFile(f"the sum of {self._info.filename} is wrong")
        return data


class NpzSource(FileSource):
    """A plain npz recording, or the journal of one that was not closed."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str) -> None:
        self._journal = read_journal(handle)
        self._archive: zipfile.ZipFile | None = None
        if self._journal is not None:
            super().__init__(path, SourceInfo(name, "npz", "journal", self._journal.sensor_size), handle)
            return
        try:
            self._archive = archive = zipfile.ZipFile(handle)
            keys = {Path(key).stem for key in archive.namelist() if key.endswith(".npy")}
        except _DAMAGE as error:
            raise InputError(f"{path} begins like a zip archive but is none: {error}; it is cut off or damaged") from None
        _refuse_other_archives(path, keys)
        try:
            columns = {key: _Column(archive, handle, key) for key in _COLUMNS}
            _check_columns(path, columns)
            encoding = "deflate" if columns["t"].is_packed else "stored"
            super().__init__(path, SourceInfo(name, "npz", encoding, SensorSize(0, 0)), handle)
            sensor_size = self._sensor_size(path, keys)
        except _DAMAGE as error:
            raise InputError(f"{path}: this npz is damaged: {error}") from None
        self._info = replace(self._info, sensor_size=sensor_size)

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self._archive is not None:
            self._archive.close()
        super().close()

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`; a share of the events, because columns lie one after another."""
        return self.n_bytes * self._n_done // self._n_events if self._n_events else 0

    _n_done = _n_events = 0

    def _decode(self) -> Iterator[Events]:
        first_row = self._begin.position // _ROW_BYTES if self._begin is not None else 0
        n_total = 0
        try:
            for columns in self._blocks(first_row) if self._journal is None else self._records(self._journal, first_row):
                n_total += columns.shape[1]
                self._n_done = first_row + n_total
                events, out = allocate(columns.shape[1])
                n, self._state = place(columns, out, self._info.sensor_size, self._state)
                yield events[:n]
                self._mark(self._n_done * _ROW_BYTES)
        except _DAMAGE as error:
            self._note_cut(0, f"damaged after {n_total} events ({error})")
        if n_total == 0 and first_row == 0:
            self._note_header_only()

    def _blocks(self, first_row: int) -> Iterator[Columns]:
        """The columns of the archive from a row on."""
        assert self._archive is not None, "a journal is no archive"
        columns = [_Column(self._archive, self._handle, key) for key in _COLUMNS]
        self._n_events = columns[0].shape[0]
        for column in columns:
            column.skip(first_row)
        n_left = self._n_events - first_row
        room = Room(_BLOCK_EVENTS)
        while n_left > 0:
            t, x, y, p = (column.read(min(_BLOCK_EVENTS, n_left)) for column in columns)
            n = min(t.size, x.size, y.size, p.size)
            if n == 0:
                raise EOFError(f"{n_left} events are missing")
            yield room.fill(t[:n], x[:n], y[:n], p[:n])
            n_left -= n

    def _records(self, journal: Journal, first_row: int) -> Iterator[Columns]:
        """The columns of the records of a journal from a row on."""
        self._note("the recording was not closed; all that had been written was read")
        self._n_events = (self.n_bytes - journal.data_start) // _ROW_BYTES
        self._handle.seek(journal.data_start + first_row * _ROW_BYTES)
        n_ragged = 0
        room = Room(_BLOCK_EVENTS)
        while data := self._handle.read(_BLOCK_EVENTS * _ROW_BYTES):
            n_ragged = len(data) % _ROW_BYTES
            records = np.frombuffer(data, dtype=EVENT_DTYPE, count=len(data) // _ROW_BYTES)
            yield room.fill(*(records[name] for name in _COLUMNS))
        if n_ragged:
            self._note_cut(n_ragged, "the last event is cut off")

    def _sensor_size(self, path: Path, keys: set[str]) -> SensorSize:
        if {"width", "height"} <= keys:
            width, height = (self._scalar(key) for key in ("width", "height"))
            if not (0 < width <= _WIDEST and 0 < height <= _WIDEST):
                raise InputError(f"{path}: a sensor of {width}x{height} pixels cannot be; it must lie between 1 and {_WIDEST}")
            return SensorSize(width, height)
        max_x = max_y = -1
        for _, x, y, _ in self._blocks(0):
            max_x, max_y = max(max_x, int(x.max())), max(max_y, int(y.max()))
        return SensorSize(min(max_x + 1, _WIDEST), min(max_y + 1, _WIDEST))

    def _scalar(self, key: str) -> int:
        assert self._archive is not None, "a journal is no archive"
        column = _Column(self._archive, self._handle, key)
        if column.shape not in ((), (1,)) or column.dtype.kind not in "iu":
            raise ValueError(f"{key} is not one whole number")
        return int(column.read(1)[0])


def _check_columns(path: Path, columns: dict[str, _Column]) -> None:
    shapes = {key: column.shape for key, column in columns.items()}
    if len(set(shapes.values())) != 1 or len(shapes["t"]) != 1:
        raise InputError(f"{path}: t, x, y and p must be columns of one length, but have the shapes {shapes}")
    for key, column in columns.items():
        if column.dtype.kind not in ("iu" if key != "p" else "iub"):
            raise InputError(f"{path}: {key} is {column.dtype}; only whole numbers are read (t in microseconds)")


def _refuse_other_archives(path: Path, keys: set[str]) -> None:
    if "labels" in keys and "offsets" in keys:
        raise UnknownFormatError(
            f"{path} holds labelled clips, not one recording; use it with saccade train or saccade evaluate"
        )
    if "counts" in keys:
        raise UnknownFormatError(f"{path} holds spike frames, not events; they cannot be turned back into a recording")
    missing = [key for key in _COLUMNS if key not in keys]
    if missing:
        found = ", ".join(sorted(keys)[:8]) or "no arrays"
        raise UnknownFormatError(
            f"{path} is a zip archive without {', '.join(missing)} (found: {found}); save t, x, y, p with numpy.savez"
        )
