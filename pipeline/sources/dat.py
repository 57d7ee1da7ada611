"""Prophesee DAT, version 2: the lines of a Prophesee header, two bytes (type and size of a record), then records.

Types 0 and 12 are events of 8 bytes: {uint32 t in us, uint32 with x 13-0, y 27-14, ON 28}, little-endian. Type 40, optical
flow, has 20 bytes more behind each event. Type 14 holds external triggers of 8 bytes, {uint32 t, uint32 with value 3-0, id
31-26}. The oldest files (kAER) have no header, and events with x 8-0, y 16-9, ON 17; their bytes tell nothing, so that a user
has to name the format. The sensor's size stands in the header or is measured from the events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize, Triggers, empty_events, make_triggers
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    NO_RESET,
    TURN_US,
    DecodeState,
    Turns,
    allocate,
    bounding_size,
    move_to,
    order,
    signed,
    unwrap,
)
from pipeline.sources.raw import read_header, sensor_size_of

RECORD_BYTES = 8
CD_EVENTS = 12
_TRIGGERS, _FLOW = 14, 40
_FLOW_BYTES = 28
_BYTES_OF_TYPE = {0: RECORD_BYTES, CD_EVENTS: RECORD_BYTES, _TRIGGERS: RECORD_BYTES, _FLOW: _FLOW_BYTES}
MAX_SIDE = 1 << 14
# Records checked, then converted, in one go: both loops fill the processor's wide registers, and stay in its first cache.
_CHUNK = 1 << 10
_UPPER, _T_MASK = np.uint64(32), np.uint64(TURN_US - 1)


class Layout(NamedTuple):
    """Where x, y and p are in the upper half of a record: masks, and shifts of the whole."""

    x_mask: int
    y_shift: int
    y_mask: int
    p_shift: int


_VERSION_2 = Layout(0x3FFF, 46, 0x3FFF, 60)
_KAER = Layout(0x1FF, 41, 0xFF, 49)


@njit(cache=True, nogil=True)
def _is_plain(records: npt.NDArray[np.uint64], layout: Layout, sensor_size: SensorSize, earliest: int) -> bool:
    """Whether all records (at least one) lie on the sensor, at times that do not fall, from `earliest` (of 32 bits) on."""
    x_mask, y_shift, y_mask = np.uint64(layout.x_mask), np.uint64(layout.y_shift), np.uint64(layout.y_mask)
    right, bottom = np.uint64(sensor_size.width - 1), np.uint64(sensor_size.height - 1)
    newest = records[records.size - 1]
    # what is too large makes a difference negative, which is a set bit 63 here
    odd = (right - (newest >> _UPPER & x_mask)) | (bottom - (newest >> y_shift & y_mask))
    for i in range(records.size - 1):
        record = records[i]
        odd |= (right - (record >> _UPPER & x_mask)) | (bottom - (record >> y_shift & y_mask))
        odd |= (records[i + 1] & _T_MASK) - (record & _T_MASK)
    is_late = signed(records[0] & _T_MASK) < earliest or signed(newest & _T_MASK) > earliest + LEAP_US
    return bool(signed(odd) >= 0 and not is_late)


@njit(cache=True, nogil=True)
def _convert(records: npt.NDArray[np.uint64], out: npt.NDArray[np.uint64], layout: Layout, base_us: int) -> None:
    """Write plain records as events to `out`, flat, two slots each, with `base_us` added to their times."""
    x_mask, y_shift, y_mask = np.uint64(layout.x_mask), np.uint64(layout.y_shift), np.uint64(layout.y_mask)
    p_shift, base = np.uint64(layout.p_shift), np.uint64(base_us)
    for i in range(records.size):
        record = records[i]
        p = record >> p_shift & np.uint64(1)
        out[2 * i] = (record >> _UPPER & x_mask) | (record >> y_shift & y_mask) << np.uint64(16) | p << _UPPER
        out[2 * i + 1] = (record & _T_MASK) + base


@njit(cache=True, nogil=True)
def _one(
    record: np.uint64, layout: Layout, sensor_size: SensorSize, turns: Turns, state: DecodeState
) -> tuple[int, Turns, DecodeState]:
    """One record as (place of its pixel, -1 for none, and what it leaves); its time is the state's last."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    x, y = signed(record >> np.uint64(32)) & layout.x_mask, signed(record >> np.uint64(layout.y_shift)) & layout.y_mask
    if x >= sensor_size.width or y >= sensor_size.height:
        return -1, turns, DecodeState(last, shift, n_backward, n_jumps, n_outside + 1, n_impossible)
    t, turned = unwrap(signed(record & np.uint64(TURN_US - 1)), turns)
    last, shift, verdict = order(t, last, shift, NO_RESET)
    n_backward += verdict == HELD
    n_jumps += verdict == FELL
    n_impossible += verdict == IMPOSSIBLE
    state = DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
    p = signed(record >> np.uint64(layout.p_shift)) & 1
    return -1 if verdict == IMPOSSIBLE else x | (y << 16) | (p << 32), Turns(turned, t), state


@njit(cache=True, nogil=True)
def _decode(
    records: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
    layout: Layout,
    sensor_size: SensorSize,
    turns: Turns,
    state: DecodeState,
) -> tuple[int, Turns, DecodeState]:
    """Records, uint64 (n,), to events (`out`, flat, two slots each); gives how many were written."""
    n = 0
    for start in range(0, records.size, _CHUNK):
        chunk = records[start : start + _CHUNK]
        base_us = turns.turned_us + state.shift_us
        if state.last_us >= base_us and _is_plain(chunk, layout, sensor_size, state.last_us - base_us):
            _convert(chunk, out[2 * n :], layout, base_us)
            n += chunk.size
            state = move_to(signed(out[2 * n - 1]), state)
            turns = Turns(turns.turned_us, state.last_us - state.shift_us)
            continue
        for record in chunk:
            place, turns, state = _one(record, layout, sensor_size, turns, state)
            if place >= 0:
                out[2 * n], out[2 * n + 1] = place, state.last_us
                n += 1
    return n, turns, state


class DatSource(FileSource):
    """A Prophesee DAT recording; `chip` (a sensor's name or WIDTHxHEIGHT) overrules what the header says of the sensor.

    A file without a header is taken for one of kAER's, of which it is not known from which corner y counts: it is as stored.
    """

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None) -> None:
        header = read_header(handle, path.stat().st_size)
        sensor_size = sensor_size_of(chip) if chip else _sensor_size(path, header.fields)
        handle.seek(header.data_start)
        what = handle.read(2) if header.data_start else b""
        self._type = _check_type(path, header.fields, what)
        self._record_bytes = _BYTES_OF_TYPE[self._type]
        self._data_start = header.data_start + len(what)
        self._layout = _VERSION_2 if header.data_start else _KAER
        encoding = "DAT v2" if header.data_start else "kAER, no header"
        super().__init__(path, SourceInfo(name, "Prophesee DAT", encoding, sensor_size or SensorSize(0, 0)), handle)
        self._is_measured = sensor_size is None
        if self._is_measured:
            self._info = replace(self._info, sensor_size=self._measured_size())

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            self._note("the header tells no sensor size; it was measured from the events (--chip WIDTHxHEIGHT to name it)")
        position, turns = self._data_start, Turns()
        if self._begin is not None:
            position, turns = self._begin.position, Turns(*self._begin.state)
        for records in self._records(position):
            position += records.size * self._record_bytes
            events, turns = self._take(records, turns)
            yield events
            self._mark(position, *turns)
        self._note_end(self.n_bytes - self._data_start)

    def _take(self, records: npt.NDArray[np.uint64], turns: Turns) -> tuple[Events, Turns]:
        """Decode records, uint64 (n,), of either kind; gives the events, and the clock after them."""
        if self._type == _TRIGGERS:
            triggers, turns = _triggers_of(records, turns)
            self._keep_triggers(triggers)
            return empty_events(), turns
        events, out = allocate(records.size)
        n, turns, self._state = _decode(records, out.reshape(-1), self._layout, self._info.sensor_size, turns, self._state)
        return events[:n], turns

    def _note_end(self, n_bytes: int) -> None:
        """Say what is special about the file and its last bytes; `n_bytes` lie behind the header."""
        n_records, n_ragged = divmod(n_bytes, self._record_bytes)
        if self._type == _TRIGGERS:
            self._note(f"no events: the file holds {n_records} external triggers")
        if self._type == _FLOW:
            self._note("optical flow: the events were read, and the speeds beside them left out")
        if n_records == 0:
            self._note_header_only()
        if n_ragged:
            self._note_cut(n_ragged, "the last record is cut off")

    def _records(self, position: int) -> Iterator[npt.NDArray[np.uint64]]:
        """The first 8 bytes of each whole record, uint64 (n,), by blocks; the next one takes the place of the one before."""
        self._handle.seek(position)
        block = np.empty(BLOCK_BYTES // self._record_bytes * self._record_bytes, dtype=np.uint8)
        while n_read := self._read_into(block):
            rows = block[: n_read - n_read % self._record_bytes].reshape(-1, self._record_bytes)
            yield np.ascontiguousarray(rows[:, :RECORD_BYTES]).view("<u8").reshape(-1)

    def _measured_size(self) -> SensorSize:
        """The smallest sensor that holds all events, for files that do not tell."""
        max_x = max_y = -1
        if self._type == _TRIGGERS:
            return bounding_size(max_x, max_y)
        for records in self._records(self._data_start):
            if records.size:
                max_x = max(max_x, int((records >> np.uint64(32) & np.uint64(self._layout.x_mask)).max()))
                max_y = max(max_y, int((records >> np.uint64(self._layout.y_shift) & np.uint64(self._layout.y_mask)).max()))
        return bounding_size(max_x, max_y)


def _triggers_of(records: npt.NDArray[np.uint64], turns: Turns) -> tuple[Triggers, Turns]:
    """Trigger records, uint64 (n,), with the turns of their clock counted."""
    raw = (records & np.uint64(TURN_US - 1)).astype(np.int64)
    steps = np.diff(raw, prepend=turns.previous_us - turns.turned_us)
    turned = turns.turned_us + np.cumsum(steps < -LEAP_US) * TURN_US
    what = (records >> np.uint64(32)).astype(np.int64)
    triggers = make_triggers(raw + turned, what >> 26, what & 0xF)
    return triggers, Turns(int(turned[-1]), int(triggers["t"][-1])) if records.size else turns


def _check_type(path: Path, fields: Mapping[str, str], what: bytes) -> int:
    """Type of the records by the two bytes behind the header (fewer: the file ends there); InputError if they are not ours."""
    version = fields.get("Version", "2")
    if version not in ("2", "2.0"):
        raise InputError(f"{path} is Prophesee DAT of version {version[:20]!r}; only version 2 is read")
    if len(what) < 2:
        return CD_EVENTS
    kind, size = what
    if _BYTES_OF_TYPE.get(kind) != size:
        raise InputError(
            f"{path} is Prophesee DAT of something unknown (type {kind}, {size} bytes each); events (types 0 and 12 of 8 "
            "bytes), triggers (type 14 of 8 bytes) and optical flow (type 40 of 28 bytes) are read"
        )
    return kind


def _sensor_size(path: Path, fields: Mapping[str, str]) -> SensorSize | None:
    """Pixels by `Width` and `Height`; None when the header lacks one of them, InputError when they cannot be meant."""
    if not fields.keys() >= {"Width", "Height"}:
        return None
    width, height = fields["Width"], fields["Height"]
    if not all(re.fullmatch(r"[0-9]{1,5}", side) and 0 < int(side) <= MAX_SIDE for side in (width, height)):
        raise InputError(
            f"{path}: the header's sensor size cannot be right ({width}x{height}); say it with --chip WIDTHxHEIGHT"
        )
    return SensorSize(int(width), int(height))
