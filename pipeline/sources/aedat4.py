"""AEDAT 4.0, as DV, dv-processing, jAER 3 and faery write it: a header, then packets of several streams, then a data table.

Reading goes from packet to packet (`aedat4_packets`) and needs no table; the table only tells where to begin for a time, and
whether the file was closed. Whole packets are always recovered, wherever the file was cut. The FlatBuffers of header, table and
triggers are known to `aedat4_tables`.
"""

from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize, make_triggers
from pipeline.sources import aedat4_packets as packets
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.aedat4_header import UNKNOWN_SIZE, WIDEST, choose_stream, method_of, read_header, read_streams
from pipeline.sources.aedat4_packets import Place, Rules, Walk
from pipeline.sources.aedat4_seeking import DataTable
from pipeline.sources.base import SourceInfo
from pipeline.sources.compression import MAX_UNPACKED_BYTES, Method, ZstdUnpacker, unpack
from pipeline.sources.file import FileSource
from pipeline.sources.index import Bookmark
from pipeline.sources.lz4_frame import DAMAGED, SLACK_BYTES, bound
from pipeline.sources.ordering import MAX_FILE_TIME_US, DecodeState, allocate, bounding_size

# What lies in between fits into the second-level cache: bytes read at once, and events given out at once.
_WINDOW_BYTES = 1 << 18
_BATCH_EVENTS = 1 << 15
_METHODS: dict[Method, int] = {"none": packets.NONE, "lz4": packets.LZ4, "zstd": packets.ZSTD}
_FRAME_MAGICS: dict[Method, bytes] = {"lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}


class Aedat4Source(FileSource):
    """One event stream of an AEDAT 4.0 recording: `stream` by its id, else the lowest."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, stream: int | None = None) -> None:
        header, self._data_start = read_header(path, handle)
        self._method: Method = method_of(path, header.compression)
        self._streams = read_streams(header.info_node)
        self._stream = choose_stream(path, self._streams, stream)
        encoding = tables.COMPRESSIONS[header.compression]
        super().__init__(path, SourceInfo(name, "AEDAT 4.0", encoding, self._named_size()), handle)
        self._variant = "" if stream is None else str(stream)
        self._scratch = np.empty(_WINDOW_BYTES, dtype=np.uint8)
        self._unpacker = ZstdUnpacker()
        self._table_position = header.table_position
        self._table = DataTable(handle, header.table_position, self._method)
        if self._info.sensor_size == UNKNOWN_SIZE:
            self._info = replace(self._info, sensor_size=self._measured_size())

    def _decode(self) -> Iterator[Events]:
        return self._batches(self._info.sensor_size)

    def _batches(self, sensor_size: SensorSize) -> Iterator[Events]:
        begin = self._begin
        window = _Window(self._handle, begin.position if begin else self._data_start, self.n_bytes)
        rules = self._rules(sensor_size)
        step = Walk(rules, Place(n_done=begin.state[0] if begin else 0), self._state)
        events, out = allocate(_BATCH_EVENTS)
        n = 0
        while True:
            words, n_left = out.reshape(-1)[2 * n :], self.n_bytes - window.start
            n_new, verdict, needed_from = packets.walk(window.data, self._scratch, words, n_left, step.numbers)
            n += n_new
            if verdict == packets.NEED and window.slide(needed_from):
                continue
            if verdict == packets.FULL:
                self._state = step.state
                yield events
                self._mark(window.start + step.place.position, step.place.n_done)
                events, out = allocate(_BATCH_EVENTS)
                n = 0
            elif verdict == packets.ASK:
                n_unpacked = self._unpack_by_library(window.data, step, rules)
                packets.resume(window.data, n_unpacked, step.numbers)
            elif verdict == packets.GROW:
                _, start, end = _packet_at(window.data, step.position)
                self._make_room(bound(window.data, start, end))
            else:
                break
        self._state = step.state
        if n:
            yield events[:n]
        self._note_damaged(step.place)
        self._note_end(window.start + step.place.position)
        self._note_streams()

    def _rules(self, sensor_size: SensorSize) -> Rules:
        """Where no stream is named, the identifiers of the packets decide."""
        unnamed = packets.NO_STREAM if self._streams else packets.ANY_STREAM
        stream = unnamed if self._stream is None else self._stream
        return Rules(stream, self._trigger_stream(), _METHODS[self._method], sensor_size)

    def _trigger_stream(self) -> int:
        """The triggers of the same camera, else the first ones there are."""
        cameras = {stream.id: stream.camera for stream in self._streams}
        camera = cameras.get(self._stream, "") if self._stream is not None else ""
        found = [(stream.camera != camera, stream.id) for stream in self._streams if stream.type == "TRIG"]
        return min(found)[1] if found else packets.NO_STREAM

    def _make_room(self, n_bytes: int) -> None:
        if n_bytes + SLACK_BYTES > self._scratch.size:
            self._scratch = np.empty(max(n_bytes + SLACK_BYTES, 2 * self._scratch.size), dtype=np.uint8)

    def _unpack_by_library(self, data: npt.NDArray[np.uint8], step: Walk, rules: Rules) -> int:
        """The packet at hand unpacked to `_scratch`: how many bytes, 0 if it holds no events, or `DAMAGED`.

        Triggers are kept.
        """
        stream, start, end = _packet_at(data, step.position)
        try:
            n = self._unpack_to_scratch(data[start:end])
            kind = tables.identifier(self._scratch[: min(n, packets.HEAD_BYTES)].tobytes())
            if kind == tables.TRIGGERS_TYPE:
                self._state = step.state
                self._keep_triggers_of(self._scratch[:n].tobytes())
        except InputError:
            return DAMAGED
        return n if kind == tables.EVENTS_TYPE and stream != rules.trigger_stream else 0

    def _unpack_to_scratch(self, payload: npt.NDArray[np.uint8]) -> int:
        n_claimed = self._unpacker.size_of(payload.data) if self._method == "zstd" else 0
        if n_claimed:
            # one more byte, so that a frame that goes on is told from one that ends
            self._make_room(n_claimed + 1)
            return self._unpacker.unpack_into(payload.data, self._scratch[: n_claimed + 1].data)
        content = unpack(payload.tobytes(), self._method)
        self._make_room(len(content))
        self._scratch[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        return len(content)

    def _keep_triggers_of(self, buffer: bytes) -> None:
        """Triggers with their own times: they lie in packets of their own, so that the events around are no neighbours."""
        triggers = tables.read_triggers(buffer)
        triggers = triggers[np.abs(triggers["t"]) < MAX_FILE_TIME_US]
        self._keep_triggers(make_triggers(triggers["t"] + self._state.shift_us, triggers["id"], triggers["p"]))

    def _find_bookmark(self, start_us: int) -> Bookmark | None:
        """By the data table, where there is one and the packets are as it says; else by what an earlier pass has learnt."""
        by_table = self._table.find(start_us, self._stream) if self._stream is not None else None
        return by_table or super()._find_bookmark(start_us)

    def _note_damaged(self, place: Place) -> None:
        if place.n_damaged:
            self._n_bytes_skipped += place.n_damaged_bytes
            self._note(f"{place.n_damaged} packets could not be unpacked and were left out")

    def _note_end(self, position: int) -> None:
        """Say why reading ended at `position`, where a whole packet is at most one without room for events."""
        while position < self.n_bytes:
            self._handle.seek(position)
            head = self._handle.read(packets.HEAD_BYTES)
            if self._is_table(head):
                self._check_table(position)
                return
            left = self.n_bytes - position - tables.PACKET_HEADER.size
            if left < 0 or len(head) < tables.PACKET_HEADER.size:
                self._note_cut(len(head), "the last packet is cut off")
                return
            stream, size = tables.PACKET_HEADER.unpack_from(head)
            if stream < 0 or size <= 0:
                self._note_cut(self.n_bytes - position, f"the packet header at byte {position} is damaged")
                return
            if size > left:
                self._note_cut(self.n_bytes - position, "the last packet is cut off")
                return
            position += tables.PACKET_HEADER.size + size
        self._note_no_table()

    def _is_table(self, head: bytes) -> bool:
        """Whether the data table begins here instead of a packet: no stream id looks like the start of a compressed frame."""
        if self._method == "none":
            return tables.identifier(head) == tables.TABLE_TYPE
        return head.startswith(_FRAME_MAGICS[self._method])

    def _check_table(self, position: int) -> None:
        self._handle.seek(position)
        left = self.n_bytes - position
        try:
            table = unpack(self._handle.read(min(left, MAX_UNPACKED_BYTES)), self._method)
            is_whole = tables.identifier(table) == tables.TABLE_TYPE and len(table) >= 4 + int.from_bytes(table[:4], "little")
        except InputError:
            is_whole = False
        if not is_whole:
            self._note_cut(left, "the data table is cut off or damaged (no event was lost)")

    def _note_no_table(self) -> None:
        if self._table_position >= 0:
            self._note_cut(0, "the file ends before its data table")
        elif self._data_start == self.n_bytes:
            self._note_header_only()
        else:
            self._note("no data table: the recording was not closed; all packets were read")

    def _note_streams(self) -> None:
        ids = [stream.id for stream in self._streams if stream.type == "EVTS"]
        if self._streams and not ids:
            self._note(f"no event stream; the file holds {', '.join(sorted({stream.type for stream in self._streams}))}")
        elif len(ids) > 1:
            self._note(f"{len(ids)} event streams ({', '.join(map(str, ids))}); this is {self._stream}, choose with --stream")
        if ids and self._state.last_us == DecodeState().last_us and not self._is_truncated:
            self._note("the event stream is empty")

    def _named_size(self) -> SensorSize:
        """Size of the chosen stream, or of any other stream that tells one."""
        sizes = sorted(self._streams, key=lambda stream: (stream.id != self._stream, stream.id))
        return next((stream.sensor_size for stream in sizes if stream.sensor_size != UNKNOWN_SIZE), UNKNOWN_SIZE)

    def _measured_size(self) -> SensorSize:
        """The smallest sensor that holds all events of the stream, for files that do not tell."""
        max_x = max_y = -1
        for events in self._batches(WIDEST):
            max_x, max_y = max(max_x, int(events["x"].max())), max(max_y, int(events["y"].max()))
        self._index = None
        return bounding_size(max_x, max_y)


def _packet_at(data: npt.NDArray[np.uint8], position: int) -> tuple[int, int, int]:
    """Stream of the packet at `position`, first byte of its payload, and the byte behind it."""
    stream, size = tables.PACKET_HEADER.unpack_from(data.data, position)
    start = position + tables.PACKET_HEADER.size
    return stream, start, start + size


class _Window:
    """A part of a file of `n_bytes` that slides over it: `data`, uint8 (n,), the bytes from `start` on."""

    def __init__(self, handle: BufferedReader, start: int, n_bytes: int) -> None:
        self._handle = handle
        self._n_bytes = n_bytes
        self._buffer = np.empty(_WINDOW_BYTES, dtype=np.uint8)
        self.start = start
        self.data = self._buffer[:0]
        handle.seek(start)

    def slide(self, at: int) -> bool:
        """Begin at byte `at` of the window, perhaps behind it, and read on; False if nothing came.

        A window that a packet at its beginning did not fit into becomes larger.
        """
        kept = self.data[at:]
        if at > self.data.size:
            self._handle.seek(self.start + at)
        self.start += at
        if at == 0 and kept.size == self._buffer.size:
            wanted = tables.PACKET_HEADER.size + tables.PACKET_HEADER.unpack_from(kept.data)[1]
            # a size is only a claim
            self._buffer = np.empty(min(max(wanted, 2 * kept.size), self._n_bytes - self.start), dtype=np.uint8)
        if kept.size:
            self._buffer[: kept.size] = kept
        n_read = self._handle.readinto(self._buffer[kept.size :].data)
        self.data = self._buffer[: kept.size + n_read]
        return n_read > 0
