"""Prophesee DAT, version 2: the lines of a Prophesee header, two bytes (type and size of a record), then records of 8 bytes.

Types 0 and 12 are events: {uint32 t in us, uint32 with x 13-0, y 27-14, ON 28}, little-endian. Type 14 holds external triggers
and no event. The sensor's size stands in the header or is measured from the events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    NO_RESET,
    DecodeState,
    Turns,
    allocate,
    bounding_size,
    order,
    signed,
    unwrap,
)
from pipeline.sources.raw import read_header, sensor_size_of

RECORD_BYTES = 8
_EVENT_TYPES = (0, 12)
_TRIGGERS = 14
_TYPE_NAMES = {_TRIGGERS: "external triggers", 40: "optical flow"}
_MAX_SIDE = 1 << 14


@njit(cache=True, nogil=True)
def _decode(
    records: npt.NDArray[np.uint64], out: npt.NDArray[np.uint64], sensor_size: SensorSize, turns: Turns, state: DecodeState
) -> tuple[int, Turns, DecodeState]:
    """Records, uint64 (n,), to events; gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    turned, previous = turns
    n = 0
    for record in records:
        x = signed((record >> np.uint64(32)) & np.uint64(0x3FFF))
        y = signed((record >> np.uint64(46)) & np.uint64(0x3FFF))
        if x >= sensor_size.width or y >= sensor_size.height:
            n_outside += 1
            continue
        raw = signed(record & np.uint64(0xFFFFFFFF))
        t = raw + turned + shift
        if last <= t <= last + LEAP_US:
            previous = raw + turned
        else:
            previous, turned = unwrap(raw, Turns(turned, previous))
            t, shift, verdict = order(previous, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        p = signed((record >> np.uint64(60)) & np.uint64(1))
        out[n, 0] = x | (y << 16) | (p << 32)
        out[n, 1] = t
        n += 1
    return n, Turns(turned, previous), DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


class DatSource(FileSource):
    """A Prophesee DAT recording; `chip` (a sensor's name or WIDTHxHEIGHT) overrules what the header says of the sensor."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None) -> None:
        header = read_header(handle, path.stat().st_size)
        sensor_size = sensor_size_of(chip) if chip else _sensor_size(path, header.fields)
        handle.seek(header.data_start)
        what = handle.read(2)
        self._type = _check_type(path, header.fields, what)
        self._data_start = header.data_start + len(what)
        super().__init__(path, SourceInfo(name, "Prophesee DAT", "DAT v2", sensor_size or SensorSize(0, 0)), handle)
        self._is_measured = sensor_size is None
        if self._is_measured:
            self._info = replace(self._info, sensor_size=self._measured_size())

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            self._note("the header tells no sensor size; it was measured from the events (--chip WIDTHxHEIGHT to name it)")
        turns = Turns()
        for records in self._records():
            events, out = allocate(records.size)
            n, turns, self._state = _decode(records, out, self._info.sensor_size, turns, self._state)
            yield events[:n]
        n_bytes = self.n_bytes - self._data_start
        if self._type == _TRIGGERS:
            self._note(f"no events: the file holds {n_bytes // RECORD_BYTES} external triggers")
        if n_bytes < RECORD_BYTES:
            self._note_header_only()
        if n_bytes % RECORD_BYTES:
            self._note_cut(n_bytes % RECORD_BYTES, "the last record is cut off")

    def _records(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Whole event records, uint64 (n,), a block at a time; the next block takes the place of the one before."""
        if self._type == _TRIGGERS:
            return
        self._handle.seek(self._data_start)
        block = np.empty(BLOCK_BYTES, dtype=np.uint8)
        while n_read := self._read_into(block):
            yield block[: n_read - n_read % RECORD_BYTES].view("<u8")

    def _measured_size(self) -> SensorSize:
        """The smallest sensor that holds all events, for files that do not tell."""
        max_x = max_y = -1
        for records in self._records():
            if records.size:
                words = records.view("<u4")[1::2]
                max_x = max(max_x, int((words & 0x3FFF).max()))
                max_y = max(max_y, int((words >> 14 & 0x3FFF).max()))
        return bounding_size(max_x, max_y)


def _check_type(path: Path, fields: Mapping[str, str], what: bytes) -> int:
    """Type of the records by the two bytes behind the header (fewer: the file ends there); InputError if they are not ours."""
    version = fields.get("Version", "2")
    if version not in ("2", "2.0"):
        raise InputError(f"{path} is Prophesee DAT of version {version[:20]!r}; only version 2 is read")
    if len(what) < 2:
        return _EVENT_TYPES[0]
    kind, size = what
    if kind in (*_EVENT_TYPES, _TRIGGERS) and size == RECORD_BYTES:
        return kind
    named = _TYPE_NAMES.get(kind, "something unknown")
    raise InputError(f"{path} is Prophesee DAT of {named} (type {kind}, {size} bytes each); types 0 and 12 of 8 bytes are read")


def _sensor_size(path: Path, fields: Mapping[str, str]) -> SensorSize | None:
    """Pixels by `Width` and `Height`; None when the header lacks one of them, InputError when they cannot be meant."""
    if not fields.keys() >= {"Width", "Height"}:
        return None
    width, height = fields["Width"], fields["Height"]
    if not all(re.fullmatch(r"[0-9]{1,5}", side) and 0 < int(side) <= _MAX_SIDE for side in (width, height)):
        raise InputError(
            f"{path}: the header's sensor size cannot be right ({width}x{height}); say it with --chip WIDTHxHEIGHT"
        )
    return SensorSize(int(width), int(height))
