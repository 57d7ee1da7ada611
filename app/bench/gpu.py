"""One bin of a network on a GPU: for one stream, and for many side by side, beside what launching alone costs.

The network and its events are those of `app.bench.step`. The limits, in the same run: a graph with one of the smallest kernels,
fed and read as a bin is; and a graph of as many of them as a bin has calls, below which that many kernels cannot be run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from app.bench.step import EVENTS, make_frames, make_network, time_ms
from models.engine.cuda_graph import RecordedBatch, Recorder, record_graph, record_network
from models.engine.cuda_program import Precision
from pipeline.schema.errors import GpuMissingError

_N_BINS = 16
_BINS_A_REPEAT = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network runs and how it is recorded; another than a GPU is a rehearsal."""

    device: str = "cuda"
    recorder: Recorder = record_graph

    def wait(self) -> None:
        """Until all that was asked for is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def need_gpu() -> None:
    """GpuMissingError where torch finds none."""
    if not torch.cuda.is_available():
        raise GpuMissingError("no NVIDIA GPU that torch can use; leave --device out to measure the CPU")


def measure_step_on_gpu(repeats: int) -> dict[str, Any]:
    """Times of a bin of one stream, in milliseconds: event counts in, logits out, on the host's clock."""
    need_gpu()
    return measure_bins(make_network(), 1, repeats, Place())


def measure_streams_on_gpu(n_streams: int, repeats: int) -> dict[str, Any]:
    """Times of a bin of all streams at once, and how many bins a second that is."""
    need_gpu()
    return measure_bins(make_network(), n_streams, repeats, Place())


def measure_bins(
    network: nn.Module, n_streams: int, repeats: int, place: Place, precision: Precision = "float32"
) -> dict[str, Any]:
    """A bin of `n_streams` in turn with its floors; the frames are cut to the network's size."""
    configuration: Any = network.configuration
    width, height = configuration.size
    frames = make_frames(EVENTS)[..., :height, :width]
    network = network.to(place.device)
    batch = record_network(network, n_streams, precision, recorder=place.recorder)
    later, first = np.zeros(n_streams, np.bool_), np.ones(n_streams, np.bool_)
    floor, launches = _floors(batch, place)
    is_first = later

    def replay() -> None:
        batch.replay()
        place.wait()

    runs: dict[str, Callable[[], object]] = {
        "step": lambda: batch.step(is_first),
        "floor": floor,
        "launches": launches,
        "replay": replay,
    }
    times: dict[str, list[float]] = {name: [] for name in (*runs, "first")}
    for turn in range(repeats + 1):
        for i in range(_BINS_A_REPEAT):
            for slot in range(n_streams):
                batch.counts[slot] = frames[(i + slot) % _N_BINS]
            is_first = later if i else first
            taken = {name: time_ms(run) for name, run in runs.items()}
            if i == 0:
                taken["first"] = taken.pop("step")
            for name, ms in taken.items():
                times[name] += [ms] if turn else []  # the first turn warms up
    about = {"precision": precision, "device": place.device, "calls": batch.later.n_calls}
    return _describe(configuration, n_streams, times, about)


def _floors(batch: RecordedBatch, place: Place) -> tuple[Callable[[], None], Callable[[], None]]:
    """What a bin costs that computes nothing: with its copies and one launch, and with a launch for each of its calls."""
    number = torch.zeros(1, device=place.device)
    on_device, host_logits = torch.zeros_like(batch.frames), torch.zeros(len(batch.counts), 1)
    host_frames = torch.from_numpy(batch.counts)  # the batch's own memory, which is pinned on a GPU

    def launch(n: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(n):
                number.add_(1.0)

        return place.recorder(run)

    one, many = launch(1), launch(batch.later.n_calls)

    def floor() -> None:
        on_device.copy_(host_frames, non_blocking=True)
        one()
        host_logits.copy_(number.expand_as(host_logits))
        place.wait()

    def launches() -> None:
        many()
        place.wait()

    return floor, launches


def _describe(configuration: Any, n_streams: int, times: dict[str, list[float]], about: dict[str, Any]) -> dict[str, Any]:
    p50, p99 = (float(np.quantile(times["step"], share)) for share in (0.5, 0.99))
    floor, launches, replay, first = (float(np.median(times[name])) for name in ("floor", "launches", "replay", "first"))
    width, height = configuration.size
    return {
        "name": f"tim {configuration.depth}-{configuration.dim} at 2x{height}x{width}, {n_streams} streams",
        **about,
        "p50_ms": round(p50, 4),
        "p99_ms": round(p99, 4),
        "first_p50_ms": round(first, 4),
        "replay_p50_ms": round(replay, 4),
        "floor_ms": round(floor, 4),
        "launches_ms": round(launches, 4),
        "ratio_to_floor": round(p50 / floor, 3),
        "bins_per_s": round(n_streams / p50 * 1000, 1),
        "events_per_bin": EVENTS,
        "bins": len(times["step"]),
    }
