"""The window's ear and mouth: two threads that receive messages and send requests, so that the main thread never waits.

Only this file of the window knows the bus. It knows neither Qt nor what the messages mean, except which may be skipped.

Overload policy: of pictures (previews, meters) the oldest are skipped first and counted; labels, gaps and statuses wait
in a far longer queue, and what falls out of it is counted too.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from gui.snapshot import FeedReport
from pipeline.codec import Message, Part, Payload, topic_of, unpack
from pipeline.schema.clock import host_ns
from pipeline.schema.errors import SaccadeError, WireError
from pipeline.schema.messages import Hello, Meter, PreviewHead, Reply, Request

TOPICS = ("hello", "label", "gap", "status", "meter", "preview")
# A picture older than the next three is not worth drawing.
MAX_PREVIEWS = 4
# As many bins as the raster can show, twice: more would scroll through unseen.
MAX_METERS = 800
# A minute and more of labels at 100 bins a second.
MAX_WORDS = 8192
# Messages that the socket itself may hold for us.
_SOCKET_BOUND = 1000
# How soon the receiving thread notices that the window was closed.
_RECEIVE_TIMEOUT_MS = 100


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message with its array, and the host time it arrived."""

    message: Message
    array: Payload
    arrived_ns: int


class Receiver(Protocol):
    """What the feed needs of a subscription; used by the receiving thread alone, except for construction."""

    def receive(self, timeout_ms: int) -> Sequence[Part] | None:
        """Parts of the next message, None when none came in time."""
        ...

    def close(self) -> None:
        """Release the socket."""
        ...


class Requester(Protocol):
    """What the feed needs of a control connection; used by the requesting thread alone."""

    def request(self, request: Request) -> Reply:
        """Ask and wait for the answer."""
        ...

    def close(self) -> None:
        """Release the socket."""
        ...


class Feed(Protocol):
    """Where the window gets its messages from. All four are called by the main thread and none of them waits long."""

    def drain(self) -> list[Arrival]:
        """Messages since the last call, oldest first within words, meters and previews."""
        ...

    def send(self, request: Request) -> None:
        """Pass a request on; its reply shows up in `report`."""
        ...

    def report(self) -> FeedReport:
        """Say how the feed itself is doing."""
        ...

    def close(self) -> None:
        """End threads and sockets; may be called twice."""
        ...


class Inbox:
    """Bounded queues between the receiving thread and the main thread; counts what falls out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: deque[Arrival] = deque(maxlen=MAX_WORDS)
        self._meters: deque[Arrival] = deque(maxlen=MAX_METERS)
        self._previews: deque[Arrival] = deque(maxlen=MAX_PREVIEWS)
        self._report = FeedReport()

    def put(self, arrival: Arrival) -> None:
        """Add one message, letting the oldest of its queue fall out when it is full."""
        with self._lock:
            if isinstance(arrival.message, PreviewHead | Meter):
                queue = self._previews if isinstance(arrival.message, PreviewHead) else self._meters
                skipped = int(len(queue) == queue.maxlen)
                self._report = replace(self._report, n_pictures_skipped=self._report.n_pictures_skipped + skipped)
            else:
                queue = self._words
                dropped = int(len(queue) == queue.maxlen)
                self._report = replace(self._report, n_labels_dropped=self._report.n_labels_dropped + dropped)
            queue.append(arrival)

    def drain(self) -> list[Arrival]:
        """Take everything out."""
        with self._lock:
            arrivals = [*self._words, *self._meters, *self._previews]
            for queue in (self._words, self._meters, self._previews):
                queue.clear()
        return arrivals

    def count_bad_message(self) -> None:
        """Count a message that could not be read."""
        with self._lock:
            self._report = replace(self._report, n_bad_messages=self._report.n_bad_messages + 1)

    def note(self, *, can_control: bool | None = None, reply: str | None = None, failure: str | None = None) -> None:
        """Change the words of the report."""
        with self._lock:
            if can_control is not None:
                self._report = replace(self._report, can_control=can_control)
            if reply is not None:
                self._report = replace(self._report, reply=reply, reply_ns=host_ns())
            if failure is not None:
                self._report = replace(self._report, failure=failure)

    def report(self) -> FeedReport:
        """Give the report as it is now."""
        with self._lock:
            return self._report


class _Mouth:
    """The requesting thread: sends the newest request of each kind, so that dragging a slider never builds a queue."""

    def __init__(self, address: str, connect: Callable[[str], Requester], inbox: Inbox) -> None:
        self.address = address
        self._connect = connect
        self._inbox = inbox
        self._pending: dict[str, Request] = {}
        self._wake = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="window-requests")
        self._thread.start()

    def send(self, request: Request) -> None:
        """Queue a request, in place of a waiting one of the same kind."""
        with self._wake:
            self._pending.pop(request.command, None)
            self._pending[request.command] = request
            self._wake.notify()

    def close(self) -> None:
        """End the thread."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            requester = self._connect(self.address)
        except SaccadeError as error:
            self._inbox.note(can_control=False, reply=str(error))
            return
        self._inbox.note(can_control=True)
        try:
            while (request := self._next()) is not None:
                self._inbox.note(reply=_ask(requester, request))
        finally:
            requester.close()

    def _next(self) -> Request | None:
        with self._wake:
            self._wake.wait_for(lambda: self._pending or self._is_closing)
            if self._is_closing:
                return None
            return self._pending.pop(next(iter(self._pending)))


def _ask(requester: Requester, request: Request) -> str:
    """Send one request; give what is worth telling the user: nothing when it was done, the reason when not."""
    try:
        reply = requester.request(request)
    except SaccadeError as error:
        return str(error)
    return "" if reply.ok else f"{request.command}: {reply.text or 'refused'}"


class BusFeed:
    """A `Feed` from a bus address; the control address comes with the bus's Hello.

    Raises BusError or AddressRefusedError at construction when the address cannot be used at all. A publisher that is not
    there yet is no error: messages start when it comes.
    """

    def __init__(
        self,
        url: str,
        open_receiver: Callable[[str], Receiver] | None = None,
        open_requester: Callable[[str], Requester] | None = None,
    ) -> None:
        self._inbox = Inbox()
        self._open_requester = open_requester or (lambda control: _open_control(url, control))
        self._receiver = (open_receiver or _open_subscriber)(url)
        self._mouth: _Mouth | None = None
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="window-feed")
        self._thread.start()

    def drain(self) -> list[Arrival]:
        """Messages since the last call."""
        return self._inbox.drain()

    def send(self, request: Request) -> None:
        """Pass a request on, or report that there is nowhere to send it."""
        with self._lock:
            if self._mouth is None:
                self._inbox.note(reply=f"{request.command}: this bus takes no requests")
            else:
                self._mouth.send(request)

    def report(self) -> FeedReport:
        """Say how the feed itself is doing."""
        return self._inbox.report()

    def close(self) -> None:
        """End threads and sockets; may be called twice."""
        self._is_closing.set()
        self._thread.join()

    def __enter__(self) -> Self:
        """Give the feed itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _run(self) -> None:
        try:
            while not self._is_closing.is_set():
                self._step()
        except SaccadeError as error:
            self._inbox.note(failure=str(error))
        finally:
            self._receiver.close()
            self._replace_mouth(None)

    def _step(self) -> None:
        parts = self._receiver.receive(_RECEIVE_TIMEOUT_MS)
        if parts is None:
            return
        try:
            message, array = unpack(parts)
        except WireError:
            self._inbox.count_bad_message()
            return
        if isinstance(message, Hello):
            self._replace_mouth(message.control)
        self._inbox.put(Arrival(message, array, host_ns()))

    def _replace_mouth(self, address: str | None) -> None:
        """Start, move or (None, or an empty address) end the requesting thread."""
        with self._lock:
            old = self._mouth
            if old is not None and old.address == address:
                return
            self._mouth = None
        if old is not None:
            old.close()
        self._inbox.note(can_control=False)
        if address:
            # inside the lock: the thread may report that it is ready before anybody could find it
            with self._lock:
                self._mouth = _Mouth(address, self._open_requester, self._inbox)


def _open_subscriber(url: str) -> Receiver:
    from pipeline.bus import Subscriber

    return Subscriber(url, [topic_of(kind) for kind in TOPICS], bound=_SOCKET_BOUND)


def _open_control(url: str, control: str) -> Requester:
    from pipeline.addresses import control_address
    from pipeline.bus import ControlClient

    return ControlClient(control_address(url, control))
