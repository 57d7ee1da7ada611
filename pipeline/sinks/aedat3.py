"""Writes AEDAT 3.1 as cAER does: header with the source, then packets of events and triggers with an overflow counter."""

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sinks.file import FileSink
from pipeline.sources.aedat3 import END_OF_HEADER
from pipeline.sources.aedat3_packets import EVENT_BYTES, FALLING, LAYOUT_3_1, POLARITY, PULSE, RISING, SPECIAL
from pipeline.sources.aer import EDGE_ID, PULSE_ID

_SOURCE_ID = 1
# Devices that other programs know by name; any other sensor says its size instead.
_DEVICES = {
    SensorSize(128, 128): "DVS128",
    SensorSize(240, 180): "DAVIS240C",
    SensorSize(346, 260): "DAVIS346B",
    SensorSize(640, 480): "DAVIS640",
}
# The header asks for a start time; a fixed one keeps equal recordings equal byte for byte.
_HEADER = "#!AER-DAT3.1\r\n#Format: RAW\r\n#Source {id}: {device}\r\n#Start-Time: 1970-01-01 00:00:00 (TZ+0000)\r\n{end}\r\n"
_PACKET_HEADER = struct.Struct("<hhiiiiii")
_OVERFLOW_BITS = 31
_MAX_TIME_US = 1 << 60
_MAX_PACKET_EVENTS = 1 << 16


class Aedat3Sink(FileSink):
    """An AEDAT 3.1 recording being written; every packet is on its way to the disk when `write` returns."""

    holds_triggers = True

    def __init__(self, path: Path, sensor_size: SensorSize) -> None:
        if max(sensor_size) > LAYOUT_3_1.x_mask + 1:
            width, height = sensor_size
            raise UsageError(f"AEDAT 3.1 has 15 bits for a coordinate; a sensor of {width}x{height} pixels does not fit")
        super().__init__(path, sensor_size)
        device = _DEVICES.get(sensor_size, f"Saccade {sensor_size.width}x{sensor_size.height}")
        self._put(_HEADER.format(id=_SOURCE_ID, device=device, end=END_OF_HEADER.decode()).encode())

    def _check_times(self, events: Events) -> None:
        _check_times(events["t"])

    def _encode(self, events: Events) -> None:
        x, y, p = (events[name].astype(np.uint32) for name in ("x", "y", "p"))
        self._put_packets(POLARITY, x << LAYOUT_3_1.x_shift | y << LAYOUT_3_1.y_shift | p << 1 | 1, events["t"])

    def write_triggers(self, triggers: Triggers) -> None:
        """Take external triggers; UsageError for one that AEDAT 3.1 has no kind for, and then nothing of them is written."""
        if triggers.size == 0:
            return
        _check_times(triggers["t"])
        is_pulse, is_rising = triggers["id"] == PULSE_ID, triggers["p"] == 1
        if not ((triggers["id"] == EDGE_ID) | (is_pulse & is_rising)).all():
            raise UsageError(
                "AEDAT 3.1 holds triggers of the id 0 (external input) and rising ones of the id 1 (pulse), no others"
            )
        kinds = np.where(is_pulse, PULSE, np.where(is_rising, RISING, FALLING)).astype(np.uint32)
        self._put_packets(SPECIAL, kinds << 1 | 1, triggers["t"])

    def _put_packets(self, kind: int, words: npt.NDArray[np.integer], times: npt.NDArray[np.int64]) -> None:
        """One packet for each value of the overflow counter, none larger than `_MAX_PACKET_EVENTS`."""
        records = np.empty((words.size, 2), dtype="<u4")
        records[:, 0] = words
        records[:, 1] = times & ((1 << _OVERFLOW_BITS) - 1)
        overflow = times >> _OVERFLOW_BITS
        turns = np.flatnonzero(np.diff(overflow)) + 1
        cuts = sorted({0, *range(0, words.size, _MAX_PACKET_EVENTS), *turns.tolist(), words.size})
        pieces: list[bytes] = []
        for start, end in pairwise(cuts):
            n = end - start
            pieces.append(_PACKET_HEADER.pack(kind, _SOURCE_ID, EVENT_BYTES, EVENT_BYTES // 2, int(overflow[start]), n, n, n))
            pieces.append(records[start:end].tobytes())
        self._put(b"".join(pieces))


def _check_times(times: npt.NDArray[np.int64]) -> None:
    first, last = int(times[0]), int(times[-1])
    if first < 0 or last >= _MAX_TIME_US:
        raise UsageError(f"AEDAT 3.1 cannot hold the times {first} to {last} us; shift them with --from-zero")
