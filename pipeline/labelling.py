"""What inference publishes of one time bin, made from what was received, predicted and decided. Pure."""

from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline.codec import topic_of
from pipeline.decision import Decision
from pipeline.power import PowerReading
from pipeline.schema.clock import NS_PER_MS, US_PER_S
from pipeline.schema.messages import NOTHING, FrameHead, Gap, Hello, Label, LabelLatency, Meter, StageLatency
from pipeline.schema.recognition import Prediction, RecogniserInfo
from pipeline.service import n_lost_between

# Classes named in a label; a window shows no more, a program that needs all scores has few classes.
_N_TOP = 12


@dataclass(frozen=True, slots=True)
class Judged:
    """One time bin with all that is known of it; the two times are host time in nanoseconds."""

    head: FrameHead
    prediction: Prediction
    decision: Decision
    received_ns: int
    inferred_ns: int


def make_hello(info: RecogniserInfo) -> Hello:
    """Give the hello of this recogniser, before anything is known of the source."""
    width, height = info.frame_size
    return Hello(
        source="",
        network=info.network,
        classes=list(info.classes),
        delta_t_us=info.delta_t_us,
        n_time_bins=info.n_time_bins,
        control="",
        frame_width=width,
        frame_height=height,
    )


def join_hellos(ours: Hello, captures: Hello) -> Hello:
    """Give our hello with what capture's knows: the source and its sensor."""
    return msgspec.structs.replace(
        ours, source=captures.source, sensor_width=captures.sensor_width, sensor_height=captures.sensor_height
    )


def make_label(judged: Judged, info: RecogniserInfo, now_ns: int) -> Label:
    """Give the label of this bin, published at host time `now_ns`."""
    head, decision, prediction = judged.head, judged.decision, judged.prediction
    order = np.argsort(-decision.scores, kind="stable")[:_N_TOP]
    latency = LabelLatency(
        queue=_ms(judged.received_ns - head.closed_ns),
        infer=_ms(judged.inferred_ns - judged.received_ns),
        total=_ms(now_ns - head.closed_ns),
    )
    return Label(
        seq=head.seq,
        source=head.source,
        start_us=head.start_us,
        end_us=head.end_us,
        host_ns=now_ns,
        label=info.classes[decision.index] if decision.index >= 0 else NOTHING,
        index=decision.index,
        confidence=round(decision.confidence, 4),
        top=[(info.classes[index], round(float(decision.scores[index]), 4)) for index in order],
        stable=decision.is_stable,
        latency_ms=latency,
        n_events=head.n_events,
        n_dropped=head.n_dropped,
        sops=prediction.sops,
        energy_uj=prediction.energy_uj,
        network=info.network,
    )


def find_gap(last: FrameHead, head: FrameHead, now_ns: int) -> Gap | None:
    """Give the gap between two frames received one after the other; None when none is missing."""
    n_lost = n_lost_between(last.seq, head.seq)
    if n_lost == 0:
        return None
    return Gap(head.source, topic_of("frame", head.source).decode(), last.seq, n_lost, now_ns)


class OrderWatch:
    """Notices where the frames that arrive do not follow each other."""

    def __init__(self) -> None:
        self._last: FrameHead | None = None

    def take(self, head: FrameHead, now_ns: int) -> tuple[Gap | None, bool]:
        """Take the next head: the gap before it, if frames are missing, and whether it goes on where the last one ended."""
        last, self._last = self._last, head
        if last is None:
            return None, True
        return find_gap(last, head, now_ns), head.seq == last.seq + 1 and head.start_us == last.end_us


def make_meter(judged: Judged, reading: PowerReading, now_ns: int) -> Meter:
    """Give activity and cost of this bin; the raster of the prediction travels beside it."""
    head, prediction = judged.head, judged.prediction
    duration_us = max(1, head.end_us - head.start_us)
    latency = StageLatency(
        send=_ms(head.sent_ns - head.closed_ns),
        transfer=_ms(judged.received_ns - head.sent_ns),
        infer=_ms(judged.inferred_ns - judged.received_ns),
        publish=_ms(now_ns - judged.inferred_ns),
        total=_ms(now_ns - head.closed_ns),
    )
    return Meter(
        source=head.source,
        seq=head.seq,
        start_us=head.start_us,
        end_us=head.end_us,
        host_ns=now_ns,
        n_events=head.n_events,
        event_rate_hz=head.n_events * US_PER_S / duration_us,
        sops=prediction.sops,
        macs=prediction.macs,
        energy_uj=prediction.energy_uj,
        latency_ms=latency,
        layers=list(prediction.layers),
        power_w=reading.power_w,
        power_sensor=reading.sensor,
    )


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 3)
