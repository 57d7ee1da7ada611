"""The inference process: frames -> recogniser -> decision -> bus. It says who calls whom; it knows no source and no screen."""

from collections.abc import Sequence

import msgspec

from pipeline.bus import ControlClient, ControlServer, Inlet, LaterReply
from pipeline.codec import pack, topic_of, unpack
from pipeline.labelling import Judged, OrderWatch, join_hellos, make_hello, make_label, make_meter
from pipeline.power import PacedMeter, PowerMeter
from pipeline.publishing import Endpoint, StatusBoard, follow_demand, greet, send_wanted
from pipeline.schema.clock import NS_PER_MS, host_ns
from pipeline.schema.errors import SaccadeError, WireError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import FrameHead, Hello, Reply, Request, Status
from pipeline.seat import SEAT_COMMANDS, Bins, Seat, bins_of
from pipeline.service import close_all

_RECEIVE_MS = 20
_POWER_NS = 200 * NS_PER_MS
# Forwarded from capture only while somebody downstream subscribes to them.
_ON_DEMAND = ("events", "preview")


class InferenceService:
    """Steps the recogniser with every frame and publishes what it thinks; a `Service`.

    `endpoints[0]` belongs to the owner: frames are asked for once somebody subscribes to labels there, so that it misses none.
    A gap, or time that breaks off, resets the recogniser. Another network takes over with the first frame that is as it wants.
    """

    def __init__(
        self,
        seat: Seat,
        inlet: Inlet,
        endpoints: Sequence[Endpoint],
        control: ControlServer,
        capture: ControlClient,
        power: PowerMeter,
    ) -> None:
        self._seat, self._inlet, self._endpoints, self._control = seat, inlet, endpoints, control
        self._capture, self._power = capture, PacedMeter(power, _POWER_NS)
        self._outlets = [endpoint.outlet for endpoint in endpoints]
        self._board = StatusBoard(self._outlets, "inference")
        self._hello = make_hello(seat.info)
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
        self._follow_seat(None)
        self._follow_demand()
        parts = self._inlet.receive(_RECEIVE_MS)
        if parts is not None:
            self._take(parts, host_ns())
        self._board.beat()
        return True

    def answer(self, request: Request) -> Reply | LaterReply:
        """Do what the request asks, or let capture do it."""
        if request.command == "describe":
            return Reply(ok=True, text=msgspec.json.encode(self._hello).decode())
        if request.command in SEAT_COMMANDS:
            return self._seat.answer(request)
        try:
            return self._capture.request(request)
        except SaccadeError as error:
            return Reply(ok=False, text=str(error))

    def fail(self, error: SaccadeError) -> None:
        """Tell everybody why this process ends."""
        self._board.tell("failed", str(error), error.exit_code)

    def close(self) -> None:
        """Release the sockets and the sensor of power."""
        close_all([self._seat, self._inlet, self._control, self._capture, self._power, *self._outlets])

    def _is_wanted(self, kind: str) -> bool:
        topic = topic_of(kind, self._hello.source)
        return any(outlet.has_subscriber(topic) for outlet in self._outlets)

    def _follow_demand(self) -> None:
        wanted = {kind for kind in _ON_DEMAND if self._is_wanted(kind)}
        is_owner_there = self._hello.source and self._outlets[0].has_subscriber(topic_of("label", self._hello.source))
        wanted |= {"frame"} if is_owner_there or "frame" in self._subscribed else set()
        self._subscribed = follow_demand(self._inlet, self._subscribed, wanted)

    def _follow_seat(self, bins: Bins | None) -> None:
        """Let another network in where frames come that it wants, ask capture for them where not, and say what is new."""
        text = self._seat.let_in(bins)
        if text:
            self._board.note(text=text)
            self._board.hurry()
        if self._outlets[0].has_subscriber(topic_of("wish", self._hello.source)):
            wish = self._seat.wish(self._hello)
            if wish is not None:
                self._outlets[0].send(pack(wish))
        if self._seat.has_changed():
            self._hello = join_hellos(make_hello(self._seat.info), self._hello)
            greet(self._endpoints, self._hello)

    def _take(self, parts: list[bytes], received_ns: int) -> None:
        try:
            message, array = unpack(parts)
        except WireError:
            self._board.count(n_bad_messages=1)
            return
        self._follow_seat(bins_of(message))
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
            self._seat.reset()
        info = self._seat.info  # what it is taught in this step is for the next
        prediction = self._seat.step(frame)
        inferred_ns = host_ns()
        decision = self._seat.decide(prediction, frame.n_events)
        judged = Judged(head, prediction, decision, received_ns, inferred_ns)
        send_wanted(self._outlets, pack(make_label(judged, info, host_ns())))
        self._board.count(n_frames=1, n_events=head.n_events, n_dropped_events=head.n_dropped)
        self._board.note(sensor_t_us=head.end_us)
        if self._is_wanted("meter"):
            send_wanted(self._outlets, pack(make_meter(judged, self._power.read(), host_ns()), prediction.raster))
