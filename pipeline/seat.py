"""The seat of the recogniser: who sits there judges every bin, learns, and makes way for another network between two bins.

The other network is loaded beside the stream, which the old one judges meanwhile. Knows neither sockets nor torch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

from pipeline.bus import LaterReply
from pipeline.codec import Message
from pipeline.decision import Decision, DecisionSettings, DecisionState, decide
from pipeline.lessons import LESSON_COMMANDS, answer_lesson
from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import FrameHead, Hello, Reply, Request, Wish
from pipeline.schema.recognition import Prediction, Recogniser, RecogniserInfo, Teachable

SEAT_COMMANDS = (*LESSON_COMMANDS, "reset", "network")
_LOG = logging.getLogger(__name__)
# A refusal may name every weight of a network; nobody reads further.
_MAX_REASON = 2000
# How long the end of the process waits for a network that nobody needs any more.
_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recogniser ready for its first bin, and how sure and steady its labels must be."""

    recogniser: Recogniser
    settings: DecisionSettings


# Duration of a bin in microseconds, (width, height) of its frame.
Bins = tuple[int, SensorSize]
# From the name or path of a checkpoint; SaccadeError where that cannot be.
LoadNetwork = Callable[[str], Loaded]


@dataclass(slots=True)
class _Change:
    """Another network on its way: asked for, then loaded, then answered; whoever loads writes one of the two."""

    name: str
    loaded: Loaded | None = None
    reply: Reply | None = None
    is_wished: bool = False

    @property
    def waiting(self) -> Loaded | None:
        """What is loaded and has not taken over yet."""
        return self.loaded if self.reply is None else None

    def refuse(self, reason: str) -> None:
        """Leave the old network where it is."""
        self.reply = Reply(ok=False, text=reason[:_MAX_REASON])
        _LOG.warning("network %r is refused: %s", self.name, self.reply.text)


class Seat:
    """Who judges now, and who is to come. `load` loads another network, `is_beside` in a thread while the stream goes on.

    Inference calls `step` and `decide` for every frame, and `let_in` between two of them.
    """

    def __init__(self, first: Loaded, load: LoadNetwork, *, is_beside: bool = True) -> None:
        self._now, self._load, self._is_beside = first, load, is_beside
        self._told = first.recogniser.info
        self._state = DecisionState()
        self._bins = _wanted_by(self._told)
        self._change: _Change | None = None
        self._thread: Thread | None = None

    @property
    def info(self) -> RecogniserInfo:
        """What the recogniser expects and answers now."""
        return self._now.recogniser.info

    def step(self, frame: SpikeFrame) -> Prediction:
        """Take the next time bin; ConfigurationError when its shape does not fit."""
        return self._now.recogniser.step(frame)

    def decide(self, prediction: Prediction, n_events: int) -> Decision:
        """The label of a bin of so many events."""
        decision, self._state = decide(self._state, prediction, n_events, self._now.settings)
        return decision

    def reset(self) -> None:
        """Membranes at rest, and nothing decided."""
        self._now.recogniser.reset()
        self._state = DecisionState()

    def answer(self, request: Request) -> Reply | LaterReply:
        """Do what a request of `SEAT_COMMANDS` asks."""
        if request.command == "reset":
            self.reset()
            return Reply(ok=True, text="membranes are at rest")
        coming = self._change if self._change is not None and self._change.reply is None else None
        if coming is not None and request.command in ("teach", "network"):
            return Reply(ok=False, text=f"network {coming.name} is on its way; ask again once it is there")
        if request.command == "network":
            return self._begin(request.name)
        return answer_lesson(self._now.recogniser, request)

    def wish(self, hello: Hello) -> Wish | None:
        """What to ask capture for, once, where a network waits for other frames than come; `hello` knows source and sensor."""
        change = self._change
        if change is None or change.waiting is None or change.is_wished or not hello.source or self._is_learning():
            return None
        change.is_wished, info = True, change.waiting.recogniser.info
        if _wanted_by(info) == self._bins:
            return None
        try:
            _check_bins(SensorSize(hello.sensor_width, hello.sensor_height), info)
        except SaccadeError as error:
            change.refuse(str(error))
            return None
        return Wish(hello.source, info.delta_t_us, *info.frame_size)

    def let_in(self, bins: Bins | None) -> str:
        """Seat the network that waits for such bins, from rest, and say so; "" where nobody does, or a lesson is going on.

        None stands for the bins that came last.
        """
        self._bins = bins or self._bins
        change = self._change
        if change is None or change.waiting is None or self._is_learning():
            return ""
        info = change.waiting.recogniser.info
        if _wanted_by(info) != self._bins:
            return ""
        self._now, self._state = change.waiting, DecisionState()
        text = f"network {info.network} has taken over, from rest"
        _LOG.info("%s", text)
        change.reply = Reply(ok=True, text=text)
        change.loaded = None
        return text

    def has_changed(self) -> bool:
        """Whether network or classes are others than when this was last asked; nothing is decided of new ones yet."""
        if self.info == self._told:
            return False
        self._told, self._state = self.info, DecisionState()
        return True

    def close(self) -> None:
        """Wait a moment for what is being loaded; may be called twice."""
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _begin(self, name: str) -> Reply | LaterReply:
        if not name:
            return Reply(ok=False, text="network needs a name: that of a checkpoint, or its path where Saccade runs")
        change = self._change = _Change(name)
        _LOG.info("loading network %r", name)
        if self._is_beside:
            # it must not keep a process from ending
            self._thread = Thread(target=_fetch, args=(change, self._load), name="network", daemon=True)
            self._thread.start()
        else:
            _fetch(change, self._load)
        return lambda: change.reply

    def _is_learning(self) -> bool:
        recogniser = self._now.recogniser
        return isinstance(recogniser, Teachable) and recogniser.lessons.lesson is not None


def _fetch(change: _Change, load: LoadNetwork) -> None:
    try:
        change.loaded = load(change.name)
    except SaccadeError as error:
        change.refuse(str(error))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the old network goes on
        _LOG.debug("unforeseen error", exc_info=True)
        change.refuse(f"{change.name!r} cannot be used: {type(error).__name__}: {error}")


def bins_of(message: Message) -> Bins | None:
    """The bins that capture sends, as one of them or its hello says; None where a message says nothing of them."""
    if isinstance(message, FrameHead):
        return message.end_us - message.start_us, SensorSize(message.width, message.height)
    if isinstance(message, Hello) and message.delta_t_us:
        return message.delta_t_us, SensorSize(message.frame_width, message.frame_height)
    return None


def _wanted_by(info: RecogniserInfo) -> Bins:
    return info.delta_t_us, info.frame_size


def _check_bins(sensor_size: SensorSize, info: RecogniserInfo) -> None:
    """Raise what capture would raise, which would end it."""
    from pipeline.binning import TimeBinner

    TimeBinner(sensor_size, info.frame_size, info.delta_t_us)
