"""Writes npz: arrays t (int64, us), x, y (uint16), p (uint8), width and height, as `numpy.load` and our training read them.

Columns of a stream have no end until the stream has, and a zip archive is one only when it is closed. Until then the file is a
journal, an unfinished archive that holds width, height and then the records of all events in one array, which our reader reads
as far as it goes. Closing turns it into columns beside it, constant in memory, and puts the result in its place in one step: at
any moment there is either the whole journal or the whole archive.
"""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize
from pipeline.sinks.file import FileSink
from pipeline.sources.npz_journal import RECORDS

_BLOCK_EVENTS = 1 << 18
_MAX_TIME_US = 1 << 60
_UNFINISHED = ".unfinished"


class NpzSink(FileSink):
    """An npz recording being written; every packet is on its way to the disk when `write` returns."""

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        super().__init__(path, sensor_size)
        start = _journal_start(sensor_size)
        self._data_start, self._n_events = len(start), 0
        self._put(start)

    def _check_times(self, events: Events) -> None:
        first, last = int(events["t"][0]), int(events["t"][-1])
        if first <= -_MAX_TIME_US or last >= _MAX_TIME_US:
            raise UsageError(f"times from {first} to {last} us cannot be written; no clock shows them")

    def _encode(self, events: Events) -> None:
        # bytes between the fields are whatever memory held; in a file they are zero
        records = np.zeros(events.size, dtype=EVENT_DTYPE)
        for name in EVENT_DTYPE.names or ():
            records[name] = events[name]
        self._put(records.tobytes())
        self._n_events += events.size

    def _finish(self) -> None:
        unfinished = self._path.with_name(self._path.name + _UNFINISHED)
        try:
            with zipfile.ZipFile(unfinished, "w") as archive, self._path.open("rb") as journal:
                _write_size(archive, self._sensor_size)
                for name in ("t", "x", "y", "p"):
                    journal.seek(self._data_start)
                    self._write_column(archive, journal, name)
            unfinished.replace(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise SaccadeError(
                f"{self._path} cannot be finished: {error.strerror}; free as much space again and run saccade convert on it"
            ) from None

    def _write_column(self, archive: zipfile.ZipFile, journal: IO[bytes], name: str) -> None:
        dtype = EVENT_DTYPE[name]
        with archive.open(_entry(name), "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(
                entry, {"descr": dtype.str, "fortran_order": False, "shape": (self._n_events,)}
            )
            while data := journal.read(_BLOCK_EVENTS * EVENT_DTYPE.itemsize):
                entry.write(np.frombuffer(data, dtype=EVENT_DTYPE)[name].tobytes())


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry that is stored as it is; without a date, so that equal recordings are equal byte for byte."""
    return zipfile.ZipInfo(f"{name}.npy")


def _write_size(archive: zipfile.ZipFile, sensor_size: SensorSize) -> None:
    for name, value in zip(("width", "height"), sensor_size, strict=True):
        with archive.open(_entry(name), "w") as entry:
            np.lib.format.write_array(entry, np.asarray(value, dtype=np.int64), allow_pickle=False)


def _journal_start(sensor_size: SensorSize) -> bytes:
    """What stands before the records: width and height, whole, and the head of an array that has not ended."""
    start = BytesIO()
    with zipfile.ZipFile(start, "w") as archive:
        _write_size(archive, sensor_size)
        with archive.open(_entry(RECORDS), "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(
                entry, {"descr": np.lib.format.dtype_to_descr(EVENT_DTYPE), "fortran_order": False, "shape": (0,)}
            )
            return start.getvalue()
