"""The frame of every process: step in a loop until done or told to stop, once a second a sign of life. Knows no socket."""

import contextlib
import signal
from collections.abc import Iterable, Iterator
from threading import Event
from types import FrameType
from typing import Protocol

from pipeline.schema.clock import NS_PER_S
from pipeline.schema.errors import SaccadeError

HEARTBEAT_NS = NS_PER_S


class Closable(Protocol):
    """Something to be released."""

    def close(self) -> None:
        """Release it; may be called twice."""
        ...


def close_all(closables: Iterable[Closable]) -> None:
    """Release these, in this order."""
    for closable in closables:
        closable.close()


class Service(Protocol):
    """A process body: `step` again and again, `fail` when an error ends it, `close` always."""

    def step(self) -> bool:
        """Receive, do, send; wait a tenth of a second at most. False when the work is done."""
        ...

    def fail(self, error: SaccadeError) -> None:
        """Tell the others why this process ends."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


def run_service(service: Service, stop: Event) -> None:
    """Step until the work is done or `stop` is set; errors are told to the others and raised on."""
    try:
        while not stop.is_set() and service.step():
            pass
    except SaccadeError as error:
        service.fail(error)
        raise
    finally:
        service.close()


@contextlib.contextmanager
def signals_set(flag: Event, *signals: signal.Signals) -> Iterator[Event]:
    """Inside, these signals only set the flag; a second one raises KeyboardInterrupt, should the first find us stuck."""

    def set_flag(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form that handlers have
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = [(number, signal.signal(number, set_flag)) for number in signals]
    try:
        yield flag
    finally:
        for number, handler in before:
            signal.signal(number, handler)


class Pulse:
    """Says at most once per period of host time that it is time; late calls do not pile up. The first call is in time."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._next_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Whether a period has passed since the last time this was True."""
        if self._next_ns is not None and now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + self._period_ns
        return True


def n_lost_between(last_seq: int | None, seq: int) -> int:
    """Messages missing before `seq`: 0 for the first one, for the next one, and when counting started anew."""
    return max(0, seq - last_seq - 1) if last_seq is not None else 0
