"""What a training tells while it goes: JSON lines, and event files that TensorBoard reads.

An event file is TFRecord: length (uint64), its masked CRC-32C, the record, the record's masked CRC-32C, all little-endian; each
record is a protobuf `Event` of TensorFlow. Only the few fields that a scalar needs are written here, by hand.
"""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.schema.clock import wall_clock
from pipeline.schema.errors import InputError

Report = Callable[[dict[str, Any]], None]

# Castagnoli's polynomial, bits reversed; the mask is TensorFlow's.
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
# Protobuf wire types, and the numbers of the fields of Event, SessionLog, Summary and Summary.Value.
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION_LOG = 1, 2, 3, 5, 7
_STATUS, _STATUS_START = 1, 1
_VALUE, _TAG, _SIMPLE_VALUE = 1, 1, 2
_SCALARS = ("loss", "accuracy", "rate", "gradient")


def log_lines(path: Path, n_steps_kept: int = 0) -> Report:
    """Report that appends one JSON line to `path` for each step, after the lines of the first `n_steps_kept` that it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.dumps(line) + "\n" for line in read_lines(path) if line["step"] <= n_steps_kept] if n_steps_kept else []
    path.write_text("".join(kept), encoding="utf-8")

    def write(line: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return write


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a last one that was cut off in the middle is left out."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise InputError(f"{path}, line {number}: no JSON line of a training ({error})") from error


def event_file(folder: Path, n_steps_kept: int = 0) -> Report:
    """Report that writes loss, accuracy, rate and the gradient's norm of each step into a new event file in `folder`.

    A training that goes on begins another file; TensorBoard then forgets the steps after `n_steps_kept` of the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_files = len(list(folder.glob("events.out.tfevents.*")))
    path = folder / f"events.out.tfevents.{int(wall_clock().timestamp())}.saccade.{n_files}"
    start = _field(_SESSION_LOG, _BYTES, _field(_STATUS, _VARINT, _STATUS_START))
    path.write_bytes(
        _record(_event(0, _field(_FILE_VERSION, _BYTES, b"brain.Event:2"))) + _record(_event(n_steps_kept + 1, start))
    )

    def write(line: dict[str, Any]) -> None:
        values = b"".join(
            _field(_VALUE, _BYTES, _field(_TAG, _BYTES, f"train/{name}".encode()) + _field(_SIMPLE_VALUE, _FLOAT, line[name]))
            for name in _SCALARS
            if name in line
        )
        with path.open("ab") as file:
            file.write(_record(_event(line["step"], _field(_SUMMARY, _BYTES, values))))

    return write


def _event(step: int, content: bytes) -> bytes:
    return _field(_WALL_TIME, _DOUBLE, wall_clock().timestamp()) + _field(_STEP, _VARINT, step) + content


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _field(number: int, wire: int, value: Any) -> bytes:
    """One field of a protobuf message."""
    key = _varint(number << 3 | wire)
    if wire == _VARINT:
        return key + _varint(value)
    if wire == _BYTES:
        return key + _varint(len(value)) + bytes(value)
    return key + struct.pack("<d" if wire == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
