"""The false twin of the bus feed: a made-up scene that answers requests, for tests, screenshots and work on the panels.

Everything is computed from the number of the time bin, so the same bin always looks the same. Needs no socket and no thread.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gui.feed import Arrival
from gui.snapshot import FeedReport
from pipeline.codec import Message, Payload
from pipeline.schema.clock import NS_PER_S, NS_PER_US, US_PER_S, host_ns
from pipeline.schema.messages import (
    NOTHING,
    NOTHING_INDEX,
    Hello,
    Label,
    LabelLatency,
    Meter,
    PreviewHead,
    RasterLayer,
    Request,
    StageLatency,
    Status,
)

CLASSES = ("hand_clap", "left_wave", "right_wave", "arm_roll", "air_drums")
SIDE_PX = 128
DELTA_T_US = 10_000
# Each answer lasts 1.8 s; every fourth stretch is quiet.
_BINS_PER_ANSWER = 180
_LAYERS = (("stem.0", 0.11), ("stem.1", 0.08), ("block.0.attention", 0.04), ("block.0.mlp", 0.06), ("block.1.mlp", 0.02))
_ROWS_PER_LAYER = 12
_NEURONS_PER_LAYER = 4096
_SOURCE = "demo"


class DemoFeed:
    """A `Feed` of a made-up scene, one time bin every `DELTA_T_US` of `clock`; pause, seek and speed are obeyed."""

    def __init__(self, clock: Callable[[], int] = host_ns) -> None:
        self._clock = clock
        self._last_ns = clock()
        self._time_us = 0.0
        self._next_bin = 0
        self._status_ns: int | None = None
        self._state = Status(source=_SOURCE, process="capture", state="running", host_ns=0)
        self.requests: list[Request] = []

    def drain(self) -> list[Arrival]:
        """Messages of all bins that ended since the last call; at most a second of them."""
        now_ns = self._clock()
        messages: list[tuple[Message, Payload]] = []
        if self._status_ns is None or now_ns - self._status_ns >= NS_PER_S:
            messages += [(demo_hello(), None), (self._state, None)]
            self._status_ns = now_ns
        if self._state.state == "running":
            self._time_us += (now_ns - self._last_ns) / NS_PER_US * (self._state.speed or 10.0)
        self._last_ns = now_ns
        while (self._next_bin + 1) * DELTA_T_US <= self._time_us and len(messages) < 3 * US_PER_S // DELTA_T_US:
            messages += demo_bin(self._next_bin)
            self._next_bin += 1
        return [Arrival(message, array, now_ns) for message, array in messages]

    def send(self, request: Request) -> None:
        """Obey at once."""
        self.requests.append(request)
        state, speed, is_looped = self._state.state, self._state.speed, self._state.is_looped
        if request.command in ("pause", "resume"):
            state = "paused" if request.command == "pause" else "running"
        elif request.command == "speed":
            speed = request.value or 0.0
        elif request.command == "loop":
            is_looped = bool(request.value)
        elif request.command == "seek":
            self._next_bin = int(request.value or 0) // DELTA_T_US
            self._time_us = float(self._next_bin * DELTA_T_US)
        self._state = Status(source=_SOURCE, process="capture", state=state, speed=speed, is_looped=is_looped, host_ns=0)
        self._status_ns = None

    def report(self) -> FeedReport:
        """Nothing is ever lost here."""
        return FeedReport(can_control=True)

    def close(self) -> None:
        """Nothing to release."""


def demo_hello() -> Hello:
    """What a bus says first."""
    return Hello(
        source=_SOURCE,
        network="made-up@0",
        classes=list(CLASSES),
        delta_t_us=DELTA_T_US,
        n_time_bins=16,
        control="inproc://demo",
        sensor_width=SIDE_PX,
        sensor_height=SIDE_PX,
    )


def demo_bin(seq: int) -> list[tuple[Message, Payload]]:
    """Label, meter and preview of time bin `seq`, each with its array."""
    counts = _draw_scene(seq)
    n_events = int(counts.sum())
    meter, raster = _measure(seq, n_events)
    head = PreviewHead(
        source=_SOURCE,
        seq=seq,
        start_us=seq * DELTA_T_US,
        end_us=(seq + 1) * DELTA_T_US,
        width=SIDE_PX,
        height=SIDE_PX,
        sensor_width=SIDE_PX,
        sensor_height=SIDE_PX,
    )
    return [(demo_label(seq, n_events), None), (meter, raster), (head, counts)]


def demo_label(seq: int, n_events: int = 600) -> Label:
    """The label of time bin `seq`: the classes in turn, unsure for the first 20 bins of each, and quiet in between."""
    stretch, inside = divmod(seq, _BINS_PER_ANSWER)
    index = NOTHING_INDEX if stretch % 4 == 3 else stretch % len(CLASSES)
    sureness = 0.2 if index < 0 else 0.93 - 0.6 * math.exp(-inside / 12) + 0.02 * math.sin(seq / 5)
    rest = (1 - sureness) / (len(CLASSES) - 1)
    scores = [(name, sureness if place == max(index, 0) else rest) for place, name in enumerate(CLASSES)]
    latency = 3.0 + 0.8 * math.sin(seq / 7) ** 8
    return Label(
        seq=seq,
        source=_SOURCE,
        start_us=seq * DELTA_T_US,
        end_us=(seq + 1) * DELTA_T_US,
        host_ns=0,
        label=NOTHING if index < 0 else CLASSES[index],
        index=index,
        confidence=0.0 if index < 0 else sureness,
        top=sorted(scores, key=lambda pair: -pair[1]),
        stable=inside >= 20,
        latency_ms=LabelLatency(queue=0.4, infer=latency - 1, total=latency),
        n_events=n_events,
        n_dropped=0,
        sops=0,
        energy_uj=0.0,
        network="made-up@0",
    )


def _draw_scene(seq: int) -> npt.NDArray[np.uint8]:
    """A disc that circles: its leading edge is ON, its trailing edge OFF. uint8 (2, SIDE_PX, SIDE_PX)."""
    rng = np.random.default_rng(seq)
    angle = seq * 0.12
    x = 64 + 34 * math.cos(angle) + rng.normal(0, 12, 500)
    y = 64 + 34 * math.sin(angle) + rng.normal(0, 12, 500)
    # ON where the dot lies ahead along the direction of motion (-sin, cos)
    is_on = (y - 64) * math.cos(angle) - (x - 64) * math.sin(angle) > 0
    counts = np.zeros((2, SIDE_PX, SIDE_PX), dtype=np.uint8)
    is_inside = (x >= 0) & (x < SIDE_PX) & (y >= 0) & (y < SIDE_PX)
    is_seen = is_inside & (rng.random(500) < (0.02 if seq // _BINS_PER_ANSWER % 4 == 3 else 1.0))
    np.add.at(counts, (is_on[is_seen].astype(int), y[is_seen].astype(int), x[is_seen].astype(int)), 1)
    return counts


def _measure(seq: int, n_events: int) -> tuple[Meter, npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seq)
    activity = min(n_events / 500, 1.0) * (0.7 + 0.3 * math.sin(seq / 9))
    rates = [rate * activity for _, rate in _LAYERS]
    raster = np.concatenate([rng.random(_ROWS_PER_LAYER) < rate for rate in rates]).astype(np.uint8)
    sops = int(1.3e7 * activity + 4e5)
    layers = [
        RasterLayer(name=name, n_rows=_ROWS_PER_LAYER, n_neurons=_NEURONS_PER_LAYER, firing_rate=rate)
        for (name, _), rate in zip(_LAYERS, rates, strict=True)
    ]
    meter = Meter(
        source=_SOURCE,
        seq=seq,
        start_us=seq * DELTA_T_US,
        end_us=(seq + 1) * DELTA_T_US,
        host_ns=0,
        n_events=n_events,
        event_rate_hz=n_events * US_PER_S / DELTA_T_US,
        sops=sops,
        macs=1_000_000,
        energy_uj=sops * 0.9e-6 + 4.6,
        latency_ms=StageLatency(send=0.2, transfer=0.2, infer=2.5, publish=0.1, total=3.0),
        layers=layers,
    )
    return meter, raster
