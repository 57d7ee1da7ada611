"""The 40-bit records of N-MNIST and N-Caltech101 (`.bin`): x, y, then polarity and 23 bits of time, big-endian.

Such files have no header and no signature. Whether bytes can be such records at all is judged here by `is_plausible`; who may
ask is the registry's affair. y counts from the top. A record whose y is 240 is no event: it adds 2^13 us to all later times.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    NO_RESET,
    DecodeState,
    allocate,
    bounding_size,
    order,
    signed,
)

RECORD_BYTES = 5
OVERFLOW_ROW = 240
OVERFLOW_US = 1 << 13
_BLOCK_RECORDS = 1 << 16
N_MNIST = SensorSize(34, 34)
# Times of a recording run forwards; in bytes of another kind every second one falls.
_FALLS_TOLERATED = 0.05


def is_plausible(head: bytes) -> bool:
    """Whether the first bytes of a file can be such records: at least one, and times that hardly ever fall."""
    records = _records(head)
    if not len(records):
        return False
    time = (records[:, 2:] & np.array([0x7F, 0xFF, 0xFF], dtype=np.uint8)).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    time = time[records[:, 1] != OVERFLOW_ROW]
    # a marker lets the counter fall behind it, so that falls are forgiven as often as there are markers
    n_falls = int((np.diff(time) < 0).sum()) - (len(records) - len(time))
    return n_falls <= _FALLS_TOLERATED * len(records)


class Bin40Source(FileSource):
    """An N-MNIST or N-Caltech101 recording; `sensor_size` is that of the events (N-MNIST if they fit) where it is not given."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, sensor_size: SensorSize | None = None) -> None:
        measured = None if sensor_size else _measure(handle)
        size = sensor_size or measured or N_MNIST
        super().__init__(path, SourceInfo(name, "N-MNIST .bin", "40 bit", size), handle)
        self._is_measured = measured is not None

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            width, height = self._info.sensor_size
            self._note(f"the file names no sensor size; {width}x{height} pixels is what its events need")
        n_overflows = n_ragged = 0
        if self._begin is not None:
            (n_overflows,) = self._begin.state
        self._handle.seek(self._begin.position if self._begin is not None else 0)
        block = np.empty(_BLOCK_RECORDS * RECORD_BYTES, dtype=np.uint8)
        while n_read := self._read_into(block):
            n_ragged = n_read % RECORD_BYTES
            records = block[: n_read - n_ragged].reshape(-1, RECORD_BYTES)
            events, out = allocate(len(records))
            n, n_overflows, self._state = _decode(records, out, self._info.sensor_size, n_overflows, self._state)
            yield events[:n]
            self._mark(self._handle.tell(), n_overflows)
        if self.n_bytes < RECORD_BYTES:
            self._note_header_only()
        if n_ragged:
            self._note_cut(n_ragged, "the last record is cut off")


def _records(data: bytes) -> npt.NDArray[np.uint8]:
    """Whole records of some bytes, uint8 (n, 5)."""
    n = len(data) // RECORD_BYTES
    return np.frombuffer(data, dtype=np.uint8, count=n * RECORD_BYTES).reshape(n, RECORD_BYTES)


def _measure(handle: BufferedReader) -> SensorSize:
    """The sensor of N-MNIST if it holds all events, else the smallest one that does."""
    handle.seek(0)
    size = N_MNIST
    while data := handle.read(_BLOCK_RECORDS * RECORD_BYTES):
        records = _records(data)
        events = records[records[:, 1] != OVERFLOW_ROW]
        if len(events):
            needed = bounding_size(int(events[:, 0].max()), int(events[:, 1].max()))
            size = SensorSize(max(size.width, needed.width), max(size.height, needed.height))
    return size


@njit(cache=True, nogil=True)
def _decode(
    records: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint64],
    sensor_size: SensorSize,
    n_overflows: int,
    state: DecodeState,
) -> tuple[int, int, DecodeState]:
    """Records, uint8 (n, 5), to events; gives how many were written to `out`, and the overflow markers seen so far."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    n = 0
    for i in range(records.shape[0]):
        x, y = signed(records[i, 0]), signed(records[i, 1])
        if y == OVERFLOW_ROW:
            n_overflows += 1
            continue
        if x >= sensor_size.width or y >= sensor_size.height:
            n_outside += 1
            continue
        high = signed(records[i, 2])
        time = (high & 0x7F) << 16 | signed(records[i, 3]) << 8 | signed(records[i, 4])
        last, shift, verdict = order(time + n_overflows * OVERFLOW_US, last, shift, NO_RESET)
        n_backward += verdict == HELD
        n_jumps += verdict == FELL
        n_impossible += verdict == IMPOSSIBLE
        if verdict == IMPOSSIBLE:
            continue
        out[n, 0] = x | (y << 16) | ((high >> 7) << 32)
        out[n, 1] = last
        n += 1
    return n, n_overflows, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
