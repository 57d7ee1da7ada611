"""The packets of AEDAT 3.1 and 3.0, compiled: polarity events to events, special events to triggers and resets, the rest past.

A packet is a 28-byte header {int16 type, int16 source, int32 event size, int32 offset of the time, int32 overflow counter,
int32 capacity, int32 number, int32 valid} and a body of capacity times event size. Time is the counter << 31 plus the 31 bits
of the event. 3.0 counts y from the bottom and has other shifts. Knows no file.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize
from pipeline.sources.aer import EDGE_ID, PULSE_ID
from pipeline.sources.little_endian import load32, load_signed32
from pipeline.sources.ordering import (
    BEFORE_FIRST_US,
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    MAX_FILE_TIME_US,
    DecodeState,
    move_to,
    order,
    signed,
)

PACKET_HEADER_BYTES = 28
SPECIAL, POLARITY = 0, 1
EVENT_BYTES = 8
ANY_SOURCE = -1
# Kinds of special events; pulses and edges are those of the external input.
_TIMESTAMP_RESET, RISING, FALLING, PULSE = 1, 2, 3, 4
# Events that are read one by one are 8 bytes long; leave room for wider ones, none for nonsense.
_MAX_EVENT_BYTES = 64
# Events checked and converted in one go; one that needs care sends them all through the careful loop.
_CHUNK = 512


class WordLayout(NamedTuple):
    """Where the data word of a polarity event keeps x and y; `y_flip` is -1 when y counts from the bottom, else 0."""

    x_shift: int
    x_mask: int
    y_shift: int
    y_mask: int
    y_flip: int


LAYOUT_3_1 = WordLayout(x_shift=17, x_mask=0x7FFF, y_shift=2, y_mask=0x7FFF, y_flip=0)
LAYOUT_3_0 = WordLayout(x_shift=18, x_mask=0x3FFF, y_shift=4, y_mask=0x3FFF, y_flip=-1)


class Packet(NamedTuple):
    """The packet being read: its header, how many events and bytes of it are left, and what was met on the way.

    `wanted` is the source whose events are delivered; the first polarity packet sets it when it is `ANY_SOURCE`.
    `n_other` counts events of other sources, `was_reset` says that the clock was reset since the last event, `last_trigger_us`
    is the time of the last trigger as delivered.
    """

    wanted: int = ANY_SOURCE
    type: int = SPECIAL
    source: int = 0
    event_bytes: int = EVENT_BYTES
    time_offset: int = 4
    overflow: int = 0
    n_left: int = 0
    bytes_left: int = 0
    n_other: int = 0
    last_trigger_us: int = BEFORE_FIRST_US
    was_reset: bool = False
    is_damaged: bool = False


def restore(state: tuple[int, ...]) -> Packet:
    """A packet from its fields as a bookmark keeps them, with the types that the compiled code knows."""
    return Packet._make((*state[:-2], *map(bool, state[-2:])))


@njit(cache=True, nogil=True)
def _open_packet(data: npt.NDArray[np.uint8], i: int, before: Packet) -> Packet:
    """Read the packet header at byte `i`; `is_damaged` when no writer can have meant it."""
    first = load32(data, i)
    kind, source = first & 0xFFFF, (first >> 16) & 0xFFFF
    size, time_offset = load_signed32(data, i + 4), load_signed32(data, i + 8)
    overflow, capacity, number = load_signed32(data, i + 12), load_signed32(data, i + 16), load_signed32(data, i + 20)
    damaged = kind >= 0x8000 or size <= 0 or capacity < 0 or number < 0 or number > capacity
    if kind <= POLARITY:
        damaged = damaged or size < EVENT_BYTES or size > _MAX_EVENT_BYTES or time_offset < 0 or time_offset + 4 > size
    wanted = before.wanted
    if kind == POLARITY and wanted == ANY_SOURCE:
        wanted = source
    n_other = before.n_other
    if kind == POLARITY and source != wanted:
        n_other += number
    return Packet(
        wanted, kind, source, size, time_offset, overflow, number, capacity * size, n_other,
        before.last_trigger_us, before.was_reset, damaged,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _read_specials(
    records: npt.NDArray[np.uint64], triggers: npt.NDArray[np.uint64], packet: Packet, state: DecodeState
) -> tuple[int, int, bool]:
    """Special events as `_gather` gives them: how many triggers there were, the last one's time, and whether to expect a reset.

    Packets of triggers and of events come one after the other, so that their times need not be in order with each other.
    """
    last_us, was_reset = packet.last_trigger_us, packet.was_reset
    n = 0
    for record in records:
        word = signed(record)
        kind = (word >> 1) & 0x7F
        if word & 1 == 0 or (packet.source != packet.wanted != ANY_SOURCE and kind != _TIMESTAMP_RESET):
            continue
        if kind == _TIMESTAMP_RESET:
            was_reset = True
        elif kind in (RISING, FALLING, PULSE):
            raw = (packet.overflow << 31) + (word >> 32)
            if not -MAX_FILE_TIME_US < raw < MAX_FILE_TIME_US:
                continue
            # after a reset the new clock is only known with the next event
            last_us = max(last_us, raw + state.shift_us, state.last_us if was_reset else last_us)
            triggers[n, 0] = (PULSE_ID if kind == PULSE else EDGE_ID) | (kind != FALLING) << 16
            triggers[n, 1] = last_us
            n += 1
    return n, last_us, was_reset


@njit(cache=True, nogil=True)
def _gather(data: npt.NDArray[np.uint8], start: int, n_events: int, packet: Packet) -> npt.NDArray[np.uint64]:
    """Data word (low half) and time (high half) of each event, uint64 (n_events,); a view wherever writers are sane."""
    if packet.event_bytes == EVENT_BYTES and packet.time_offset == EVENT_BYTES // 2:
        return data[start : start + n_events * EVENT_BYTES].view(np.uint64)
    records = np.empty(n_events, dtype=np.uint64)
    for i in range(n_events):
        at = start + i * packet.event_bytes
        records[i] = load32(data, at) | load32(data, at + packet.time_offset) << 32
    return records


@njit(cache=True, nogil=True)
def _convert(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    offset_us: int,
    last_us: int,
) -> bool:
    """Write all records as events, and say whether that was right: all are valid, inside the sensor, and time never falls.

    Without a branch, so that the compiler works on many events at once; where it was wrong, the careful loop begins again.
    """
    layout, (width, height) = view
    previous = last_us
    wrong = steps = 0
    for i in range(records.size):
        word = signed(records[i])
        x, y = (word >> layout.x_shift) & layout.x_mask, (word >> layout.y_shift) & layout.y_mask
        t = (word >> 32) + offset_us
        steps |= t - previous
        wrong |= (width - 1 - x) | (height - 1 - y) | ((word & 1) - 1)
        previous = t
        y = (y ^ layout.y_flip) + (height & layout.y_flip)
        words[2 * i] = x | (y << 16) | (((word >> 1) & 1) << 32)
        words[2 * i + 1] = t
    return wrong >= 0 and 0 <= steps < LEAP_US


@njit(cache=True, nogil=True)
def _decode_with_care(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    clock: tuple[int, bool],
    state: DecodeState,
) -> tuple[int, DecodeState]:
    """Any polarity events, one by one; gives how many were written. `clock`: overflow in us, and whether it was reset."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    layout, (width, height) = view
    high, was_reset = clock
    n = 0
    for record in records:
        word = signed(record)
        if word & 1 == 0:
            continue
        x, y = (word >> layout.x_shift) & layout.x_mask, (word >> layout.y_shift) & layout.y_mask
        if x >= width or y >= height:
            n_outside += 1
            continue
        raw = high + (word >> 32)
        t = raw + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(raw, last, shift, was_reset)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        was_reset = False
        last = t
        y = (y ^ layout.y_flip) + (height & layout.y_flip)
        words[2 * n] = x | (y << 16) | (((word >> 1) & 1) << 32)
        words[2 * n + 1] = t
        n += 1
    return n, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


@njit(cache=True, nogil=True)
def _decode_events(
    records: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    packet: Packet,
    state: DecodeState,
) -> tuple[int, DecodeState]:
    """Polarity events as `_gather` gives them; gives how many were written to `words`."""
    n = 0
    high = packet.overflow << 31
    for start in range(0, records.size, _CHUNK):
        chunk = records[start : start + _CHUNK]
        room = words[2 * n :]
        was_reset = packet.was_reset and n == 0
        if not was_reset and _convert(chunk, room, view, high + state.shift_us, state.last_us):
            n += chunk.size
            state = move_to(signed(words[2 * n - 1]), state)
        else:
            n_new, state = _decode_with_care(chunk, room, view, (high, was_reset), state)
            n += n_new
    return n, state


@njit(cache=True, nogil=True)
def decode(
    data: npt.NDArray[np.uint8],
    words: npt.NDArray[np.uint64],
    triggers: npt.NDArray[np.uint64],
    view: tuple[WordLayout, SensorSize],
    packet: Packet,
    state: DecodeState,
) -> tuple[int, int, int, Packet, DecodeState]:
    """As many bytes of `data` as make whole headers and events; gives events, triggers, bytes used, and where it stands.

    `words`, uint64 (2 n,), and `triggers`, uint64 (n, 2), have room for as many as fit into `data`.
    """
    i = n = n_triggers = 0
    while not packet.is_damaged:
        n_bytes = data.size - i
        if packet.bytes_left == 0:
            if n_bytes < PACKET_HEADER_BYTES:
                break
            packet = _open_packet(data, i, packet)
            i += PACKET_HEADER_BYTES
            continue
        n_events, was_reset, last_trigger = 0, packet.was_reset, packet.last_trigger_us
        if packet.type <= POLARITY and packet.n_left > 0:
            n_events = min(packet.n_left, n_bytes // packet.event_bytes)
            used = n_events * packet.event_bytes
            if packet.type == SPECIAL:
                records = _gather(data, i, n_events, packet)
                n_met, last_trigger, was_reset = _read_specials(records, triggers[n_triggers:], packet, state)
                n_triggers += n_met
            elif packet.source == packet.wanted and n_events > 0:
                n_new, state = _decode_events(_gather(data, i, n_events, packet), words[2 * n :], view, packet, state)
                n += n_new
                was_reset = was_reset and n_new == 0
        else:
            used = min(packet.bytes_left, n_bytes)
        if used == 0:
            break
        i += used
        packet = _advance(packet, n_events, used, last_trigger, was_reset)
    return n, n_triggers, i, packet, state


@njit(cache=True, nogil=True)
def _advance(packet: Packet, n_events: int, n_bytes: int, last_trigger_us: int, was_reset: bool) -> Packet:
    return Packet(
        packet.wanted, packet.type, packet.source, packet.event_bytes, packet.time_offset, packet.overflow,
        packet.n_left - n_events, packet.bytes_left - n_bytes, packet.n_other, last_trigger_us, was_reset, packet.is_damaged,
    )  # fmt: skip
