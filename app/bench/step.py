"""How long is one bin of a network? The compiled step beside the dense matrix products that it stands for, in the same run.

The network is Spikformer with TIM as published for DVS128 Gesture (2-256, 2 x 128 x 128), its batch norms set from simulated
events, so that its neurons fire as at the beginning of a training. The floor is one float32 product for every convolution.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.engine.compiled import CompiledNetwork, compile_network
from models.engine.steps import Convolve
from models.engine.tuning import tune
from models.registry import create_network
from pipeline.schema.clock import NS_PER_MS, host_ns

_SIZE = 128
_N_BINS = 16
# Events of one bin; a hand that moves before a DVS128 gives some 2000 in 10 ms.
EVENTS = 2000
# How far the events of one bin spread around their middle, and how far that travels, as shares of the map.
_SPREAD, _TRAVEL = 0.1, 0.25


def make_frames(n_events: int, n_bins: int = _N_BINS, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Seeded counts (T, 2, H, W): about `n_events` a bin, around a place that goes in a circle."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((n_bins, 2, _SIZE, _SIZE), np.uint8)
    for i, frame in enumerate(frames):
        angle = 2 * np.pi * i / n_bins
        middle = _SIZE * (0.5 + _TRAVEL * np.array([[np.cos(angle)], [np.sin(angle)]]))
        n = rng.poisson(n_events)
        x, y = np.clip(middle + rng.normal(0, _SIZE * _SPREAD, (2, n)), 0, _SIZE - 1).astype(np.int64)
        np.add.at(frame, (rng.integers(0, 2, n), y, x), 1)
    return frames


def make_network() -> nn.Module:
    """The network, seeded, in evaluation."""
    torch.manual_seed(0)
    network = create_network("tim", dim=256, depth=2, n_heads=16, n_classes=11, size=(_SIZE, _SIZE))
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = None  # the plain mean of all batches: here there is one
    x = np.stack([make_frames(EVENTS, 8, seed) for seed in range(4)], axis=1)
    with torch.no_grad():
        network.train()(torch.from_numpy(x).float())
    return network.eval()


def measure_step(repeats: int) -> dict[str, Any]:
    """Times in milliseconds: the step on moving events, on empty bins, the plain network's, and the floor, turn by turn."""
    network = make_network()
    compiled = compile_network(network)
    tune(compiled)
    frames = make_frames(EVENTS)
    empty = np.zeros_like(frames[:1])
    floor = floor_of(compiled)
    plain = _plain_step(network, frames)
    times: dict[str, list[float]] = {"step": [], "floor": [], "plain": [], "empty": []}
    active: list[float] = []
    turns = max(1, repeats)
    for turn in range(turns + 1):
        for i in range(_N_BINS):
            counts = frames[i : i + 1]
            taken = time_ms(partial(compiled.step, counts))
            active.append(_density(compiled))
            floor_ms = time_ms(floor)
            if turn:  # the first turn warms up
                times["step"].append(taken)
                times["floor"].append(floor_ms)
        times["plain"].append(time_ms(plain))
    for _ in range(_N_BINS):  # until the scene has died down
        compiled.step(empty)
    times["empty"] = [time_ms(partial(compiled.step, empty)) for _ in range(turns * _N_BINS)]
    p50, floor_ms = float(np.median(times["step"])), float(np.median(times["floor"]))
    return {
        "name": "tim 2-256 at 2x128x128",
        "p50_ms": round(p50, 3),
        "p99_ms": round(float(np.quantile(times["step"], 0.99)), 3),
        "floor_ms": round(floor_ms, 3),
        "ratio_to_floor": round(p50 / floor_ms, 3),
        "min_ms": round(min(times["step"]), 3),
        "floor_min_ms": round(min(times["floor"]), 3),
        "empty_p50_ms": round(float(np.median(times["empty"])), 3),
        "plain_p50_ms": round(float(np.median(times["plain"][1:])), 3),
        "events_per_bin": EVENTS,
        "density": round(float(np.mean(active)), 3),
        "n_threads": compiled.n_threads,
        "n_threads_of_floor": torch.get_num_threads(),
    }


def measure_on_one_core(rates: Sequence[int], repeats: int) -> dict[str, Any]:
    """Least processor time of a bin at each number of events, and of the floor: what else runs here counts less."""
    compiled = compile_network(make_network())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        floor = floor_of(compiled)
        floor_ms = min(cpu_ms(floor) for _ in range(repeats * _N_BINS))
        rows = []
        for rate in rates:
            frames = make_frames(rate)
            compiled.reset()
            for frame in (*frames, *frames):  # until membranes have settled
                compiled.step(frame[None])
            times, active = [], []
            for frame in [frame for _ in range(repeats) for frame in frames]:
                times.append(cpu_ms(partial(compiled.step, frame[None])))
                active.append(_density(compiled))
            row = {"events_per_bin": rate, "cpu_ms": min(times), "median_cpu_ms": float(np.median(times))}
            rows.append({**row, "ratio_to_floor": min(times) / floor_ms, "density": float(np.mean(active))})
    finally:
        torch.set_num_threads(before)
    return {"floor_cpu_ms": floor_ms, "rates": rows}


def floor_of(compiled: CompiledNetwork) -> Callable[[], None]:
    """One float32 matrix product for each convolution, as large as it is; groups side by side."""
    pairs = []
    for step in compiled.plans[-1].steps:
        if isinstance(step, Convolve):
            n_out = step.weights.bias.size
            places, depth = step.firing.spikes.size // n_out, step.weights.weight.size // n_out
            pairs.append((torch.rand(n_out, depth), torch.rand(depth, places), torch.empty(n_out, places)))

    def multiply() -> None:
        for left, right, out in pairs:
            torch.mm(left, right, out=out)

    return multiply


def time_ms(run: Callable[[], object]) -> float:
    """Milliseconds of one run."""
    begun = host_ns()
    run()
    return (host_ns() - begun) / NS_PER_MS


def cpu_ms(run: Callable[[], object]) -> float:
    """Milliseconds of processor time of one run, of all threads together."""
    begun = time.process_time_ns()
    run()
    return (time.process_time_ns() - begun) / NS_PER_MS


def _plain_step(network: nn.Module, frames: npt.NDArray[np.uint8]) -> Callable[[], None]:
    """The network's own step, module by module, from bin to bin."""
    kept: dict[str, Any] = {"state": None, "bin": 0}

    def step() -> None:
        x = torch.from_numpy(frames[kept["bin"] % len(frames)][None]).float()
        kept["bin"] += 1
        with torch.inference_mode():
            _, kept["state"] = network.step(x, kept["state"])  # type: ignore[operator]  # the zoo's networks have step

    return step


def _density(compiled: CompiledNetwork) -> float:
    """Share of all convolutions' inputs that were not zero, weighted by what they cost."""
    steps = [step for step in compiled.plan.steps if isinstance(step, Convolve)]
    done = sum(step.macs * step.scan.n_active / step.scan.x.size for step in steps)
    return done / sum(step.macs for step in steps)
