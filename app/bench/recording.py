"""Recordings to measure with, one of each kind that Saccade decodes. Two formats that it does not write are laid out here."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.bench.stream import Stream, make_stream
from pipeline.schema.events import Events, SensorSize
from pipeline.sinks.registry import open_sink

# As many events in a packet as cameras and their programs put into one.
_PACKET_EVENTS = 1 << 13
# Events, the time of the one before them (-1: none), the sensor.
_Encode = Callable[[Events, int, SensorSize], bytes]
_MAX_TIME_HIGH = (1 << 28) - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of recording: the writer's format and compression, and how its events lie."""

    format: str
    ending: str
    compression: str | None = None
    rate_hz: float = 10e6
    row_px: int = 32


KINDS = {
    "aedat2": Kind("aedat2", ".aedat2"),
    "aedat3": Kind("aedat3", ".aedat3"),
    # as compressible as recordings of a DVXplorer
    "aedat4-none": Kind("aedat4", ".aedat4", "none", rate_hz=1e6, row_px=2),
    "aedat4-lz4": Kind("aedat4", ".aedat4", "lz4", rate_hz=1e6, row_px=2),
    "aedat4-zstd": Kind("aedat4", ".aedat4", "zstd", rate_hz=1e6, row_px=2),
    "evt2": Kind("evt2", ".raw"),
    "evt21": Kind("evt21", ".raw"),
    # single pixels, few a millisecond: nearly every event brings its own time and row
    "evt3-sparse": Kind("evt3", ".raw", rate_hz=1e6, row_px=1),
    "evt3-vectors": Kind("evt3", ".raw"),
    "dat": Kind("dat", ".dat"),
    "hdf5-ecf": Kind("hdf5", ".hdf5"),
    "es": Kind("es", ".es"),
}


def write_recording(name: str, folder: Path, n_events: int) -> Path:
    """A recording of `n_events` of the kind of this name, the same bytes each time."""
    kind = KINDS[name]
    path = folder / f"{name}{kind.ending}"
    stream = Stream(n_events, rate_hz=kind.rate_hz, row_px=kind.row_px)
    packets = (block[at : at + _PACKET_EVENTS] for block in make_stream(stream) for at in range(0, block.size, _PACKET_EVENTS))
    if kind.format in _LAYOUTS:
        header, encode = _LAYOUTS[kind.format]
        with path.open("wb") as file:
            file.write(header(stream.sensor_size))
            file.writelines(_encode_all(packets, encode, stream.sensor_size))
        return path
    with open_sink(path, stream.sensor_size, kind.format, kind.compression) as sink:
        for events in packets:
            sink.write(events)
    return path


def _encode_all(
    packets: Iterator[Events], encode: Callable[[Events, int, SensorSize], bytes], size: SensorSize
) -> Iterator[bytes]:
    last_us = -1
    for events in packets:
        yield encode(events, last_us, size)
        last_us = int(events["t"][-1])


def _evt21_header(sensor_size: SensorSize) -> bytes:
    width, height = sensor_size
    return f"% format EVT21;endianness=little;height={height};width={width}\n% end\n".encode()


def _evt21(events: Events, last_us: int, sensor_size: SensorSize) -> bytes:  # noqa: ARG001 # one shape for all
    """64-bit words: one for all pixels of a row, time and polarity within 32 columns, and TIME_HIGH where it changes."""
    t, x, y, p = (events[name].astype(np.uint64) for name in ("t", "x", "y", "p"))
    key = np.stack((t, y, p, x >> 5))
    first = np.flatnonzero(np.concatenate(([True], (key[:, 1:] != key[:, :-1]).any(axis=0))))
    masks = np.bitwise_or.reduceat(np.uint64(1) << (x & 31), first)
    t, x, y, p = (column[first] for column in (t, x & ~np.uint64(31), y, p))
    words = p << 60 | (t & 63) << 54 | x << 43 | y << 32 | masks
    high = t >> 6
    is_new = high != np.concatenate(([np.uint64(last_us >> 6 & _MAX_TIME_HIGH)], high[:-1]))
    return np.insert(words, np.flatnonzero(is_new), 8 << 60 | high[is_new] << 32).astype("<u8").tobytes()


def _es_header(sensor_size: SensorSize) -> bytes:
    return b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", *sensor_size)


def _es(events: Events, last_us: int, sensor_size: SensorSize) -> bytes:
    """Five bytes an event, y from the bottom, after as many bytes 0xFF as 127 us fit into the step."""
    steps = np.diff(events["t"], prepend=max(last_us, 0))
    records = np.empty(events.size, dtype=[("step", "u1"), ("x", "<u2"), ("y", "<u2")])
    records["step"] = steps % 127 << 1 | events["p"]
    records["x"], records["y"] = events["x"], sensor_size.height - 1 - events["y"]
    rows: npt.NDArray[np.uint8] = records.view(np.uint8).reshape(-1, records.itemsize)
    waits = np.repeat(np.arange(events.size) * records.itemsize, steps // 127)
    return np.insert(rows.reshape(-1), waits, 0xFF).tobytes()


_LAYOUTS: dict[str, tuple[Callable[[SensorSize], bytes], _Encode]] = {
    "evt21": (_evt21_header, _evt21),
    "es": (_es_header, _es),
}
