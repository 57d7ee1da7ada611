"""Writes Prophesee DAT, version 2, as Prophesee's tools do: header with size and end mark, then events of 8 bytes (type 12)."""

from pathlib import Path

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.clock32 import TURN_US, check_times
from pipeline.sinks.file import FileSink
from pipeline.sources.dat import CD_EVENTS, MAX_SIDE, RECORD_BYTES

_HEADER = "% Height {height}\n% Version 2\n% Width {width}\n% end\n"


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
        records = np.empty((events.size, 2), dtype="<u4")
        records[:, 0] = events["t"] % TURN_US
        records[:, 1] = events["x"] | events["y"].astype(np.uint32) << 14 | events["p"].astype(np.uint32) << 28
        self._put(records.tobytes())
