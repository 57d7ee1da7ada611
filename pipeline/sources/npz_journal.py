"""The journal that an npz recording is until it is closed: a zip archive that ends in the middle of an array of records.

Its first entries are `width.npy` and `height.npy`, its last `events.npy`, whose header claims no rows: how many there are, the
size of the file tells. No archive that is finished looks like it.
"""

import struct
from io import BufferedReader
from typing import NamedTuple

import numpy as np

from pipeline.schema.events import EVENT_DTYPE, SensorSize

RECORDS = "events"
_LOCAL_HEADER = struct.Struct("<4s5HLLL2H")
_SIGNATURE = b"PK\x03\x04"
_START_BYTES = 4096


class Journal(NamedTuple):
    """Size of the sensor, and where the records begin."""

    sensor_size: SensorSize
    data_start: int


def read_journal(handle: BufferedReader) -> Journal | None:
    """The journal that a file is; None if it is none."""
    handle.seek(0)
    start = handle.read(_START_BYTES)
    sides: dict[str, int] = {}
    at = 0
    while len(start) >= at + _LOCAL_HEADER.size:
        signature, *_, n_bytes, _, n_name, n_extra = _LOCAL_HEADER.unpack_from(start, at)
        at += _LOCAL_HEADER.size
        name = start[at : at + n_name].decode("latin-1").removesuffix(".npy")
        at += n_name + n_extra
        if signature != _SIGNATURE:
            return None
        if name == RECORDS and set(sides) == {"width", "height"}:
            n_head = _array_head(start[at:])
            return Journal(SensorSize(sides["width"], sides["height"]), at + n_head) if n_head else None
        if name not in ("width", "height") or n_bytes > _START_BYTES:
            return None
        # the number is the end of its small array
        sides[name] = int.from_bytes(start[at + n_bytes - 8 : at + n_bytes], "little")
        if not 0 < sides[name] <= 1 << 16:
            return None
        at += n_bytes
    return None


def _array_head(data: bytes) -> int:
    """How many bytes the head of an array of our records takes; 0 if it is another one."""
    if data[:8] != b"\x93NUMPY\x01\x00" or len(data) < 10:
        return 0
    n_bytes = 10 + int.from_bytes(data[8:10], "little")
    wanted = str(np.lib.format.dtype_to_descr(EVENT_DTYPE)).encode()
    return n_bytes if len(data) >= n_bytes and wanted in data[:n_bytes] else 0
