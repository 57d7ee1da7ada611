"""What commands ask of a running Saccade: where it takes requests, a request and its answer, a recording from begin to end."""

from contextlib import closing, suppress
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

from pipeline.schema.errors import BusError, SaccadeError, UsageError, WireError
from pipeline.schema.messages import Hello, RecordingReport, Request, Status

if TYPE_CHECKING:
    from pipeline.bus import ControlClient, Subscriber

_HELLO_MS = 3000
_RECEIVE_MS = 100
# A status comes each second; after so much silence nobody is there any more.
_SILENCE_S = 10.0


def find_control(url: str) -> str:
    """Where a running Saccade takes requests, as its hello says; BusError when nobody publishes there."""
    from pipeline.bus import Subscriber
    from pipeline.codec import topic_of

    with closing(Subscriber(url, [topic_of("hello")])) as inlet:
        return _control_of(url, inlet)


def ask(control: "ControlClient", request: Request) -> str:
    """What the answer says; UsageError with the reason where the request is refused."""
    reply = control.request(request)
    if not reply.ok:
        raise UsageError(reply.text)
    return reply.text


def record_there(url: str, request: Request, stop: Event) -> RecordingReport:
    """Ask for one recording and wait until it is over, or end it once `stop` is set.

    SaccadeError with the reason where it fails, BusError where who records falls silent.
    """
    from pipeline.bus import ControlClient, Subscriber
    from pipeline.codec import topic_of

    with (
        closing(Subscriber(url, [topic_of("status"), topic_of("hello")])) as inlet,
        closing(ControlClient(_control_of(url, inlet))) as control,
    ):
        path = ask(control, request)
        is_stopped, deadline = False, monotonic() + _SILENCE_S
        while monotonic() < deadline:
            if stop.is_set() and not is_stopped:
                is_stopped = True
                with suppress(SaccadeError):  # it may be over by itself just now
                    ask(control, Request("record", 0.0))
            report = _report_on(path, inlet)
            if report is None:
                continue
            deadline = monotonic() + _SILENCE_S
            if report.state == "failed":
                raise SaccadeError(f"{path}: {report.text}")
            if report.state == "ended":
                return report
    raise BusError(f"{url} is silent; what was received until then is in {path} there")


def _control_of(url: str, inlet: "Subscriber") -> str:
    from pipeline.addresses import control_address

    deadline = monotonic() + _HELLO_MS / 1000
    while (left_ms := round(1000 * (deadline - monotonic()))) > 0:
        message = _receive(inlet, left_ms)
        if isinstance(message, Hello):
            return control_address(url, message.control)
    raise BusError(f"nobody publishes on {url}; start saccade replay or daemon with --publish {url}, or say --at")


def _report_on(path: str, inlet: "Subscriber") -> RecordingReport | None:
    """What the next status says of the recording at `path`; None where it says nothing, or none came in time."""
    message = _receive(inlet, _RECEIVE_MS)
    if not isinstance(message, Status) or message.recording is None or message.recording.path != path:
        return None
    return message.recording


def _receive(inlet: "Subscriber", timeout_ms: int) -> object:
    from pipeline.codec import unpack

    parts = inlet.receive(timeout_ms)
    try:
        return None if parts is None else unpack(parts)[0]
    except WireError:
        return None
