"""How the processes put what they have on the bus: the status board of each, and the frames, events and pictures of capture."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from pipeline.bus import Inlet, Outlet
from pipeline.codec import Parts, pack, topic_of, unpack
from pipeline.preview import RATE_HZ, PreviewBuilder
from pipeline.schema.clock import NS_PER_S, US_PER_S, host_ns
from pipeline.schema.errors import WireError
from pipeline.schema.events import Events, SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import EventsHead, FrameHead, Hello, PreviewHead, RecordingReport, Status, Wish
from pipeline.service import HEARTBEAT_NS, Pulse

if TYPE_CHECKING:
    from pipeline.binning import TimeBinner

Process = Literal["capture", "inference"]
State = Literal["starting", "running", "paused", "ended", "failed"]

# From the size of the pixel array and what inference wants.
MakeBinner = Callable[[SensorSize, Wish], "TimeBinner"]


class Endpoint(NamedTuple):
    """One downstream publisher, and the control address that its Hello announces."""

    outlet: Outlet
    control: str


def greet(endpoints: Iterable[Endpoint], hello: Hello) -> None:
    """Send this hello on every endpoint, each with its own control address."""
    for outlet, control in endpoints:
        outlet.greet_with(pack(msgspec.structs.replace(hello, control=control)))


class Wishes:
    """What frames inference wants: at first as its hello says, then as its wishes do.

    Only the first hello counts: later ones tell of the network that runs, which need not be the one that frames are wanted for.
    """

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self.current: Wish | None = None

    def follow(self, timeout_ms: int) -> Wish | None:
        """Take one message; the wish, if from now on other frames are wanted than before."""
        parts, before = self._inlet.receive(timeout_ms), self.current
        try:
            message = unpack(parts)[0] if parts is not None else None
        except WireError:
            return None
        if isinstance(message, Hello) and before is None:
            message = Wish(message.source, message.delta_t_us, message.frame_width, message.frame_height)
        if not isinstance(message, Wish) or not (message.delta_t_us and message.frame_width and message.frame_height):
            return None
        self.current = message
        return message if before is not None and before != message else None

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._inlet.close()


def follow_demand(inlet: Inlet, subscribed: set[str], wanted: set[str]) -> set[str]:
    """Ask for the kinds of message that are wanted now and no longer for the others; gives what is subscribed then."""
    for kind in wanted - subscribed:
        inlet.subscribe(topic_of(kind))
    for kind in subscribed - wanted:
        inlet.unsubscribe(topic_of(kind))
    return wanted


def send_wanted(outlets: Iterable[Outlet], parts: Parts) -> None:
    """Publish on every outlet where somebody subscribed to the topic."""
    topic = bytes(parts[0])
    for outlet in outlets:
        if outlet.has_subscriber(topic):
            outlet.send(parts)


class StatusBoard:
    """Health of one process: growing counters, a state, and a message of both once a second and at every change of state."""

    def __init__(self, outlets: Sequence[Outlet], process: Process, source: str = "", *, is_live: bool = False) -> None:
        self._outlets = outlets
        self._pulse = Pulse(HEARTBEAT_NS)
        # what the last event rate was measured from: events and sensor time then
        self._last = (0, 0)
        self.status = Status(source, process, "starting", host_ns(), is_live=is_live)

    def note(self, **values: int | float | str | RecordingReport | None) -> None:
        """Write these fields of the status without telling anybody yet."""
        self.status = msgspec.structs.replace(self.status, **values)

    def count(self, **amounts: int) -> None:
        """Add to these counters of the status."""
        self.note(**{name: getattr(self.status, name) + amount for name, amount in amounts.items() if amount})

    def tell(self, state: State, text: str = "", exit_code: int = 0) -> None:
        """Change the state and say so."""
        self.note(state=state, text=text, exit_code=exit_code)
        self._send()

    def beat(self) -> None:
        """Once a second: measure the event rate per second of sensor time, and tell."""
        if not self._pulse.is_due(host_ns()):
            return
        n_events, t_us = self._last
        elapsed_us = self.status.sensor_t_us - t_us
        new = self.status.n_events - n_events
        # after a seek backwards there is no honest rate until the next beat
        self.note(event_rate_hz=new * US_PER_S / elapsed_us if elapsed_us > 0 and new > 0 and t_us else 0.0)
        self._last = (self.status.n_events, self.status.sensor_t_us)
        self._send()

    def follow(self, recording: RecordingReport | None) -> None:
        """Write how far a recording is; a new one, and the end of one, are told at once."""
        before = self.status.recording
        if recording is not None and (before is None or (before.path, before.state) != (recording.path, recording.state)):
            self.hurry()
        self.note(recording=recording)

    def hurry(self) -> None:
        """Let the next beat come at once: something changed that people wait to see."""
        self._pulse = Pulse(HEARTBEAT_NS)

    def _send(self) -> None:
        self.note(host_ns=host_ns())
        send_wanted(self._outlets, pack(self.status))


class FramePublisher:
    """Bins events and publishes each SpikeFrame as it closes; waits where the outlet waits.

    Frames have one running number over all passes through a recording, and are counted on the board. `hello` is capture's.
    """

    def __init__(self, outlet: Outlet, hello: Hello, board: StatusBoard, make_binner: MakeBinner) -> None:
        self._outlet, self._hello, self._source, self._board = outlet, hello, hello.source, board
        self._size, self._make_binner = SensorSize(hello.sensor_width, hello.sensor_height), make_binner
        self._binner: TimeBinner | None = None
        self._seq = 0

    def push(self, events: Events, wish: Wish) -> None:
        """Publish every bin that these events close; the first ones begin a row of bins as wished."""
        if self._binner is None:
            self._binner = self._make_binner(self._size, wish)
        self._send(self._binner.push(events))

    def advance(self, until_us: int) -> None:
        """Publish every bin that ends at or before `until_us`."""
        if self._binner is not None:
            self._send(self._binner.advance(until_us))

    def close_bin(self) -> None:
        """Publish the open bin, if it holds anything; the next event begins a new row."""
        if self._binner is not None:
            self._send(self._binner.flush())
        self._binner = None

    def change_bins(self, wish: Wish) -> None:
        """Close the open bin, and say in line with the frames that all later ones are as wished."""
        self.close_bin()
        bins = {"delta_t_us": wish.delta_t_us, "frame_width": wish.frame_width, "frame_height": wish.frame_height}
        self._outlet.send(pack(msgspec.structs.replace(self._hello, **bins)))

    def _send(self, frames: Iterable[SpikeFrame]) -> None:
        for frame in frames:
            closed_ns = host_ns()
            _, height, width = frame.counts.shape
            head = FrameHead(
                source=self._source,
                seq=self._seq,
                start_us=frame.start_us,
                end_us=frame.end_us,
                n_events=frame.n_events,
                n_dropped=frame.n_dropped,
                width=width,
                height=height,
                closed_ns=closed_ns,
                sent_ns=host_ns(),
            )
            self._seq += 1
            self._board.count(n_frames=1, n_events=frame.n_events, n_dropped_events=frame.n_dropped)
            self._outlet.send(pack(head, frame.counts))


class EventsPublisher:
    """Publishes events, and pictures of them at screen rate, while somebody subscribes to either."""

    def __init__(self, outlet: Outlet, source: str, sensor_size: SensorSize) -> None:
        self._outlet, self._size = outlet, sensor_size
        self._events_topic, self._preview_topic = topic_of("events", source), topic_of("preview", source)
        self._events_head = EventsHead(source, 0, 0, sensor_size.width, sensor_size.height)
        self._builder = PreviewBuilder(sensor_size)
        width, height = self._builder.size
        self._preview_head = PreviewHead(source, 0, 0, 0, width, height, sensor_size.width, sensor_size.height)
        self._pulse = Pulse(NS_PER_S // RATE_HZ)

    def send(self, events: Events, reached_us: int) -> None:
        """Publish these events, (n,) inside the sensor, and a picture when it is time; `reached_us` is the sensor time now."""
        if len(events) and self._outlet.has_subscriber(self._events_topic):
            head = msgspec.structs.replace(self._events_head, n=len(events))
            self._events_head = msgspec.structs.replace(head, seq=head.seq + 1)
            self._outlet.send(pack(head, events))
        if not self._outlet.has_subscriber(self._preview_topic):
            return
        self._builder.add(events)
        if self._pulse.is_due(host_ns()):
            head_now = msgspec.structs.replace(self._preview_head, end_us=reached_us)
            self._outlet.send(pack(head_now, self._builder.take()))
            self._preview_head = msgspec.structs.replace(head_now, seq=head_now.seq + 1, start_us=reached_us)
