"""The inference process: frames -> recogniser -> decision -> bus. It says who calls whom; it knows no source and no screen."""

from collections.abc import Sequence

import msgspec

from pipeline.bus import ControlClient, ControlServer, Inlet
from pipeline.codec import pack, topic_of, unpack
from pipeline.decision import DecisionSettings, DecisionState, decide
from pipeline.labelling import Judged, OrderWatch, join_hellos, make_hello, make_label, make_meter
from pipeline.lessons import LESSON_COMMANDS, answer_lesson, follow_classes
from pipeline.power import PacedMeter, PowerMeter
from pipeline.publishing import Endpoint, StatusBoard, follow_demand, greet, send_wanted
from pipeline.schema.clock import NS_PER_MS, host_ns
from pipeline.schema.errors import SaccadeError, WireError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import FrameHead, Hello, Reply, Request, Status
from pipeline.schema.recognition import Recogniser
from pipeline.service import close_all

_RECEIVE_MS = 20
_POWER_NS = 200 * NS_PER_MS
# Forwarded from capture only while somebody downstream subscribes to them.
_ON_DEMAND = ("events", "preview")


class InferenceService:
    """Steps the recogniser with every frame and publishes what it thinks; a `Service`.

    `endpoints[0]` belongs to the owner: frames are asked for once somebody subscribes to labels there, so that it misses none.
    A gap, or time that breaks off, resets the recogniser.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        inlet: Inlet,
        endpoints: Sequence[Endpoint],
        control: ControlServer,
        capture: ControlClient,
        power: PowerMeter,
        settings: DecisionSettings,
    ) -> None:
        self._recogniser, self._inlet, self._endpoints, self._control = recogniser, inlet, endpoints, control
        self._capture, self._power, self._settings = capture, PacedMeter(power, _POWER_NS), settings
        self._outlets = [endpoint.outlet for endpoint in endpoints]
        self._board = StatusBoard(self._outlets, "inference")
        self._hello = make_hello(recogniser.info)
        self._state = DecisionState()
        self._order = OrderWatch()
        self._subscribed: set[str] = set()
        inlet.subscribe(topic_of("hello"))
        inlet.subscribe(topic_of("status"))
        greet(endpoints, self._hello)

    def step(self) -> bool:
        """Serve controls and subscriptions, take one message from capture."""
        for outlet in self._outlets:
            outlet.poll()
        self._control.poll(self.answer)
        self._follow_lessons()
        self._follow_demand()
        parts = self._inlet.receive(_RECEIVE_MS)
        if parts is not None:
            self._take(parts, host_ns())
        self._board.beat()
        return True

    def answer(self, request: Request) -> Reply:
        """Do what the request asks, or let capture do it."""
        if request.command == "describe":
            return Reply(ok=True, text=msgspec.json.encode(self._hello).decode())
        if request.command == "reset":
            self._reset()
            return Reply(ok=True, text="membranes are at rest")
        if request.command in LESSON_COMMANDS:
            return answer_lesson(self._recogniser, request)
        try:
            return self._capture.request(request)
        except SaccadeError as error:
            return Reply(ok=False, text=str(error))

    def fail(self, error: SaccadeError) -> None:
        """Tell everybody why this process ends."""
        self._board.tell("failed", str(error), error.exit_code)

    def close(self) -> None:
        """Release the sockets and the sensor of power."""
        close_all([self._inlet, self._control, self._capture, self._power, *self._outlets])

    def _is_wanted(self, kind: str) -> bool:
        topic = topic_of(kind, self._hello.source)
        return any(outlet.has_subscriber(topic) for outlet in self._outlets)

    def _follow_demand(self) -> None:
        wanted = {kind for kind in _ON_DEMAND if self._is_wanted(kind)}
        is_owner_there = self._hello.source and self._outlets[0].has_subscriber(topic_of("label", self._hello.source))
        wanted |= {"frame"} if is_owner_there or "frame" in self._subscribed else set()
        self._subscribed = follow_demand(self._inlet, self._subscribed, wanted)

    def _follow_lessons(self) -> None:
        changed = follow_classes(self._hello, self._recogniser)
        if changed is not None:
            self._hello, self._state = changed, DecisionState()
            greet(self._endpoints, changed)

    def _take(self, parts: list[bytes], received_ns: int) -> None:
        try:
            message, array = unpack(parts)
        except WireError:
            self._board.count(n_bad_messages=1)
            return
        if isinstance(message, FrameHead):
            assert array is not None
            frame = SpikeFrame(array, message.start_us, message.end_us, message.seq, message.n_events, message.n_dropped)
            self._recognise(frame, message, received_ns)
        elif isinstance(message, Hello):
            self._board.note(source=message.source)
            self._hello = join_hellos(self._hello, message)
            greet(self._endpoints, self._hello)
        else:
            send_wanted(self._outlets, list(parts))
            if isinstance(message, Status) and message.state in ("ended", "failed"):
                self._board.tell(message.state, message.text, message.exit_code)

    def _recognise(self, frame: SpikeFrame, head: FrameHead, received_ns: int) -> None:
        if self._board.status.state != "running":
            self._board.tell("running")
        gap, is_next = self._order.take(head, received_ns)
        if gap is not None:
            self._board.count(n_gaps=gap.n_lost)
            send_wanted(self._outlets, pack(gap))
        if not is_next:
            self._reset()
        info = self._recogniser.info  # what it is taught in this step is for the next
        prediction = self._recogniser.step(frame)
        inferred_ns = host_ns()
        decision, self._state = decide(self._state, prediction, frame.n_events, self._settings)
        judged = Judged(head, prediction, decision, received_ns, inferred_ns)
        send_wanted(self._outlets, pack(make_label(judged, info, host_ns())))
        self._board.count(n_frames=1, n_events=head.n_events, n_dropped_events=head.n_dropped)
        self._board.note(sensor_t_us=head.end_us)
        if self._is_wanted("meter"):
            send_wanted(self._outlets, pack(make_meter(judged, self._power.read(), host_ns()), prediction.raster))

    def _reset(self) -> None:
        self._recogniser.reset()
        self._state = DecisionState()
