"""What is chosen by measurement when a network is loaded: threads, and the density from which a layer is multiplied whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter_ns

import numba
import numpy as np
import numpy.typing as npt
import torch

from models.engine.compiled import CompiledNetwork
from models.engine.steps import Convolve, Dense, Pool, Scan

# Below so many multiply-accumulates a bin, starting threads and measuring cost more than they bring.
_LARGE_MACS = 20_000_000
_LAYER_MACS = 1_000_000
_REPEATS = 9
# A layer is measured with so many of its inputs active, from which its cost at any other density follows.
_DENSITY = 0.25
_MAX_THREADS = 8
# A bin must be this much shorter with twice the threads.
_WORTH_A_THREAD = 0.8


def tune(compiled: CompiledNetwork) -> None:
    """Choose threads and densities; a small network is left as it is, on one thread and never dense."""
    if _macs(compiled) < _LARGE_MACS:
        return
    with torch.inference_mode():
        compiled.n_threads = _best_threads(compiled)
        for step in compiled.plans[-1].steps:
            if isinstance(step, Convolve) and step.macs >= _LAYER_MACS:
                _find_density(step, compiled.n_threads)
    for plan in compiled.plans:
        for each in plan.steps:  # what was put on the maps to measure with is still there
            if isinstance(each, Pool):
                each.is_clear = False
            elif isinstance(each, Scan):
                each.n_active = -1
    compiled.reset()


def _macs(compiled: CompiledNetwork) -> int:
    return sum(step.macs for step in compiled.plans[-1].steps if isinstance(step, Convolve))


def _best_threads(compiled: CompiledNetwork) -> int:
    """One thread, or more where a bin is so much shorter with them that they are worth a core each."""
    limit: int = min(numba.get_num_threads(), os.cpu_count() or 1, torch.get_num_threads(), _MAX_THREADS)
    offered = [1 << i for i in range(limit.bit_length())]
    times = _shortest_ns(*(_bin(compiled, n_threads) for n_threads in offered)) if limit > 1 else [0]
    best = 0
    for i in range(1, len(offered)):
        if times[i] > _WORTH_A_THREAD * times[best]:
            break
        best = i
    return offered[best]


def _bin(compiled: CompiledNetwork, n_threads: int) -> Callable[[], None]:
    """A bin in which every layer has something to do."""
    steps = [step for step in compiled.plans[-1].steps if isinstance(step, (Scan, Convolve, Pool))]
    for step in steps:
        if isinstance(step, Convolve):
            _light(step)

    def run() -> None:
        for step in steps:
            step.run(n_threads)

    return run


def _find_density(step: Convolve, n_threads: int) -> None:
    """From how many active inputs on the dense product is the quicker one, in the quicker precision."""
    assert step.dense is not None  # the planner gives one to every convolution
    plain = step.dense
    products = [plain]
    if has_fast_bfloat16():
        products.append(Dense(plain.x, plain.convolution, plain.currents, plain.flat, torch.bfloat16))
    lit = _light(step)
    dark = np.zeros_like(lit)

    def sparse(x: npt.NDArray[np.float32]) -> tuple[Callable[[], None], Callable[[], None]]:
        def prepare() -> None:
            step.scan.x[:] = x
            step.scan.run(n_threads)

        return prepare, lambda: step.run_sparse(n_threads)

    def dense(product: Dense) -> tuple[Callable[[], None], Callable[[], None]]:
        def prepare() -> None:
            step.dense = product

        return prepare, step.run_dense

    idle_ns, busy_ns, *dense_ns = _shortest_ns(sparse(dark), sparse(lit), *(dense(product) for product in products))
    quickest = min(dense_ns)
    step.dense = products[dense_ns.index(quickest)]
    a_spike_ns = max(busy_ns - idle_ns, 1) / max(int(lit.sum()), 1)
    step.dense_above = max(0.0, (quickest - idle_ns) / a_spike_ns)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16 or AMX)."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asked if ask is not None)


def _light(step: Convolve) -> npt.NDArray[np.float32]:
    """Make a share of the layer's inputs active, the same ones each time; the map."""
    active = (np.random.default_rng(0).random(step.scan.x.size) < _DENSITY).astype(np.float32)
    step.scan.x[:] = active
    return active


# What is measured, or what is to be done before it, too.
_Run = Callable[[], None]


def _shortest_ns(*runs: _Run | tuple[_Run, _Run]) -> list[int]:
    """Shortest time of each, measured in turns, so that a machine that slows down meanwhile slows all of them."""
    times: list[list[int]] = [[] for _ in runs]
    for turn in range(_REPEATS + 1):
        for run, taken in zip(runs, times, strict=True):
            prepare, measured = run if isinstance(run, tuple) else (None, run)
            if prepare is not None:
                prepare()
            begun = perf_counter_ns()
            measured()
            if turn:  # the first turn compiles, and touches the memory
                taken.append(perf_counter_ns() - begun)
    return [min(taken) for taken in times]
