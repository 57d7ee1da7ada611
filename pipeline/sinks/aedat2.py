"""Writes AEDAT 2.0 as jAER does: header with AEChip and end marker, then big-endian pairs of address and time.

Only sensors of the jAER chips fit, and only times that a 32-bit microsecond clock can tell; anything else is refused.
"""

from pathlib import Path

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.file import FileSink
from pipeline.sources.aedat2 import DAVIS, DVS128, END_OF_HEADER, MAGIC, AddressLayout

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
_TURN_US = 1 << 32
_HALF_TURN_US = 1 << 31


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
        t = events["t"]
        if self._last_us is None and not 0 <= int(t[0]) < _TURN_US:
            raise UsageError(
                f"AEDAT 2.0 has 32 bits for microseconds and cannot begin at {int(t[0])} us; shift the times with --from-zero, "
                "or write aedat3 or aedat4"
            )
        steps = np.diff(t, prepend=t[0] if self._last_us is None else self._last_us)
        lost = np.flatnonzero((steps >= _HALF_TURN_US) & (t >= _TURN_US))
        if lost.size:
            gap_s = int(steps[lost[0]]) // 1_000_000
            raise UsageError(
                f"AEDAT 2.0 cannot tell a pause of {gap_s} s once its 32-bit clock has turned; write aedat3 or aedat4"
            )

    def _encode(self, events: Events) -> None:
        layout, (width, height) = self._layout, self._sensor_size
        x, y, p = (events[name].astype(np.uint32) for name in ("x", "y", "p"))
        address = (width - 1 - x) << layout.x_shift | (height - 1 - y) << layout.y_shift | (p ^ layout.p_flip) << layout.p_shift
        records = np.empty((events.size, 2), dtype=">u4")
        records[:, 0] = address
        records[:, 1] = events["t"] % _TURN_US
        self._put(records.tobytes())
