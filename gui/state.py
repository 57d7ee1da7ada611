"""What the window knows: messages go in, a frozen `Snapshot` comes out.

Plain Python and numpy, used by one thread. Knows neither Qt, nor sockets, nor a clock: host times come in with each call.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gui.activity import Activity
from gui.health import Health
from gui.history import EventPicture, LabelRun, LabelTimeline, RecentValues, frozen
from gui.snapshot import Answer, FeedReport, Numbers, Origin, Picture, ScoreRow, Snapshot, Timeline
from pipeline.codec import Message, Payload
from pipeline.schema.clock import NS_PER_MS, NS_PER_S, US_PER_S
from pipeline.schema.messages import NOTHING, NOTHING_INDEX, Gap, Hello, Label, Meter, PreviewHead, Status

TIMELINE_US = 10 * US_PER_S
# With more classes than this the bars show the best ones only, in order of score.
MAX_SCORE_ROWS = 12
_RATE_SPAN_NS = 2 * NS_PER_S
_LATENCY_SPAN_NS = 5 * NS_PER_S
_EVENT_RATE_SPAN_US = US_PER_S // 2
_NUMBERS_PERIOD_NS = 250 * NS_PER_MS


class WindowState:
    """Everything the window has heard, bounded in size.

    `apply` takes one message with its array (a preview's counts, a meter's raster) and the host time it arrived;
    `apply_report` what the feed says of itself; `snapshot` gives what is to be drawn at `now_ns`.
    """

    def __init__(self, url: str) -> None:
        self._health = Health(url)
        self._answers = _Answers()
        self._activity = Activity()
        self._picture = EventPicture()
        self._shown_picture: Picture | None = None
        self._n_pictures = 0
        self._hello: Hello | None = None
        self._sensor_size = (0, 0)
        self._numbers = Numbers()
        self._numbers_ns: int | None = None

    def apply(self, message: Message, array: Payload, arrived_ns: int) -> None:
        """Take one message; `array` as the codec gave it: previews uint8 (2, H, W), meters uint8 (R,), the others None."""
        self._health.heard(arrived_ns)
        if isinstance(message, PreviewHead) and array is not None:
            self._apply_preview(message, array)
        elif isinstance(message, Meter) and array is not None:
            self._activity.add(message, array)
        elif isinstance(message, Label):
            self._health.position(message.start_us, message.end_us)
            self._answers.add(message, arrived_ns)
        elif isinstance(message, Gap):
            self._answers.excuse(message.after_seq)
        elif isinstance(message, Status):
            self._health.add(message)
        elif isinstance(message, Hello):
            self._hello = message
            self._sensor_size = (message.sensor_width, message.sensor_height)

    def apply_report(self, report: FeedReport) -> None:
        """Take the feed's newest report of itself."""
        self._health.report = report

    def snapshot(self, now_ns: int) -> Snapshot:
        """Give what is to be drawn now."""
        if self._numbers_ns is None or now_ns - self._numbers_ns >= _NUMBERS_PERIOD_NS:
            self._numbers = self._count(now_ns)
            self._numbers_ns = now_ns
        return Snapshot(
            connection=self._health.connection(now_ns),
            origin=self._origin(),
            picture=self._draw_picture(),
            answer=self._answers.answer(self._hello.classes if self._hello else ()),
            timeline=self._answers.timeline(),
            raster=self._activity.raster(),
            cost=self._activity.cost(),
            numbers=self._numbers,
            playback=self._health.playback(now_ns),
        )

    def _apply_preview(self, head: PreviewHead, counts: npt.NDArray[np.uint8]) -> None:
        self._picture.add(counts, head.end_us)
        self._sensor_size = (head.sensor_width, head.sensor_height)
        self._n_pictures += 1

    def _draw_picture(self) -> Picture | None:
        if self._n_pictures == 0:
            return None
        if self._shown_picture is None or self._shown_picture.revision != self._n_pictures:
            self._shown_picture = Picture(frozen(self._picture.indices()), self._n_pictures)
        return self._shown_picture

    def _origin(self) -> Origin:
        hello, (width, height) = self._hello, self._sensor_size
        if hello is None:
            return Origin(source=self._health.source, sensor_width=width, sensor_height=height)
        return Origin(hello.source, hello.network, tuple(hello.classes), width, height, hello.delta_t_us)

    def _count(self, now_ns: int) -> Numbers:
        p50, p99 = self._answers.latency_ms(now_ns)
        sops, energy_uj, power_w = self._activity.means()
        return Numbers(
            event_rate_hz=self._answers.event_rate_hz(),
            bin_rate_hz=self._answers.bin_rate_hz(now_ns),
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            stages=self._activity.stages(),
            sops=sops,
            energy_uj=energy_uj,
            power_w=power_w,
            losses=self._health.losses(self._answers.n_lost) if self._health.has_heard else None,
        )


class _Answers:
    """What the labels said: the stable answer, the scores, the timeline, rates and latency."""

    def __init__(self) -> None:
        self._last: Label | None = None
        self._settled: Label | None = None
        self._timeline = LabelTimeline(TIMELINE_US)
        self._arrivals = RecentValues(_RATE_SPAN_NS)
        self._latencies = RecentValues(_LATENCY_SPAN_NS)
        self._event_counts = RecentValues(_EVENT_RATE_SPAN_US)
        self._excused_seq: int | None = None
        self.n_lost = 0

    def add(self, label: Label, arrived_ns: int) -> None:
        """Take one label; a jump in `seq` that no gap message explained is counted as lost labels."""
        last = self._last
        if last is not None and label.seq > last.seq + 1 and self._excused_seq != last.seq:
            self.n_lost += label.seq - last.seq - 1
        self._last = label
        if label.stable or (self._settled is None and label.index == NOTHING_INDEX):
            self._settled = label
        shown = self._settled
        self._timeline.append(
            LabelRun(label.start_us, label.end_us, shown.index if shown else NOTHING_INDEX, shown.label if shown else NOTHING)
        )
        self._arrivals.append(arrived_ns, 1.0)
        self._latencies.append(arrived_ns, label.latency_ms.total)
        self._event_counts.append(label.end_us, label.n_events)

    def excuse(self, after_seq: int) -> None:
        """Remember that the bins after `after_seq` are known to be missing, and counted elsewhere."""
        self._excused_seq = after_seq

    def answer(self, classes: Sequence[str]) -> Answer | None:
        """Give the prediction to show, None before the first label."""
        last, settled = self._last, self._settled
        if last is None:
            return None
        return Answer(
            label=settled.label if settled else NOTHING,
            index=settled.index if settled else NOTHING_INDEX,
            is_nothing=settled is None or settled.index == NOTHING_INDEX,
            is_settled=settled is not None and last.stable and last.label == settled.label,
            confidence=last.confidence,
            rows=_score_rows(last, classes),
            seq=last.seq,
        )

    def timeline(self) -> Timeline | None:
        """Label runs, None before the first label."""
        return Timeline(self._timeline.runs(), self._timeline.end_us, TIMELINE_US) if self._last else None

    def bin_rate_hz(self, now_ns: int) -> float:
        """Labels per second of host time over the last two seconds."""
        return self._arrivals.rate_hz(now_ns) if self._last else np.nan

    def event_rate_hz(self) -> float:
        """Events per second of sensor time over the last half second of it."""
        if self._last is None:
            return np.nan
        counts = self._event_counts.within(self._last.end_us)
        duration_us = len(counts) * (self._last.end_us - self._last.start_us)
        return float(counts.sum()) * US_PER_S / duration_us if duration_us > 0 else 0.0

    def latency_ms(self, now_ns: int) -> tuple[float, float]:
        """Median and 99th percentile of bin closed -> label published over the last five seconds; NaN without labels."""
        values = self._latencies.within(now_ns)
        if len(values) == 0:
            return np.nan, np.nan
        p50, p99 = np.percentile(values, (50, 99))
        return float(p50), float(p99)


def _score_rows(label: Label, classes: Sequence[str]) -> tuple[ScoreRow, ...]:
    """Bars in the fixed order of the classes while they fit (rows that swap places cannot be read), else the best ones."""
    leader = label.top[0][0] if label.top else ""
    places = {name: index for index, name in enumerate(classes)}
    if 0 < len(classes) <= MAX_SCORE_ROWS:
        scores = dict(label.top)
        return tuple(ScoreRow(name, scores.get(name), index, name == leader) for name, index in places.items())
    return tuple(ScoreRow(name, score, places.get(name, 0), name == leader) for name, score in label.top[:MAX_SCORE_ROWS])
