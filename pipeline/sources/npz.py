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
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError, UnknownFormatError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import FileSource
from pipeline.sources.ordering import FELL, HELD, IMPOSSIBLE, NO_RESET, DecodeState, order

_COLUMNS = ("t", "x", "y", "p")
_BLOCK_EVENTS = 1 << 16
_WIDEST = 1 << 16
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
    """One array of the archive, read from front to end in blocks."""

    def __init__(self, archive: zipfile.ZipFile, key: str) -> None:
        self.stream: IO[bytes] = archive.open(f"{key}.npy")
        version = np.lib.format.read_magic(self.stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, _, self.dtype = read_header(self.stream)

    def read(self, n: int) -> npt.NDArray[Any]:
        """Up to `n` more values, fewer only at the end."""
        data = self.stream.read(n * self.dtype.itemsize)
        return np.frombuffer(data, dtype=self.dtype, count=len(data) // self.dtype.itemsize)


class NpzSource(FileSource):
    """A plain npz recording."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str) -> None:
        try:
            self._archive = zipfile.ZipFile(handle)
            keys = {Path(key).stem for key in self._archive.namelist() if key.endswith(".npy")}
        except _DAMAGE as error:
            raise InputError(f"{path} begins like a zip archive but is none: {error}; it is cut off or damaged") from None
        _refuse_other_archives(path, keys)
        try:
            self._check_columns(path)
            is_packed = self._archive.getinfo("t.npy").compress_type != zipfile.ZIP_STORED
            sensor_size = self._sensor_size(path, keys)
        except _DAMAGE as error:
            raise InputError(f"{path}: this npz is damaged: {error}") from None
        super().__init__(path, SourceInfo(name, "npz", "deflate" if is_packed else "stored", sensor_size), handle)

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._archive.close()
        super().close()

    def _decode(self) -> Iterator[Events]:
        n_total = 0
        try:
            for t, x, y, p in self._blocks():
                n_total += len(t)
                yield self._place(t, x, y, p)
        except _DAMAGE as error:
            self._note_cut(0, f"damaged after {n_total} events ({error})")
        if n_total == 0:
            self._note_header_only()

    def _place(self, t: npt.NDArray[Any], x: npt.NDArray[Any], y: npt.NDArray[Any], p: npt.NDArray[Any]) -> Events:
        """Events inside the sensor in order of time; the rest is counted."""
        width, height = self._info.sensor_size
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        state = self._state._replace(n_outside=self._state.n_outside + int((~inside).sum()))
        times = t[inside].astype(np.int64)
        stays, self._state = _order_block(times, state)
        x, y, p = x[inside][stays], y[inside][stays], p[inside][stays]
        return make_events(times[stays], x.astype(np.uint16), y.astype(np.uint16), p > 0)

    def _blocks(self) -> Iterator[list[npt.NDArray[Any]]]:
        columns = [_Column(self._archive, key) for key in _COLUMNS]
        n_left = columns[0].shape[0]
        while n_left > 0:
            block = [column.read(min(_BLOCK_EVENTS, n_left)) for column in columns]
            n = min(len(values) for values in block)
            if n == 0:
                raise EOFError(f"{n_left} events are missing")
            yield [values[:n] for values in block]
            n_left -= n

    def _check_columns(self, path: Path) -> None:
        columns = {key: _Column(self._archive, key) for key in _COLUMNS}
        shapes = {key: column.shape for key, column in columns.items()}
        if len(set(shapes.values())) != 1 or len(shapes["t"]) != 1:
            raise InputError(f"{path}: t, x, y and p must be columns of one length, but have the shapes {shapes}")
        for key, column in columns.items():
            if column.dtype.kind not in ("iu" if key != "p" else "iub"):
                raise InputError(f"{path}: {key} is {column.dtype}; only whole numbers are read (t in microseconds)")

    def _sensor_size(self, path: Path, keys: set[str]) -> SensorSize:
        if {"width", "height"} <= keys:
            width, height = (int(_scalar(self._archive, key)) for key in ("width", "height"))
            if not (0 < width <= _WIDEST and 0 < height <= _WIDEST):
                raise InputError(f"{path}: a sensor of {width}x{height} pixels cannot be; it must lie between 1 and {_WIDEST}")
            return SensorSize(width, height)
        max_x = max_y = -1
        for _, x, y, _ in self._blocks():
            max_x, max_y = max(max_x, int(x.max())), max(max_y, int(y.max()))
        return SensorSize(min(max_x + 1, _WIDEST), min(max_y + 1, _WIDEST))


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


def _scalar(archive: zipfile.ZipFile, key: str) -> npt.NDArray[Any]:
    column = _Column(archive, key)
    if column.shape not in ((), (1,)) or column.dtype.kind not in "iu":
        raise ValueError(f"{key} is not one whole number")
    return column.read(1)[0]  # type: ignore[no-any-return] # a numpy scalar


@njit(cache=True, nogil=True)
def _order_block(t: npt.NDArray[np.int64], state: DecodeState) -> tuple[npt.NDArray[np.bool_], DecodeState]:
    """Turn file times, int64 (n,) us, into delivered ones in place; gives which events stay."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    stays = np.ones(t.size, dtype=np.bool_)
    for i in range(t.size):
        last, shift, verdict = order(t[i], last, shift, NO_RESET)
        n_backward += verdict == HELD
        n_jumps += verdict == FELL
        n_impossible += verdict == IMPOSSIBLE
        stays[i] = verdict != IMPOSSIBLE
        t[i] = last
    return stays, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
