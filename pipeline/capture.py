"""The capture process: source -> filters -> binner -> bus. It says who calls whom and knows neither network nor screen."""

from collections.abc import Iterator

from pipeline.bus import ControlServer, Inlet, Outlet
from pipeline.codec import pack, topic_of
from pipeline.filters import FilterChain
from pipeline.publishing import EventsPublisher, FramePublisher, MakeBinner, State, StatusBoard, Wishes
from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import Events
from pipeline.schema.messages import Hello, Reply, Request
from pipeline.service import close_all
from pipeline.sinks.requested import RequestedRecordings
from pipeline.sources.base import EventSource
from pipeline.sources.replay import ReplaySource, answer_replay, describe_replay

_IDLE_MS = 20


class CaptureService:
    """Draws packets from the source and publishes what they become; a `Service`.

    It starts once inference has said what frames it wants (in its Hello, received from `hellos`) and has subscribed to them; a
    Wish for others begins a new row of bins.
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
        self._source, self._outlet, self._wishes, self._control = source, outlet, Wishes(hellos), control
        self._filters = filters or FilterChain()
        self._filter_states = self._filters.start(info.sensor_size)
        self._recordings = recordings or RequestedRecordings(None, info.sensor_size, is_live=info.is_live)
        self._replay = source if isinstance(source, ReplaySource) else None
        size = self._filters.output_size(info.sensor_size)
        hello = Hello(info.name, "", [], 0, 0, control.addresses[0], size.width, size.height)
        self._board = StatusBoard([outlet], "capture", info.name, is_live=info.is_live)
        self._frames = FramePublisher(outlet, hello, self._board, make_binner)
        self._events = EventsPublisher(outlet, info.name, size)
        self._packets: Iterator[Events] | None = None
        self._epoch = 0
        self._is_stopping = False
        outlet.greet_with(pack(hello))

    def step(self) -> bool:
        """Serve the controls, draw one packet, publish what it closed."""
        self._outlet.poll()
        self._control.poll(self.answer)
        wish = self._wishes.follow(_IDLE_MS if self._packets is None else 0)
        if wish is not None:
            self._frames.change_bins(wish)
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
        close_all([self._source, self._wishes, self._control, self._outlet])

    def _wait_for_work(self) -> None:
        has_ended = self._board.status.state == "ended"
        is_revived = self._replay is not None and self._replay.is_seeking
        if self._wishes.current is None or (has_ended and not is_revived):
            return
        if self._outlet.has_subscriber(topic_of("frame", self._source.info.name)):
            self._packets = self._source.packets()

    def _draw(self, packets: Iterator[Events]) -> None:
        packet = next(packets, None)
        if packet is None:
            self._end()
            return
        self._follow_replay()
        assert self._wishes.current is not None, "drawn before inference said what it wants"
        reached_us = self._replay.reached_us if self._replay is not None else None
        reached_us = reached_us if reached_us is not None else self._board.status.sensor_t_us
        self._board.note(sensor_t_us=max(reached_us, int(packet["t"][-1])) if len(packet) else reached_us)
        self._recordings.take(packet, reached_us)
        events, self._filter_states = self._filters.apply(packet, self._filter_states)
        self._events.send(events, self._board.status.sensor_t_us)
        self._frames.push(events, self._wishes.current)
        if self._replay is not None:
            self._frames.advance(reached_us)

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
        self._frames.close_bin()
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
