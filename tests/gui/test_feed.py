import threading
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import msgspec
import pytest

from gui.demo_feed import DELTA_T_US, DemoFeed, demo_bin, demo_hello, demo_label
from gui.feed import MAX_METERS, MAX_PREVIEWS, MAX_WORDS, Arrival, BusFeed, Inbox
from pipeline.codec import Part, pack
from pipeline.schema.errors import BusError
from pipeline.schema.messages import Hello, Label, Meter, PreviewHead, Reply, Request


class _Wire:
    """A receiver that gives what was put in, and says when it was closed."""

    def __init__(self, *messages: list[Part]) -> None:
        self._messages = list(messages)
        self.is_closed = False
        self.fails = False

    def receive(self, timeout_ms: int) -> list[Part] | None:
        if self._messages:
            return self._messages.pop(0)
        if self.fails:
            raise BusError("the socket is gone")
        threading.Event().wait(min(timeout_ms, 5) / 1000)
        return None

    def close(self) -> None:
        self.is_closed = True


class _Desk:
    """A requester that answers as told."""

    def __init__(self, reply: Reply | BusError) -> None:
        self._reply = reply
        self.requests: list[Request] = []

    def request(self, request: Request) -> Reply:
        self.requests.append(request)
        if isinstance(self._reply, BusError):
            raise self._reply
        return self._reply

    def close(self) -> None:
        pass


def _until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 5
    while not condition():
        assert monotonic() < deadline, "waited for nothing"
        sleep(0.002)


@pytest.fixture
def open_feed() -> Iterator[Callable[..., BusFeed]]:
    feeds = []

    def open_one(wire: _Wire, desk: _Desk | None = None) -> BusFeed:
        feeds.append(BusFeed("inproc://test", lambda _url: wire, lambda _address: desk or _Desk(Reply(ok=True))))
        return feeds[-1]

    yield open_one
    for feed in feeds:
        feed.close()
        feed.close()


def test_messages_arrive_unpacked_and_in_order(open_feed: Callable[..., BusFeed]) -> None:
    feed = open_feed(_Wire(*[pack(message, array) for message, array in demo_bin(0)]))
    arrivals: list[Arrival] = []
    _until(lambda: bool(arrivals.extend(feed.drain()) or len(arrivals) == 3))
    assert [type(arrival.message) for arrival in arrivals] == [Label, Meter, PreviewHead]
    assert arrivals[2].array is not None
    assert arrivals[2].array.shape == (2, 128, 128)


def test_a_damaged_message_is_counted_and_the_next_one_arrives(open_feed: Callable[..., BusFeed]) -> None:
    feed = open_feed(_Wire([b"label/x", b"{"], [], [b"\xff" * 300], pack(demo_label(0))))
    arrivals: list[Arrival] = []
    _until(lambda: bool(arrivals.extend(feed.drain()) or arrivals))
    assert feed.report().n_bad_messages == 3


def test_a_socket_that_breaks_is_a_failure_that_is_told(open_feed: Callable[..., BusFeed]) -> None:
    wire = _Wire()
    wire.fails = True
    feed = open_feed(wire)
    _until(lambda: feed.report().failure == "the socket is gone")
    _until(lambda: wire.is_closed)


def test_requests_go_to_the_address_of_the_hello(open_feed: Callable[..., BusFeed]) -> None:
    desk = _Desk(Reply(ok=True))
    feed = open_feed(_Wire(pack(demo_hello())), desk)
    _until(lambda: feed.report().can_control)
    feed.send(Request(command="pause"))
    _until(lambda: len(desk.requests) == 1)
    assert desk.requests[0].command == "pause"


def test_a_refusal_is_told_with_its_reason(open_feed: Callable[..., BusFeed]) -> None:
    feed = open_feed(_Wire(pack(demo_hello())), _Desk(Reply(ok=False, text="the source is live")))
    _until(lambda: feed.report().can_control)
    feed.send(Request(command="seek", value=0.0))
    _until(lambda: feed.report().reply == "seek: the source is live")


def test_no_answer_is_told_too(open_feed: Callable[..., BusFeed]) -> None:
    feed = open_feed(_Wire(pack(demo_hello())), _Desk(BusError("no answer")))
    _until(lambda: feed.report().can_control)
    feed.send(Request(command="pause"))
    _until(lambda: feed.report().reply == "no answer")


def test_without_a_control_address_requests_are_refused_here(open_feed: Callable[..., BusFeed]) -> None:
    feed = open_feed(_Wire())
    feed.send(Request(command="pause"))
    assert "takes no requests" in feed.report().reply


def test_of_waiting_requests_of_a_kind_only_the_newest_is_sent(open_feed: Callable[..., BusFeed]) -> None:
    gate = threading.Event()

    class _SlowDesk(_Desk):
        def request(self, request: Request) -> Reply:
            reply = super().request(request)
            gate.wait(5)
            return reply

    desk = _SlowDesk(Reply(ok=True))
    feed = open_feed(_Wire(pack(demo_hello())), desk)
    _until(lambda: feed.report().can_control)
    feed.send(Request(command="seek", value=0.0))
    _until(lambda: len(desk.requests) == 1)
    for value in (1.0, 2.0, 3.0):
        feed.send(Request(command="seek", value=value))
    gate.set()
    _until(lambda: len(desk.requests) == 2)
    assert [request.value for request in desk.requests] == [0.0, 3.0]


def test_overload_skips_old_pictures_and_keeps_labels() -> None:
    inbox = Inbox()
    for seq in range(MAX_METERS + 10):
        for message, array in demo_bin(0):
            inbox.put(Arrival(msgspec.structs.replace(message, seq=seq), array, 0))
    arrivals = inbox.drain()
    previews = [arrival.message.seq for arrival in arrivals if isinstance(arrival.message, PreviewHead)]
    assert previews == list(range(MAX_METERS + 10 - MAX_PREVIEWS, MAX_METERS + 10))
    assert sum(isinstance(arrival.message, Label) for arrival in arrivals) == MAX_METERS + 10
    report = inbox.report()
    assert (report.n_pictures_skipped, report.n_labels_dropped) == (MAX_METERS + 10 - MAX_PREVIEWS + 10, 0)


def test_labels_that_fall_out_are_counted() -> None:
    inbox = Inbox()
    for seq in range(MAX_WORDS + 2):
        inbox.put(Arrival(demo_label(seq), None, 0))
    assert len(inbox.drain()) == MAX_WORDS
    assert inbox.report().n_labels_dropped == 2


def test_the_feed_works_over_a_real_bus() -> None:
    from pipeline.bus import ControlServer, Publisher
    from pipeline.codec import topic_of

    served: list[Request] = []

    def serve(request: Request) -> Reply:
        served.append(request)
        return Reply(ok=True)

    control = ControlServer(["tcp://127.0.0.1:*"])
    publisher = Publisher("tcp://127.0.0.1:*")
    feed = BusFeed(publisher.address)
    try:
        publisher.greet_with(pack(msgspec.structs.replace(demo_hello(), control=control.addresses[0])))
        assert publisher.wait_for_subscriber(topic_of("label"), 5000)
        arrivals: list[Arrival] = []
        _until(lambda: bool(publisher.poll() or arrivals.extend(feed.drain()) or arrivals))
        assert isinstance(arrivals[0].message, Hello)
        _until(lambda: feed.report().can_control)
        feed.send(Request(command="pause"))
        _until(lambda: bool(control.poll(serve) or served))
    finally:
        feed.close()
        publisher.close(0)
        control.close()


def test_the_demo_feed_gives_every_bin_of_the_time_that_passed() -> None:
    now = [0]
    feed = DemoFeed(lambda: now[0])
    now[0] = 5 * DELTA_T_US * 1000
    labels = [arrival.message.seq for arrival in feed.drain() if isinstance(arrival.message, Label)]
    assert labels == [0, 1, 2, 3, 4]
    feed.send(Request(command="pause"))
    now[0] *= 2
    assert not [arrival for arrival in feed.drain() if isinstance(arrival.message, Label)]
