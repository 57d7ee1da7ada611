"""Writes Prophesee DAT, version 2, as Prophesee's tools do: header with size and end mark, then events of 8 bytes (type 12)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.clock32 import TURN_US, check_times
from pipeline.sinks.file import FileSink
from pipeline.sinks.raw import as_records
from pipeline.sources.dat import CD_EVENTS, MAX_SIDE, RECORD_BYTES

_HEADER = "% Height {height}\n% Version 2\n% Width {width}\n% end\n"


@njit(cache=True, nogil=True)
def _write(events: npt.NDArray[np.int64], out: npt.NDArray[np.uint64]) -> None:
    """Events, int64 (2 n,) of place and time, as records, uint64 (n,)."""
    for i in range(out.size):
        place = events[2 * i]
        x, y, p = place & 0xFFFF, (place >> 16) & 0xFFFF, (place >> 32) & 1
        out[i] = (events[2 * i + 1] & (TURN_US - 1)) | (x << 32) | (y << 46) | (p << 60)


class DatSink(FileSink):
    """A DAT recording being written; every packet is on its way to the disk when `write` returns."""

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        width, height = sensor_size
        if max(sensor_size) > MAX_SIDE:
            raise UsageError(f"DAT has 14 bits for a coordinate; a sensor of {width}x{height} pixels does not fit")
        super().__init__(path, sensor_size)
        self._put(_HEADER.format(width=width, height=height).encode() + bytes([CD_EVENTS, RECORD_BYTES]))

    def _check_times(self, events: Events) -> None:
        check_times(events["t"], self._last_us, "DAT", "evt3, aedat3 or aedat4")

    def _encode(self, events: Events) -> None:
        records = np.empty(events.size, dtype="<u8")
        _write(as_records(events).reshape(-1), records)
        self._put(records.view(np.uint8).data)
