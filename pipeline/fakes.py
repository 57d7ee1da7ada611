"""False twins with the protocols of the real things: a bus in memory, a source from a list, a recogniser without a network."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.bus import LINGER_MS
from pipeline.codec import Part
from pipeline.schema.clock import NS_PER_MS
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.events import Events, SensorSize, empty_events
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import RasterLayer
from pipeline.schema.recognition import Prediction, RecogniserInfo
from pipeline.sources.base import ReadReport, SourceInfo

_FRAME_SIZE = SensorSize(32, 24)


class MemoryInlet:
    """The receiving end of a `MemoryBus`; an `Inlet` that never waits."""

    def __init__(self, topics: Sequence[bytes], bound: int) -> None:
        self.topics = set(topics)
        self.waiting: deque[list[bytes]] = deque(maxlen=bound)

    def subscribe(self, topic: bytes) -> None:
        """Ask for topics that begin so."""
        self.topics.add(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """No longer ask for them."""
        self.topics.discard(topic)

    def receive(self, timeout_ms: int) -> list[bytes] | None:  # noqa: ARG002 - nobody else could send meanwhile
        """Give the parts of the oldest message, None when there is none."""
        return self.waiting.popleft() if self.waiting else None

    def close(self) -> None:
        """Ask for nothing any more."""
        self.topics.clear()


class MemoryBus:
    """A bus inside one thread; an `Outlet`. Each inlet keeps the newest `bound` messages."""

    def __init__(self, bound: int = 1000) -> None:
        self.n_dropped: Counter[bytes] = Counter()
        self.n_bad_messages = 0
        self._bound = bound
        self._inlets: list[MemoryInlet] = []
        self._hello: list[bytes] | None = None

    def connect(self, topics: Sequence[bytes]) -> MemoryInlet:
        """Make an inlet that receives these topics from now on, beginning with the hello."""
        inlet = MemoryInlet(topics, self._bound)
        self._inlets.append(inlet)
        if self._hello is not None and any(self._hello[0].startswith(topic) for topic in topics):
            inlet.waiting.append(self._hello)
        return inlet

    def greet_with(self, hello: Sequence[Part]) -> None:
        """Send `hello` now, and to each newcomer."""
        self._hello = [bytes(part) for part in hello]
        self.send(hello)

    def poll(self) -> None:
        """Do nothing: subscriptions take effect at once."""

    def has_subscriber(self, topic: bytes) -> bool:
        """Whether an inlet asks for this topic."""
        return any(topic.startswith(prefix) for inlet in self._inlets for prefix in inlet.topics)

    def send(self, parts: Sequence[Part]) -> bool:
        """Hand one message to every inlet that asks for its topic."""
        copied = [bytes(part) for part in parts]
        for inlet in self._inlets:
            if any(copied[0].startswith(prefix) for prefix in inlet.topics):
                inlet.waiting.append(copied)
        return True

    def close(self, linger_ms: int = LINGER_MS) -> None:  # noqa: ARG002 - nothing lingers in memory
        """Forget all inlets."""
        self._inlets.clear()


class ListSource:
    """A source that yields given packets; an `EventSource`."""

    def __init__(
        self, packets: Sequence[Events], sensor_size: SensorSize, *, name: str = "list", is_truncated: bool = False
    ) -> None:
        self.is_closed = False
        self._packets = list(packets)
        self._info = SourceInfo(name, "list", "none", sensor_size)
        self._report = ReadReport(("the end is missing",) if is_truncated else (), is_truncated)

    @property
    def info(self) -> SourceInfo:
        """What this source is."""
        return self._info

    def packets(self) -> Iterator[Events]:
        """Yield the packets one after another, and an empty one when there is none at all."""
        yield from self._packets or [empty_events()]

    def report(self) -> ReadReport:
        """Say what was announced at construction."""
        return self._report

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class CannedRecogniser:
    """A recogniser without a network: the class is the vertical stripe of the scene with the most events.

    Scores are 0.9 for that stripe, and 0.1 shared by the others; without events all are equal. Each event counts as one
    synaptic operation.
    """

    def __init__(
        self,
        classes: Sequence[str] = ("left", "middle", "right"),
        *,
        frame_size: SensorSize = _FRAME_SIZE,
        delta_t_us: int = 10_000,
        n_time_bins: int = 4,
    ) -> None:
        self.n_resets = 0
        self._n_seen = 0
        self._info = RecogniserInfo("canned@0", tuple(classes), delta_t_us, n_time_bins, frame_size)

    @property
    def info(self) -> RecogniserInfo:
        """What this recogniser expects and answers."""
        return self._info

    def step(self, frame: SpikeFrame) -> Prediction:
        """Find the busiest stripe; ConfigurationError when the frame has another size."""
        size, n_classes = self._info.frame_size, len(self._info.classes)
        if frame.counts.shape != (2, size.height, size.width):
            raise ConfigurationError(f"frame {frame.counts.shape} for a recogniser of (2, {size.height}, {size.width})")
        self._n_seen += 1
        columns = frame.counts.sum(axis=(0, 1), dtype=np.int64)
        stripes = np.array([stripe.sum() for stripe in np.array_split(columns, n_classes)])
        scores = np.full(n_classes, 1 / n_classes, dtype=np.float32)
        if n_classes > 1 and stripes.max() > 0:
            scores[:] = 0.1 / (n_classes - 1)
            scores[np.argmax(stripes)] = 0.9
        raster = (columns[:: max(1, size.width // 16)] > 0).astype(np.uint8)
        layer = RasterLayer("columns", len(raster), size.width, float(np.mean(columns > 0)))
        is_window_end = self._n_seen >= self._info.n_time_bins
        return Prediction(scores, frame.n_events, 0, frame.n_events * 0.9e-6, raster, (layer,), is_window_end)

    def reset(self) -> None:
        """Forget how many bins were seen."""
        self.n_resets += 1
        self._n_seen = 0


class ManualClock:
    """Host time that moves only when told, or when somebody waits; in nanoseconds."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """Give the time."""
        return self.now_ns

    def wait(self, seconds: float) -> None:
        """Let this time pass at once."""
        self.now_ns += max(1, round(seconds * 1000 * NS_PER_MS))
