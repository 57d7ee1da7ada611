"""`saccade listen`: the labels of another Saccade, with every loss named."""

import signal
from contextlib import closing
from threading import Event
from time import monotonic

from app.printer import LabelPrinter
from app.streaming import INTERRUPTED, code_of_end, is_end
from app.terminal import silence_stdout
from pipeline.bus import Subscriber
from pipeline.codec import Message, topic_of, unpack
from pipeline.schema.clock import host_ns
from pipeline.schema.errors import WireError
from pipeline.schema.messages import Gap, Label, Status
from pipeline.service import n_lost_between, signals_set

_TOPICS = [topic_of(kind) for kind in ("label", "gap", "status", "hello")]
_RECEIVE_MS = 100
# Every process sends a status each second; silence longer than this is worth a word.
_SILENCE_S = 3.0


class LabelWatch:
    """Notices labels that never arrived, apart from those that the sender itself reported as a gap."""

    def __init__(self) -> None:
        self._last_seq: int | None = None

    def take(self, message: Message) -> Gap | None:
        """Take the next message; the gap before it, if there is one."""
        if isinstance(message, Gap):
            # frames that never reached the network have no labels either
            if self._last_seq == message.after_seq:
                self._last_seq = message.after_seq + message.n_lost
            return None
        if not isinstance(message, Label):
            return None
        last_seq, self._last_seq = self._last_seq, message.seq
        n_lost = n_lost_between(last_seq, message.seq)
        if last_seq is None or n_lost == 0:
            return None
        return Gap(message.source, topic_of("label", message.source).decode(), last_seq, n_lost, host_ns())


def listen_to(url: str, printer: LabelPrinter, seconds: float | None = None) -> int:
    """Print what is published at `url` until it ends, until this time is over (0), or until interrupted (130)."""
    stop = Event()
    with (
        signals_set(stop, signal.SIGINT, signal.SIGTERM),
        closing(Subscriber(url, _TOPICS)) as inlet,
        closing(printer),
    ):
        try:
            return _follow(url, inlet, printer, stop, monotonic() + seconds if seconds is not None else None)
        except BrokenPipeError:
            silence_stdout()
            return 0


def _follow(url: str, inlet: Subscriber, printer: LabelPrinter, stop: Event, deadline: float | None) -> int:
    watch = LabelWatch()
    silent_since, is_silence_told = monotonic() - _SILENCE_S + 1, False
    n_bad = 0
    while not stop.is_set():
        if deadline is not None and monotonic() >= deadline:
            return 0
        printer.check()
        parts = inlet.receive(_RECEIVE_MS)
        if parts is None:
            if not is_silence_told and monotonic() - silent_since > _SILENCE_S:
                printer.say(f"waiting for {url}")
                is_silence_told = True
            continue
        silent_since, is_silence_told = monotonic(), False
        try:
            message, _ = unpack(parts)
        except WireError as error:
            n_bad += 1
            printer.say(f"message refused ({n_bad} so far): {error}")
            continue
        gap = watch.take(message)
        if gap is not None:
            printer.take(gap)
        printer.take(message)
        if isinstance(message, Status) and is_end(message):
            return code_of_end(message)
    return INTERRUPTED
