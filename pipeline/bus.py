"""The bus: bounded ZeroMQ sockets with a policy for overload. The only file that knows ZeroMQ; it does not know who calls.

A publisher binds, subscribers connect. Control is a pair of a server (binds) and clients. Each is used by one thread only.
"""

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Literal, Protocol

import zmq

from pipeline.addresses import check_address, refuse_taken_path
from pipeline.codec import MAX_HEAD_BYTES, MAX_PART_BYTES, Part, kind_of, pack_reply, pack_request, unpack_reply, unpack_request
from pipeline.schema.errors import AddressRefusedError, BusError, WireError
from pipeline.schema.messages import Reply, Request

# wait: nothing is lost, the sender waits for the slowest subscriber. drop_oldest: a bounded queue in front of one subscriber.
# drop_newest: each subscriber loses for itself when it is slow, and sees that by the sequence numbers.
Overload = Literal["wait", "drop_oldest", "drop_newest"]
# Asked at every poll until it gives the answer: for what takes longer than a stream may wait.
LaterReply = Callable[[], Reply | None]
Handler = Callable[[Request], Reply | LaterReply]

_LOG = logging.getLogger(__name__)
# A waiting send looks up this often, to notice that it should stop.
_SLICE_MS = 50
# How long closing waits for the last messages to leave; a subscriber that never reads costs no more than this.
LINGER_MS = 1000
# Subscriptions are short prefixes; anything longer on that socket is not one.
_MAX_SUBSCRIPTION_BYTES = 1024
_MAX_TOPICS = 1000


class Outlet(Protocol):
    """Where a service publishes: `greet_with` once it knows itself, `poll` once per round, `send`, and `close` at the end.

    `n_dropped` counts the messages it threw away, by kind; `n_bad_messages` what came in and was no subscription.
    """

    n_dropped: Counter[bytes]
    n_bad_messages: int

    def greet_with(self, hello: Sequence[Part]) -> None:
        """Send `hello` now to all who ask for its kind, and later to each newcomer that does."""
        ...

    def poll(self) -> None:
        """Take in new subscriptions, greet new subscribers, push on what waits."""
        ...

    def has_subscriber(self, topic: bytes) -> bool:
        """Whether somebody would receive a message of this topic."""
        ...

    def send(self, parts: Sequence[Part]) -> bool:
        """Publish one message; False when it was dropped or the wait was broken off."""
        ...

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Let the last messages leave, at most this long, and release the address."""
        ...


class Inlet(Protocol):
    """Where a service receives: `subscribe` and `unsubscribe` at any time, `receive` once per round, `close` at the end."""

    def subscribe(self, topic: bytes) -> None:
        """Ask for topics that begin so."""
        ...

    def unsubscribe(self, topic: bytes) -> None:
        """No longer ask for them."""
        ...

    def receive(self, timeout_ms: int) -> list[bytes] | None:
        """Give the parts of the next message, None when none came in time."""
        ...

    def close(self) -> None:
        """Drop what has not been received and disconnect."""
        ...


def never() -> bool:
    """Say that nothing has to stop."""
    return False


class Publisher:
    """Sends messages to whoever subscribed; an `Outlet`.

    `bound` is the number of messages that may wait for one subscriber. `is_stopped` is asked while a send waits.
    `n_dropped` counts what this publisher itself threw away, by kind (policy `drop_newest` loses without knowing).
    """

    def __init__(
        self,
        address: str,
        *,
        overload: Overload = "drop_newest",
        bound: int = 1000,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.n_dropped: Counter[bytes] = Counter()
        self.n_bad_messages = 0
        self._overload = overload
        self.is_stopped = is_stopped
        self._waiting: deque[Sequence[Part]] = deque()
        self._bound = bound
        self._topics: set[bytes] = set()
        self._hello: Sequence[Part] | None = None
        self._greeting_due = False
        self._context = _context_for(address)
        self._socket = self._context.socket(zmq.XPUB)
        # the queue of drop_oldest must be ours: what ZeroMQ holds cannot be taken back
        self._socket.sndhwm = 2 if overload == "drop_oldest" else bound
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.XPUB_NODROP, int(overload != "drop_newest"))
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
        self._socket.sndtimeo = _SLICE_MS if overload == "wait" else 0
        self.address = _bind(self._socket, self._context, address)

    def greet_with(self, hello: Sequence[Part]) -> None:
        """Send `hello` now to all who ask for its kind, and later to each newcomer that does."""
        self._hello = hello
        self._greeting_due = True
        self.poll()

    def poll(self) -> None:
        """Take in new subscriptions, greet newcomers, push on what waits."""
        while True:
            try:
                message = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            self._note_subscription(message)
        while self._waiting and self._try_send(self._waiting[0]):
            self._waiting.popleft()
        if self._greeting_due and self._hello is not None:
            self._greeting_due = not self._try_send(self._hello)

    def has_subscriber(self, topic: bytes) -> bool:
        """Whether somebody subscribed to this topic, as far as `poll` has seen."""
        return any(topic.startswith(prefix) for prefix in self._topics)

    def wait_for_subscriber(self, topic: bytes, timeout_ms: int) -> bool:
        """Wait until somebody subscribes to this topic; False when nobody did in time."""
        deadline = monotonic() + timeout_ms / 1000
        self.poll()
        while not self.has_subscriber(topic):
            left_ms = int(1000 * (deadline - monotonic()))
            if left_ms <= 0 or self.is_stopped():
                return False
            self._socket.poll(min(left_ms, _SLICE_MS), zmq.POLLIN)
            self.poll()
        return True

    def send(self, parts: Sequence[Part]) -> bool:
        """Publish one message; False when it was dropped, or when the wait for room was broken off by `is_stopped`."""
        if self._overload == "drop_oldest":
            return self._send_or_queue(parts)
        while not self._try_send(parts):
            if self._overload == "drop_newest" or self.is_stopped():
                self.n_dropped[kind_of(parts[0])] += 1
                return False
        return True

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Let the last messages leave, at most `linger_ms`, and release the address; may be called twice."""
        deadline = monotonic() + linger_ms / 1000
        while self._waiting and monotonic() < deadline and not self._socket.closed:
            self._socket.poll(_SLICE_MS // 10, zmq.POLLIN)
            self.poll()
        _close(self._socket, self._context, linger_ms)

    def _send_or_queue(self, parts: Sequence[Part]) -> bool:
        if not self._waiting and self._try_send(parts):
            return True
        self._waiting.append([bytes(part) for part in parts])  # the arrays behind views may change while they wait
        if len(self._waiting) <= self._bound:
            return True
        self.n_dropped[kind_of(self._waiting.popleft()[0])] += 1
        return False

    def _try_send(self, parts: Sequence[Part]) -> bool:
        try:
            self._socket.send_multipart(parts)
        except zmq.Again:
            return False
        return True

    def _note_subscription(self, message: bytes) -> None:
        topic = message[1:]
        if message[:1] == b"\0":
            self._topics.discard(topic)
            return
        if message[:1] != b"\1" or len(self._topics) >= _MAX_TOPICS:
            self.n_bad_messages += 1
            _LOG.warning("a subscriber of %s sent %d bytes that are no subscription", self.address, len(message))
            return
        self._topics.add(topic)
        if self._hello is not None and bytes(self._hello[0]).startswith(topic):
            self._greeting_due = True


class Subscriber:
    """Receives the messages of one publisher, also when that comes later or comes back; an `Inlet`."""

    def __init__(self, address: str, topics: Iterable[bytes], *, bound: int = 1000) -> None:
        self._context = _context_for(address)
        self._socket = self._context.socket(zmq.SUB)
        self._socket.rcvhwm = bound
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        self._socket.reconnect_ivl = 20
        self._socket.reconnect_ivl_max = 500
        for topic in topics:
            self._socket.subscribe(topic)
        _connect(self._socket, self._context, address)

    def subscribe(self, topic: bytes) -> None:
        """Ask for topics that begin so."""
        self._socket.subscribe(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """No longer ask for them; messages on their way still arrive."""
        self._socket.unsubscribe(topic)

    def receive(self, timeout_ms: int) -> list[bytes] | None:
        """Give the parts of the next message, None when none came in time."""
        if not self._socket.poll(timeout_ms, zmq.POLLIN):
            return None
        return self._socket.recv_multipart(zmq.DONTWAIT)

    def close(self) -> None:
        """Drop what has not been received and disconnect; may be called twice."""
        _close(self._socket, self._context, 0)


class ControlServer:
    """Answers requests on one or more addresses, whenever its owner polls."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.n_bad_messages = 0
        self.addresses: list[str] = []
        self._later: list[tuple[list[bytes], LaterReply]] = []
        wanted = list(addresses)
        self._context = _context_for(*wanted)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_HEAD_BYTES)
        self._socket.sndhwm = self._socket.rcvhwm = 64
        for address in wanted:
            self.addresses.append(_bind(self._socket, self._context, address))

    def poll(self, handle: Handler, *, limit: int = 16) -> int:
        """Answer at most `limit` waiting requests and say how many there were; damaged ones are refused and counted.

        What `handle` answers with a `LaterReply` is answered in a later poll, and requests that came after it may be before.
        """
        self._answer_late()
        for n_answered in range(limit):
            try:
                parts = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return n_answered
            envelope = [*parts[:1], *([b""] if len(parts) == 3 else [])]
            reply: Reply | LaterReply
            try:
                # a REQ socket puts an empty part before the request, a DEALER does not
                if len(parts) not in (2, 3) or (len(parts) == 3 and parts[1] != b""):
                    raise WireError(f"a request has one part, this one {len(parts) - 1}")
                reply = handle(unpack_request(parts[-1]))
            except WireError as error:
                self.n_bad_messages += 1
                _LOG.warning("request refused: %s", error)
                reply = Reply(ok=False, text=str(error))
            if isinstance(reply, Reply):
                self._send(envelope, reply)
            else:
                self._later.append((envelope, reply))
        return limit

    def close(self) -> None:
        """Release the addresses; may be called twice."""
        _close(self._socket, self._context, LINGER_MS // 10)

    def _answer_late(self) -> None:
        waiting, self._later = self._later, []
        for envelope, ask in waiting:
            reply = ask()
            if reply is None:
                self._later.append((envelope, ask))
            else:
                self._send(envelope, reply)

    def _send(self, envelope: list[bytes], reply: Reply) -> None:
        with contextlib.suppress(zmq.ZMQError):  # who asked may be gone by now
            self._socket.send_multipart([*envelope, pack_reply(reply)], zmq.DONTWAIT)


class ControlClient:
    """Sends one request at a time and waits for its reply."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context = _context_for(address)
        self._socket = self._open()

    def request(self, request: Request, timeout_ms: int = 2000) -> Reply:
        """Ask, and give the answer; BusError when none comes in time, WireError when it is not ours."""
        try:
            self._socket.send(pack_request(request), zmq.DONTWAIT)
            has_answer = self._socket.poll(timeout_ms, zmq.POLLIN)
        except zmq.Again:
            has_answer = 0
        if not has_answer:
            # a late answer must not be taken for that of the next request
            self._socket.close(linger=0)
            self._socket = self._open()
            raise BusError(
                f"no answer to {request.command!r} from {self._address} within {timeout_ms} ms; is it still running?"
            )
        return unpack_reply(self._socket.recv_multipart()[-1])

    def close(self) -> None:
        """Disconnect; may be called twice."""
        _close(self._socket, self._context, 0)

    def _open(self) -> zmq.Socket[bytes]:
        opened = self._context.socket(zmq.DEALER)
        opened.sndhwm = opened.rcvhwm = 64
        opened.setsockopt(zmq.MAXMSGSIZE, MAX_HEAD_BYTES)
        _connect(opened, self._context, self._address)
        return opened


def _context_for(*addresses: str) -> zmq.Context[zmq.Socket[bytes]]:
    # inproc addresses exist inside one context only; all others get their own, so that closing can wait for the last messages
    return zmq.Context.instance() if any(a.startswith("inproc://") for a in addresses) else zmq.Context()


def _bind(opened: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]], address: str) -> str:
    try:
        wanted = check_address(address)
        refuse_taken_path(wanted)
        opened.ipv6 = "[" in wanted
        opened.bind(wanted.removesuffix(":0") + ":*" if wanted.endswith(":0") else wanted)
    except zmq.ZMQError as error:
        _close(opened, context, 0)
        way_out = "; another program uses it: choose another with --publish" if error.errno == zmq.EADDRINUSE else ""
        raise BusError(f"cannot publish on {address}: {error.strerror or error}{way_out}") from None
    except (AddressRefusedError, BusError):
        _close(opened, context, 0)
        raise
    return opened.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _connect(opened: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
    try:
        wanted = check_address(address)
        if wanted.endswith((":0", ":*")):
            raise BusError(f"cannot connect to {address}: the port must be known")
        opened.ipv6 = "[" in wanted
        opened.connect(wanted)
    except zmq.ZMQError as error:
        _close(opened, context, 0)
        raise BusError(f"cannot connect to {address}: {error.strerror or error}") from None
    except (AddressRefusedError, BusError):
        _close(opened, context, 0)
        raise


def _close(opened: zmq.Socket[bytes], context: zmq.Context[zmq.Socket[bytes]], linger_ms: int) -> None:
    if opened.closed:
        return
    opened.close(linger=linger_ms)
    if context is not zmq.Context.instance():
        context.term()
