"""Labels for a terminal or a pipe: lines on stdout, everything else on stderr. Knows neither processes nor sockets."""

import os
import select
import stat
import sys
from typing import BinaryIO, TextIO

import msgspec

from pipeline.codec import Message
from pipeline.schema.clock import NS_PER_S, US_PER_S, host_ns
from pipeline.schema.messages import Gap, Hello, Label, Status
from pipeline.service import Pulse

# The live line of a terminal is redrawn at most this often.
_LIVE_NS = NS_PER_S // 10


class LabelPrinter:
    """Prints one stream of messages: as JSON every label and gap, as text every change of the stable label.

    On a terminal, text has a live line below it. Raises BrokenPipeError when nobody reads stdout any more.
    """

    def __init__(self, *, is_json: bool, out: BinaryIO | None = None, err: TextIO | None = None) -> None:
        self.n_labels = 0
        self.n_lost = 0
        # host time of the latest message, 0 before the first
        self.heard_ns = 0
        self._is_json = is_json
        self._out = out if out is not None else sys.stdout.buffer
        self._err = err if err is not None else sys.stderr
        self._has_live_line = not is_json and self._err.isatty() and self._is_terminal(self._out)
        self._pulse = Pulse(_LIVE_NS)
        self._shown: str | None = None
        self._start_us: int | None = None

    def take(self, message: Message) -> None:
        """Print what this message says to people."""
        self.heard_ns = host_ns()
        if isinstance(message, Label):
            self.n_labels += 1
            self._print_label(message)
        elif isinstance(message, Gap):
            self.n_lost += message.n_lost
            if self._is_json:
                self._print_line(msgspec.json.encode(message))
            else:
                self.say(f"{message.n_lost} messages of {message.topic} were lost after number {message.after_seq}")
        elif isinstance(message, Hello) and not self._is_json and message.source:
            self.say(
                f"{message.source}: {message.network}, {len(message.classes)} classes, {message.delta_t_us / 1000:g} ms bins"
            )
        elif isinstance(message, Status) and message.text and message.state != "failed" and message.process == "capture":
            self.say(f"{message.process}: {message.text}")

    def say(self, text: str) -> None:
        """Print a sentence for people."""
        self._clear_live_line()
        print(f"saccade: {text}", file=self._err, flush=True)

    def check(self) -> None:
        """Raise BrokenPipeError when the reader of stdout has gone, even if there is nothing to print."""
        if is_reader_gone(self._out):
            raise BrokenPipeError

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._clear_live_line()

    def _print_label(self, label: Label) -> None:
        if self._is_json:
            self._print_line(msgspec.json.encode(label))
            return
        if self._start_us is None:
            self._start_us = label.start_us
        seconds = (label.start_us - self._start_us) / US_PER_S
        if label.stable and label.label != self._shown:
            self._shown = label.label
            sure = f"{label.confidence:6.1%}" if label.index >= 0 else ""
            self._clear_live_line()
            self._print_line(f"{seconds:9.3f} s  {label.label:<24}{sure}".rstrip().encode())
        if self._has_live_line and self._pulse.is_due(host_ns()):
            answer = f"{label.label} {label.confidence:.0%}" if label.index >= 0 else label.label
            live = f"{seconds:9.3f} s  {answer}, {label.n_events} events, {label.latency_ms.total:.1f} ms"
            print(f"\r\x1b[2m{live}\x1b[0m\x1b[K", end="", file=self._err, flush=True)

    def _print_line(self, line: bytes) -> None:
        self._out.write(line + b"\n")
        self._out.flush()

    def _clear_live_line(self) -> None:
        if self._has_live_line:
            print("\r\x1b[K", end="", file=self._err, flush=True)

    @staticmethod
    def _is_terminal(out: BinaryIO) -> bool:
        return out.isatty()


def is_reader_gone(out: BinaryIO) -> bool:
    """Whether `out` is a pipe or socket whose other end was closed."""
    try:
        descriptor = out.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # a stream without a descriptor, as tests use
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
