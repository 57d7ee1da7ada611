"""Writes AEDAT 4.0 as dv-processing does: header, compressed packets of events and triggers, and at the end the data table.

Packets go to the disk whole, after so many events or so much sensor time, so that a crash costs little and what is there can be
read; the header then says that no table was written. Equal events give equal files, byte for byte.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sinks.file import FileSink
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.compression import Method, pack

_EVENTS, _TRIGGERS = 0, 1
_MAX_PACKET_EVENTS = 1 << 14
_MAX_PACKET_US = 50_000
_MAX_PACKET_TRIGGERS = 1 << 10
_MAX_SIDE = 1 << 15
_MAX_TIME_US = 1 << 60
_COMPRESSIONS: dict[Method, int] = {"none": 0, "lz4": 1, "zstd": 3}
_INFO_NODE = """<dv version="2.0">
    <node name="outInfo" path="/outInfo/">
        <node name="0" path="/outInfo/0/">
            <attr key="compression" type="string">{compression}</attr>
            <attr key="originalModuleName" type="string">saccade</attr>
            <attr key="originalOutputName" type="string">events</attr>
            <attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
            <attr key="typeIdentifier" type="string">EVTS</attr>
            <node name="info" path="/outInfo/0/info/">
                <attr key="sizeX" type="int">{width}</attr>
                <attr key="sizeY" type="int">{height}</attr>
                <attr key="source" type="string">{source}</attr>
            </node>
        </node>
        <node name="1" path="/outInfo/1/">
            <attr key="compression" type="string">{compression}</attr>
            <attr key="originalModuleName" type="string">saccade</attr>
            <attr key="originalOutputName" type="string">triggers</attr>
            <attr key="typeDescription" type="string">External triggers and special signals.</attr>
            <attr key="typeIdentifier" type="string">TRIG</attr>
            <node name="info" path="/outInfo/1/info/">
                <attr key="source" type="string">{source}</attr>
            </node>
        </node>
    </node>
</dv>
"""


class Aedat4Sink(FileSink):
    """An AEDAT 4.0 recording being written; up to one packet of events and one of triggers are held back until `flush`."""

    holds_triggers = True

    def __init__(self, path: Path, sensor_size: SensorSize, compression: Method = "lz4") -> None:
        width, height = sensor_size
        if max(sensor_size) > _MAX_SIDE:
            raise UsageError(f"AEDAT 4.0 has 15 bits for a coordinate; a sensor of {width}x{height} pixels does not fit")
        super().__init__(path, sensor_size)
        self._method = compression
        number = _COMPRESSIONS[compression]
        info_node = _INFO_NODE.format(
            compression=tables.COMPRESSIONS[number], width=width, height=height, source=f"Saccade_{width}x{height}"
        )
        header, patch_at = tables.write_file_header(number, info_node)
        self._patch_at = len(tables.MAGIC) + patch_at
        self._position = len(tables.MAGIC) + len(header)
        self._pending: list[Events] = []
        self._n_pending = 0
        self._triggers: list[Triggers] = []
        self._entries: list[tables.TableEntry] = []
        self._put(tables.MAGIC + header)

    def _check_times(self, events: Events) -> None:
        _check_times(events["t"])

    def write_triggers(self, triggers: Triggers) -> None:
        """Take external triggers; UsageError for one that AEDAT 4.0 has no kind for, and then nothing of them is written."""
        if triggers.size == 0:
            return
        _check_times(triggers["t"])
        if not tables.can_hold(triggers):
            raise UsageError(
                "AEDAT 4.0 holds triggers of the ids 0 (external input), 2 (generator), 3 (frame) and 4 (exposure), and rising "
                "ones of the id 1 (pulse), no others"
            )
        self._triggers.append(triggers.copy())
        if sum(held.size for held in self._triggers) >= _MAX_PACKET_TRIGGERS:
            self._flush_triggers()

    def _encode(self, events: Events) -> None:
        while events.size:
            room = _MAX_PACKET_EVENTS - self._n_pending
            begins_us = int((self._pending[0] if self._pending else events)["t"][0])
            n = min(room, int(np.searchsorted(events["t"], begins_us + _MAX_PACKET_US)))
            if n:
                # the caller may fill its array anew before this packet is written
                self._pending.append(events[:n].copy())
                self._n_pending += n
            if n == room or n < events.size:
                self.flush()
            events = events[n:]

    def flush(self) -> None:
        """Write the packets held back."""
        if self._pending:
            events = np.concatenate(self._pending)
            self._pending, self._n_pending = [], 0
            self._put_packet(_EVENTS, tables.write_events(events), events["t"])
        self._flush_triggers()

    def _flush_triggers(self) -> None:
        if self._triggers:
            triggers = np.concatenate(self._triggers)
            self._triggers = []
            self._put_packet(_TRIGGERS, tables.write_triggers(triggers), triggers["t"])

    def _put_packet(self, stream: int, buffer: bytes, times: npt.NDArray[np.int64]) -> None:
        payload = pack(buffer, self._method)
        self._put(tables.PACKET_HEADER.pack(stream, len(payload)) + payload)
        offset = self._position + tables.PACKET_HEADER.size
        self._entries.append(tables.TableEntry(offset, stream, len(payload), times.size, int(times[0]), int(times[-1])))
        self._position = offset + len(payload)

    def _finish(self) -> None:
        """The table first, its position after it: a crash between the two leaves a file without a table, not a wrong one."""
        self._put(pack(tables.write_table(self._entries), self._method))
        self._put_at(self._patch_at, struct.pack("<q", self._position))


def _check_times(times: npt.NDArray[np.int64]) -> None:
    first, last = int(times[0]), int(times[-1])
    if min(first, last) <= -_MAX_TIME_US or max(first, last) >= _MAX_TIME_US:
        raise UsageError(f"times from {first} to {last} us cannot be written; no clock shows them")
