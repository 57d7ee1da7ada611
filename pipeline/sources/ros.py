"""ROS bags: version 1, and version 2 as MCAP or SQLite, single files or a folder of them.

The events of one topic are read: `event_camera_msgs/EventPacket` in the encodings evt3, mono and trigger, and the `EventArray`
of `dvs_msgs` and `prophesee_event_msgs`. Times are the sensor's where a message has them (EventPacket), else ROS time.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from io import BufferedReader
from pathlib import Path

import numpy as np

from pipeline.schema.errors import InputError, UnknownFormatError, UsageError
from pipeline.schema.events import Events, SensorSize, Triggers
from pipeline.sources.base import SourceInfo
from pipeline.sources.columns import place
from pipeline.sources.evt3 import Evt3Decoder
from pipeline.sources.file import FileSource, open_file
from pipeline.sources.ordering import DecodeState, allocate
from pipeline.sources.ros_bag import MAGIC as BAG1_MAGIC
from pipeline.sources.ros_bag import Bag1
from pipeline.sources.ros_mcap import MAGIC as MCAP_MAGIC
from pipeline.sources.ros_mcap import Mcap
from pipeline.sources.ros_messages import (
    ARRAY,
    EventMessage,
    array_columns,
    holds_events,
    mono_columns,
    parse_message,
    trigger_edges,
)
from pipeline.sources.ros_records import Batch, Connection, Container, DamagedRecordError
from pipeline.sources.ros_sqlite import MAGIC as SQLITE_MAGIC
from pipeline.sources.ros_sqlite import SqliteBag

_ENDINGS = (".mcap", ".db3")
_WAY_OUT = "only evt3, mono and trigger are read; decode it in ROS with event_camera_tools"
# A topic that begins with one of these is a stream of events; triggers alone are none.
_LEADING = ("evt3", "mono", ARRAY)
# Messages are gathered into packets of about so many events.
_PACKET_EVENTS = 1 << 16
_WIDEST = 1 << 16


def bag_files(folder: Path) -> list[Path]:
    """The files of a ROS 2 bag that is a folder, in the order of the numbers in their names; none if it is no bag."""
    files = [path for path in folder.iterdir() if path.suffix in _ENDINGS]
    return sorted(files, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)])


class RosSource(FileSource):
    """The events of one topic of a ROS bag, a file or a folder of them; without `topic` the first with events is taken."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, topic: str | None = None) -> None:
        # every file is opened anew: there may be several
        handle.close()
        self._files = bag_files(path) if path.is_dir() else [path]
        self._container: Container | None = None
        try:
            self._topic, self._n_topics, first = _choose_topic(path, self._files, topic)
            size = SensorSize(first.width, first.height)
            if not (0 < size.width <= _WIDEST and 0 < size.height <= _WIDEST):
                raise InputError(f"{path}: a sensor of {size.width}x{size.height} pixels cannot be; {self._topic} is damaged")
            with closing(_open_container(self._files[0])) as container:
                kind = container.name
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}") from None
        super().__init__(self._files[0], SourceInfo(name, kind, f"{first.encoding}, {self._topic}", size), handle)
        self.n_bytes = sum(file.stat().st_size for file in self._files)
        self._n_bytes_done = 0

    @property
    def n_bytes_read(self) -> int:
        """How far reading has come, of `n_bytes`."""
        return self._n_bytes_done

    def close(self) -> None:
        """Release the files; may be called twice."""
        if self._container is not None:
            self._container.close()
        super().close()

    def _decode(self) -> Iterator[Events]:
        if self._n_topics > 1:
            self._note(f"{self._n_topics} topics hold events; {self._topic} was read (choose with --topic)")
        decoder = Decoder(self._info.sensor_size)
        first_file, place_in_file, self._n_bytes_done = 0, None, 0
        if self._begin is not None:
            first_file, place_in_file, *cursor = self._begin.state
            self._n_bytes_done = self._begin.position
            decoder.resume(tuple(cursor))
        n_total = 0
        for number in range(first_file, len(self._files)):
            self._container = container = _open_container(self._files[number])
            with closing(container):
                for events in self._file_packets(container, decoder, number, place_in_file):
                    n_total += events.size
                    yield events
            self._account(container)
            place_in_file = None
        for sentence in decoder.sentences():
            self._note(sentence)
        if n_total == 0 and self._begin is None:
            self._note_header_only()

    def _file_packets(
        self, container: Container, decoder: "Decoder", number: int, place_in_file: int | None
    ) -> Iterator[Events]:
        """Packets of the events of one file, from a place on; triggers are kept together with the events around them."""
        gathered: list[Events] = []
        n_gathered = 0
        for batch in container.batches(container.start if place_in_file is None else place_in_file):
            for connection, data in _wanted(container, batch, self._topic):
                n_gathered += self._gather(decoder.decode(connection, data, self._state), gathered)
                if n_gathered >= _PACKET_EVENTS:
                    self._keep_triggers(decoder.take_triggers())
                    yield np.concatenate(gathered)
                    gathered, n_gathered = [], 0
            n_gathered += self._gather(decoder.decode_words(self._state), gathered)
            n_bytes = sum(len(data) for _, data in batch.messages)
            self._n_bytes_done = min(self.n_bytes, self._n_bytes_done + n_bytes)
            if container.is_indexed:
                self._mark(self._n_bytes_done, number, batch.place, *decoder.cursor)
        self._keep_triggers(decoder.take_triggers())
        if gathered:
            yield np.concatenate(gathered)

    def _gather(self, decoded: Iterator[tuple[Events, DecodeState]], gathered: list[Events]) -> int:
        """Add what was decoded, and take over the state after it; gives how many events there were."""
        n = 0
        for events, self._state in decoded:
            gathered.append(events)
            n += events.size
        return n

    def _account(self, container: Container) -> None:
        """Say what of a file could not be read."""
        if container.n_skipped:
            self._n_bytes_skipped += container.n_bytes_skipped
            self._note_cut(0, f"{container.n_skipped} damaged chunks left out ({container.reasons[0]})")
        if container.n_bytes_cut:
            self._note_cut(container.n_bytes_cut, container.reasons[-1])
        elif not container.is_indexed:
            self._note("the bag has no index: it was not closed, or its end is missing")
        if container.reasons and not (container.n_skipped or container.n_bytes_cut):
            self._note(container.reasons[0])


class Decoder:
    """Messages to events; keeps what EVT3 carries from one message to the next, and counts what was lost."""

    def __init__(self, sensor_size: SensorSize) -> None:
        self._sensor_size = sensor_size
        self._evt3 = Evt3Decoder()
        # words of messages not yet decoded: messages are small, and each call has its price
        self._words = bytearray()
        self._triggers: list[Triggers] = []
        self._last_seq: int | None = None
        self._n_lost = self._n_damaged = 0
        self._n_foreign: Counter[str] = Counter()

    @property
    def cursor(self) -> tuple[int, ...]:
        """What a later pass needs to go on from here."""
        return tuple(self._evt3.cursor)

    def resume(self, cursor: tuple[int, ...]) -> None:
        """Go on where `cursor` was."""
        self._evt3.resume(cursor)

    def decode(self, connection: Connection, data: memoryview, state: DecodeState) -> Iterator[tuple[Events, DecodeState]]:
        """Events of one message in one or more pieces, and the state after each."""
        try:
            message = parse_message(connection, data)
            self._count(message)
            if message.encoding == "evt3":
                self._words += message.data[: len(message.data) // Evt3Decoder.word_bytes * Evt3Decoder.word_bytes]
                if len(self._words) >= Evt3Decoder.block_bytes:
                    yield from self.decode_words(state)
            elif message.encoding == "trigger":
                triggers = trigger_edges(message)
                triggers["t"] += state.shift_us
                self._triggers.append(triggers)
            elif message.encoding in ("mono", ARRAY):
                columns = mono_columns(message) if message.encoding == "mono" else array_columns(message)
                events, out = allocate(columns.shape[1])
                n, state = place(columns, out, self._sensor_size, state)
                yield events[:n], state
            else:
                self._n_foreign[message.encoding] += 1
        except DamagedRecordError:
            self._n_damaged += 1

    def decode_words(self, state: DecodeState) -> Iterator[tuple[Events, DecodeState]]:
        """Events of the EVT3 words that wait; asked for before anybody wants to know the `cursor`."""
        words, self._words = np.frombuffer(bytes(self._words), dtype=np.uint8), bytearray()
        for start in range(0, words.size, Evt3Decoder.block_bytes):
            events, state = self._evt3.decode(words[start : start + Evt3Decoder.block_bytes], self._sensor_size, state)
            yield events, state

    def take_triggers(self) -> Triggers:
        """The triggers of the messages since the last call."""
        taken, self._triggers = self._triggers, []
        return np.concatenate([self._evt3.take_triggers(), *taken])

    def sentences(self) -> Iterator[str]:
        """Say what was lost."""
        if self._n_lost:
            yield f"{self._n_lost} messages are missing by their numbers; they were lost while recording"
        if self._n_damaged:
            yield f"{self._n_damaged} messages are damaged and left out"
        for encoding, n in self._n_foreign.items():
            yield f"{n} messages in the encoding {encoding!r} left out; {_WAY_OUT}"
        yield from self._evt3.describe()

    def _count(self, message: EventMessage) -> None:
        """Find gaps in the numbers of messages; a fall means that the recorder began anew."""
        if message.seq is not None and self._last_seq is not None and message.seq > self._last_seq:
            self._n_lost += message.seq - self._last_seq - 1
        self._last_seq = message.seq


def _wanted(container: Container, batch: Batch, topic: str) -> Iterator[tuple[Connection, memoryview]]:
    """The messages of a batch that are of one topic and may hold events."""
    for number, data in batch.messages:
        connection = container.connections.get(number)
        if connection is not None and connection.topic == topic and holds_events(connection):
            yield connection, data


def _open_container(path: Path) -> Container:
    """The container that a file is."""
    handle = open_file(path)
    try:
        n_bytes = path.stat().st_size
        head = handle.read(len(SQLITE_MAGIC))
        if head.startswith(BAG1_MAGIC):
            return Bag1(handle, n_bytes)
        if head.startswith(MCAP_MAGIC):
            return Mcap(handle, n_bytes)
        if head == SQLITE_MAGIC:
            return SqliteBag(path, handle, n_bytes)
        raise InputError(f"{path} is part of a ROS bag by its name, but neither MCAP nor SQLite; it is damaged")
    except BaseException:
        handle.close()
        raise


def _choose_topic(path: Path, files: list[Path], wanted: str | None) -> tuple[str, int, EventMessage]:
    """Topic, number of topics with events, and first message; UsageError or UnknownFormatError say what there is instead."""
    topics: dict[str, Connection] = {}
    refused: dict[str, str] = {}
    for file in files:
        with closing(_open_container(file)) as container:
            for batch in container.batches(container.start):
                topics.update({connection.topic: connection for connection in container.connections.values()})
                for number, data in batch.messages:
                    connection = container.connections.get(number)
                    if connection is None or not holds_events(connection) or wanted not in (None, connection.topic):
                        continue
                    message = _try_parse(connection, data)
                    if message is not None and message.encoding in _LEADING:
                        return connection.topic, sum(map(holds_events, topics.values())), message
                    if message is not None:
                        refused.setdefault(connection.topic, message.encoding)
            topics.update({connection.topic: connection for connection in container.connections.values()})
    if refused:
        topic, encoding = next(iter(refused.items()))
        raise UnknownFormatError(f"{path} is a ROS bag whose {topic} is in the encoding {encoding[:20]!r}; {_WAY_OUT}")
    found = ", ".join(f"{topic} ({connection.message_type})" for topic, connection in list(topics.items())[:8]) or "none"
    if wanted is not None:
        raise UsageError(f"{path} has no events in the topic {wanted!r}; its topics are: {found}")
    raise UnknownFormatError(f"{path} is a ROS bag without events; its topics are: {found}")


def _try_parse(connection: Connection, data: memoryview) -> EventMessage | None:
    try:
        return parse_message(connection, data)
    except DamagedRecordError:
        return None
