"""Writes AEDAT 2.0 as jAER does: header with AEChip and end marker, then big-endian pairs of address and time.

Only sensors of the jAER chips fit, and only times that a 32-bit microsecond clock can tell; anything else is refused.
"""

from pathlib import Path

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.clock32 import TURN_US, check_times
from pipeline.sinks.file import FileSink
from pipeline.sources.aedat2 import END_OF_HEADER, MAGIC
from pipeline.sources.aer import DAVIS, DVS128, AddressLayout

_CHIPS: dict[SensorSize, tuple[str, AddressLayout]] = {
    SensorSize(128, 128): ("ch.unizh.ini.jaer.chip.retina.DVS128", DVS128),
    SensorSize(240, 180): ("eu.seebetter.ini.chips.davis.DAVIS240C", DAVIS),
    SensorSize(346, 260): ("eu.seebetter.ini.chips.davis.Davis346blue", DAVIS),
    SensorSize(640, 480): ("eu.seebetter.ini.chips.davis.Davis640", DAVIS),
}
_HEADER = (
    "{magic}\r\n"
    "# This is a raw AE data file - do not edit\r\n"
    "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    "# Timestamps tick is 1 us\r\n"
    "# AEChip: {chip}\r\n"
    "{end}\r\n"
)


class Aedat2Sink(FileSink):
    """An AEDAT 2.0 recording being written; every packet is on its way to the disk when `write` returns."""

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        if sensor_size not in _CHIPS:
            sizes = ", ".join(f"{width}x{height}" for width, height in _CHIPS)
            width, height = sensor_size
            raise UsageError(f"AEDAT 2.0 holds sensors of {sizes}, not {width}x{height}; write aedat3 or aedat4 instead")
        chip, self._layout = _CHIPS[sensor_size]
        super().__init__(path, sensor_size)
        self._put(_HEADER.format(magic=MAGIC.decode(), chip=chip, end=END_OF_HEADER.decode()).encode())

    def _check_times(self, events: Events) -> None:
        check_times(events["t"], self._last_us, "AEDAT 2.0", "aedat3 or aedat4")

    def _encode(self, events: Events) -> None:
        layout, (width, height) = self._layout, self._sensor_size
        x, y, p = (events[name].astype(np.uint32) for name in ("x", "y", "p"))
        address = (width - 1 - x) << layout.x_shift | (height - 1 - y) << layout.y_shift | (p ^ layout.p_flip) << layout.p_shift
        records = np.empty((events.size, 2), dtype=">u4")
        records[:, 0] = address
        records[:, 1] = events["t"] % TURN_US
        self._put(records.tobytes())
