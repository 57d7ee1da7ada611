"""The capture process: source -> filters -> binner -> bus. It says who calls whom and knows neither network nor screen."""

from collections.abc import Callable, Iterator

from pipeline.binning import TimeBinner
from pipeline.bus import ControlServer, Inlet, Outlet
from pipeline.codec import pack, topic_of
from pipeline.filters import FilterChain
from pipeline.publishing import EventsPublisher, FramePublisher, State, StatusBoard, read_wish
from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import Events, SensorSize
from pipeline.schema.messages import Hello, Reply, Request
from pipeline.service import close_all
from pipeline.sinks.requested import RequestedRecordings
from pipeline.sources.base import EventSource
from pipeline.sources.replay import ReplaySource, answer_replay, describe_replay

_IDLE_MS = 20


# From the size of the pixel array and what inference wants.
MakeBinner = Callable[[SensorSize, Hello], TimeBinner]


class CaptureService:
    """Draws packets from the source and publishes what they become; a `Service`.

    It starts once inference has said what frames it wants (in its Hello, received from `hellos`) and has subscribed to them.
    After the end of a recording it stays, so that a seek can revive it, until it is told to stop.
    """

    def __init__(
        self,
        source: EventSource,
        outlet: Outlet,
        hellos: Inlet,
        control: ControlServer,
        make_binner: MakeBinner,
        filters: FilterChain | None = None,
        recordings: RequestedRecordings | None = None,
    ) -> None:
        info = source.info
        self._source, self._outlet, self._hellos, self._control = source, outlet, hellos, control
        self._make_binner, self._filters = make_binner, filters or FilterChain()
        self._filter_states = self._filters.start(info.sensor_size)
        self._recordings = recordings or RequestedRecordings(None, info.sensor_size, is_live=info.is_live)
        self._replay = source if isinstance(source, ReplaySource) else None
        self._size = self._filters.output_size(info.sensor_size)
        self._board = StatusBoard([outlet], "capture", info.name, is_live=info.is_live)
        self._frames = FramePublisher(outlet, info.name, self._board)
        self._events = EventsPublisher(outlet, info.name, self._size)
        self._wanted: Hello | None = None
        self._binner: TimeBinner | None = None
        self._packets: Iterator[Events] | None = None
        self._epoch = 0
        self._is_stopping = False
        outlet.greet_with(pack(Hello(info.name, "", [], 0, 0, control.addresses[0], self._size.width, self._size.height)))

    def step(self) -> bool:
        """Serve the controls, draw one packet, publish what it closed."""
        self._outlet.poll()
        self._control.poll(self.answer)
        if self._packets is None:
            self._wait_for_work()
        elif self._is_stopping:
            self._end()
        else:
            self._draw(self._packets)
        self._note_health()
        self._board.beat()
        return True

    def answer(self, request: Request) -> Reply:
        """Do what the request asks; called between packets, and while a send waits for room."""
        if request.command == "stop":
            self._is_stopping = True
            return Reply(ok=True, text="stop done")
        self._board.hurry()
        if request.command != "record":
            return answer_replay(self._replay, self._source.info.name, request)
        if self._board.status.state == "ended":
            return Reply(ok=False, text="the stream has ended; seek first")
        return self._recordings.answer(request)

    def fail(self, error: SaccadeError) -> None:
        """Tell the others why this process ends."""
        self._board.follow(self._recordings.end("the source failed"))
        self._board.tell("failed", str(error), error.exit_code)

    def close(self) -> None:
        """Release source and sockets; a recording under way is closed whole."""
        self._recordings.end("the program ended")
        close_all([self._source, self._hellos, self._control, self._outlet])

    def _wait_for_work(self) -> None:
        self._wanted = read_wish(self._hellos.receive(_IDLE_MS)) or self._wanted
        has_ended = self._board.status.state == "ended"
        is_revived = self._replay is not None and self._replay.is_seeking
        if self._wanted is None or (has_ended and not is_revived):
            return
        if self._outlet.has_subscriber(topic_of("frame", self._source.info.name)):
            self._packets = self._source.packets()

    def _draw(self, packets: Iterator[Events]) -> None:
        packet = next(packets, None)
        if packet is None:
            self._end()
            return
        self._follow_replay()
        if self._binner is None:
            assert self._wanted is not None, "drawn before inference said what it wants"
            self._binner = self._make_binner(self._size, self._wanted)
        reached_us = self._replay.reached_us if self._replay is not None else None
        reached_us = reached_us if reached_us is not None else self._board.status.sensor_t_us
        self._board.note(sensor_t_us=max(reached_us, int(packet["t"][-1])) if len(packet) else reached_us)
        self._recordings.take(packet, reached_us)
        events, self._filter_states = self._filters.apply(packet, self._filter_states)
        self._events.send(events, self._board.status.sensor_t_us)
        self._frames.send(self._binner.push(events))
        if self._replay is not None:
            self._frames.send(self._binner.advance(reached_us))

    def _note_health(self) -> None:
        n_bad, n_dropped = self._control.n_bad_messages + self._outlet.n_bad_messages, self._outlet.n_dropped[b"frame"]
        self._board.note(n_dropped_frames=n_dropped, n_bad_messages=n_bad, **describe_replay(self._replay))
        self._board.follow(self._recordings.report)

    def _end(self) -> None:
        self._break_off("the stream ended")
        self._packets, self._is_stopping = None, False
        report = self._source.report()
        warnings = (*report.warnings, *self._filters.describe(self._filter_states))
        self._board.tell("ended", "; ".join(warnings), 4 if report.is_truncated else 0)

    def _break_off(self, why: str) -> None:
        if self._binner is not None:
            self._frames.send(self._binner.flush())
        self._binner = None
        self._board.follow(self._recordings.end(why))

    def _follow_replay(self) -> None:
        """Close the open bin where time breaks off, and say when the recording is held or runs on."""
        epoch = self._replay.epoch if self._replay is not None else 0
        if epoch != self._epoch:
            self._break_off("the stream was played from elsewhere")
            self._filter_states = self._filters.start(self._source.info.sensor_size)
            self._epoch = epoch
        state: State = "paused" if self._replay is not None and self._replay.is_paused else "running"
        if state != self._board.status.state:
            self._board.tell(state)
