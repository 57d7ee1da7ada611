import socket
import threading
from contextlib import closing
from time import monotonic

import pytest

from pipeline.bus import ControlClient, ControlServer, Publisher, Subscriber
from pipeline.codec import pack, unpack, unpack_reply
from pipeline.schema.errors import AddressRefusedError, BusError
from pipeline.schema.messages import Gap, Hello, Reply, Request, Status

ANY_PORT = "tcp://127.0.0.1:0"
HELLO = pack(Hello("cam0", "tim@1", ["a"], 10_000, 16, "ipc:///x"))


def status(number):
    return pack(Status("cam0", "capture", "running", number))


def numbers(subscriber, timeout_ms=200):
    """The numbers of all statuses that come until it is quiet for so long."""
    found = []
    while (parts := subscriber.receive(timeout_ms)) is not None:
        found.append(unpack(parts)[0].host_ns)
    return found


def until(condition, seconds=5):
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "waited in vain"


def test_a_subscriber_receives_the_topics_it_asked_for():
    with closing(Publisher(ANY_PORT)) as publisher, closing(Subscriber(publisher.address, [b"status/"])) as subscriber:
        assert publisher.wait_for_subscriber(b"status/cam0", 2000)
        publisher.send(pack(Gap("cam0", "frame/cam0", 1, 1, 1)))
        publisher.send(status(5))
        assert numbers(subscriber) == [5]


def test_publisher_knows_who_listens(tmp_path):
    with closing(Publisher(f"ipc://{tmp_path}/s")) as publisher:
        assert not publisher.wait_for_subscriber(b"status/cam0", 1)
        with closing(Subscriber(publisher.address, [b"status/"])) as subscriber:
            assert publisher.wait_for_subscriber(b"status/cam0", 2000)
            assert not publisher.has_subscriber(b"label/cam0")
            subscriber.subscribe(b"label/")
            assert publisher.wait_for_subscriber(b"label/cam0", 2000)

        def is_alone():
            publisher.poll()
            return not publisher.has_subscriber(b"status/cam0")

        until(is_alone)


def test_hello_reaches_who_came_before_and_who_comes_after():
    with closing(Publisher(ANY_PORT)) as publisher:
        with closing(Subscriber(publisher.address, [b"hello/"])) as early:
            assert publisher.wait_for_subscriber(b"hello/cam0", 2000)
            publisher.greet_with(HELLO)
            assert unpack(early.receive(2000))[0].network == "tim@1"
        with closing(Subscriber(publisher.address, [b""])) as late:
            received = []

            def is_greeted():
                publisher.poll()
                received.append(late.receive(20))
                return received[-1] is not None

            until(is_greeted)
            assert unpack(received[-1])[0].network == "tim@1"


def test_waiting_publisher_loses_nothing(tmp_path):
    n = 5000
    with closing(Publisher(f"ipc://{tmp_path}/s", overload="wait", bound=2)) as publisher:
        with closing(Subscriber(publisher.address, [b"status/"], bound=2)) as subscriber:
            assert publisher.wait_for_subscriber(b"status/", 2000)
            sender = threading.Thread(target=lambda: [publisher.send(status(i)) for i in range(n)])
            sender.start()
            try:
                assert [unpack(subscriber.receive(5000))[0].host_ns for _ in range(n)] == list(range(n))
            finally:
                sender.join()
        assert publisher.n_dropped.total() == 0


def test_a_wait_ends_when_it_should_stop(tmp_path):
    stop = threading.Event()
    big = [b"status/cam0", b"x" * (1 << 20)]
    publisher = Publisher(f"ipc://{tmp_path}/s", overload="wait", bound=1, is_stopped=stop.is_set)
    with closing(publisher), closing(Subscriber(publisher.address, [b"status/"], bound=1)):
        assert publisher.wait_for_subscriber(b"status/", 2000)
        stop.set()
        until(lambda: not publisher.send(big))
        assert publisher.n_dropped[b"status"] == 1
        publisher.close(0)


def test_bounded_publisher_drops_the_oldest_and_counts_them(tmp_path):
    filler = [b"status/cam0", b"x" * (1 << 20)]
    publisher = Publisher(f"ipc://{tmp_path}/s", overload="drop_oldest", bound=3)
    with closing(publisher), closing(Subscriber(publisher.address, [b"status/"], bound=1)) as subscriber:
        assert publisher.wait_for_subscriber(b"status/", 2000)
        # fill what the sockets and the kernel hold, until our own queue begins to overflow
        until(lambda: publisher.send(filler) is False)
        for number in range(5):
            publisher.send(status(number))
        found = []

        def is_drained():
            publisher.poll()
            parts = subscriber.receive(20)
            if parts is not None and len(parts[1]) < 1000:
                found.append(unpack(parts)[0].host_ns)
            return found[-1:] == [4]

        until(is_drained)
        assert found == [2, 3, 4]
        assert publisher.n_dropped[b"status"] == 1 + 5


def test_a_listener_that_never_reads_slows_nobody_and_two_others_get_everything():
    n = 3000
    publisher = Publisher(ANY_PORT, bound=n)
    first, second, sleepy = (Subscriber(publisher.address, [b"status/"], bound=bound) for bound in (n, n, 1))
    try:
        # a topic of its own tells that each is there
        for name, subscriber in ((b"first", first), (b"second", second), (b"sleepy", sleepy)):
            subscriber.subscribe(name)
            assert publisher.wait_for_subscriber(name, 2000)
        for number in range(n):
            publisher.send(status(number))
        assert numbers(first, 1000) == list(range(n))
        assert numbers(second, 1000) == list(range(n))
    finally:
        for closable in (first, second, sleepy):
            closable.close()
        publisher.close(100)


def test_the_last_message_leaves_before_the_socket_closes():
    publisher = Publisher(ANY_PORT)
    with closing(Subscriber(publisher.address, [b"status/"])) as subscriber:
        assert publisher.wait_for_subscriber(b"status/", 2000)
        publisher.send(status(1))
        publisher.close()
        assert numbers(subscriber) == [1]


def test_an_address_in_use_is_named_with_the_way_out():
    with (
        closing(Publisher(ANY_PORT)) as publisher,
        pytest.raises(BusError, match=rf"{publisher.address}.*in use.*--publish"),
    ):
        Publisher(publisher.address)


def test_addresses_of_other_machines_are_refused_before_any_socket_opens():
    for make in (Publisher, lambda address: Subscriber(address, []), ControlClient, lambda address: ControlServer([address])):
        with pytest.raises(AddressRefusedError):
            make("tcp://10.0.0.1:5556")


def test_a_port_must_be_known_to_connect():
    with pytest.raises(BusError, match="port must be known"):
        Subscriber("tcp://127.0.0.1:*", [])


def test_a_folder_that_is_missing_is_named():
    with pytest.raises(BusError, match="/nowhere"):
        Publisher("ipc:///nowhere/at/all")


class Served:
    """A control server in a thread of its own, answering with the request's value."""

    def __init__(self, address):
        self.server = ControlServer([address])
        self.address = self.server.addresses[0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.001):
            self.server.poll(lambda request: Reply(ok=True, text=f"{request.command} {request.value}"))

    def close(self):
        self._stop.set()
        self._thread.join()
        self.server.close()


def test_a_request_is_answered():
    with closing(Served(ANY_PORT)) as served, closing(ControlClient(served.address)) as client:
        assert client.request(Request("seek", 5.0)) == Reply(ok=True, text="seek 5.0")


def test_an_answer_that_takes_longer_holds_nobody_up():
    import zmq

    answers = {}

    def handle(request):
        return (lambda: answers.get("seek")) if request.command == "seek" else Reply(ok=True, text="at once")

    context = zmq.Context()
    first, second = context.socket(zmq.REQ), context.socket(zmq.DEALER)
    with closing(ControlServer([ANY_PORT])) as server, closing(first), closing(second):
        for asking in (first, second):
            asking.connect(server.addresses[0])
        first.send(b'{"command":"seek"}')
        until(lambda: server.poll(handle) == 1)
        second.send(b'{"command":"pause"}')
        until(lambda: server.poll(handle) == 1)
        assert unpack_reply(second.recv()).text == "at once"
        server.poll(handle)
        assert first.poll(50) == 0
        answers["seek"] = Reply(ok=False, text="in the end")
        server.poll(handle)
        assert unpack_reply(first.recv()).text == "in the end"
        server.poll(handle)
        assert first.poll(50) == 0
    context.term()


def test_hostile_bytes_to_the_control_socket_are_counted_and_survived():
    import zmq

    with closing(Served(ANY_PORT)) as served, closing(ControlClient(served.address)) as client:
        context = zmq.Context()
        hostile = context.socket(zmq.DEALER)
        hostile.connect(served.address)
        hostile.send(b"\xff\x00garbage")
        hostile.send_multipart([b"a", b"b", b"c", b"d"])
        assert b'"ok":false' in hostile.recv()
        assert b'"ok":false' in hostile.recv()
        hostile.close(linger=0)
        context.term()
        host, port = served.address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert client.request(Request("pause")).ok
        assert served.server.n_bad_messages == 2


def test_a_plain_req_socket_is_served_too():
    import zmq

    with closing(Served(ANY_PORT)) as served:
        context = zmq.Context()
        plain = context.socket(zmq.REQ)
        plain.connect(served.address)
        plain.send(b'{"command":"pause"}')
        assert b'"ok":true' in plain.recv()
        plain.close(linger=0)
        context.term()


def test_hostile_bytes_to_a_publisher_are_counted_and_survived():
    import zmq

    with closing(Publisher(ANY_PORT)) as publisher:
        context = zmq.Context()
        hostile = context.socket(zmq.XSUB)
        hostile.connect(publisher.address)
        hostile.send(b"\x07 no subscription")
        hostile.send(b"\x01status/")
        assert publisher.wait_for_subscriber(b"status/cam0", 2000)
        publisher.send(status(3))
        assert hostile.recv_multipart()[0] == b"status/cam0"
        assert publisher.n_bad_messages == 1
        hostile.close(linger=0)
        context.term()


def test_no_answer_is_an_error_and_the_next_request_starts_afresh():
    with closing(ControlServer([ANY_PORT])) as server, closing(ControlClient(server.addresses[0])) as client:
        with pytest.raises(BusError, match="no answer to 'pause'"):
            client.request(Request("pause"), timeout_ms=10)
        answered = threading.Event()

        def serve():
            while not answered.is_set():
                server.poll(lambda request: Reply(ok=True, text=request.command))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            assert client.request(Request("resume")).text == "resume"
        finally:
            answered.set()
            thread.join()
