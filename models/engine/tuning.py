"""What is chosen by measurement when a network is loaded: threads, and the density from which a layer is multiplied whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter_ns

import numba
import numpy as np
import torch

from models.engine.compiled import CompiledNetwork
from models.engine.steps import Convolve, Dense, Pool, Scan

# Below so many multiply-accumulates a bin, starting threads and measuring cost more than they bring.
_LARGE_MACS = 20_000_000
_LAYER_MACS = 1_000_000
_REPEATS = 3
# A layer is measured with so many of its inputs active, from which its cost at any other density follows.
_DENSITY = 0.25
_MAX_THREADS = 8
# A bin must be this much shorter with twice the threads.
_WORTH_A_THREAD = 0.8


def tune(compiled: CompiledNetwork) -> None:
    """Choose threads and densities; a small network is left as it is, on one thread and never dense."""
    if _macs(compiled) < _LARGE_MACS:
        return
    compiled.n_threads = _best_threads(compiled)
    for plan in compiled.plans[-1:]:
        for step in plan.steps:
            if isinstance(step, Convolve) and step.macs >= _LAYER_MACS:
                _find_density(step, compiled.n_threads)
    for plan in compiled.plans:
        for step in plan.steps:  # what was put on the maps to measure with is still there
            if isinstance(step, Pool):
                step.is_clear = False
            elif isinstance(step, Scan):
                step.n_active = -1
    compiled.reset()


def _macs(compiled: CompiledNetwork) -> int:
    return sum(step.macs for step in compiled.plans[-1].steps if isinstance(step, Convolve))


def _best_threads(compiled: CompiledNetwork) -> int:
    """One thread, or more where a bin is so much shorter with them that they are worth a core each."""
    limit = min(numba.get_num_threads(), os.cpu_count() or 1, torch.get_num_threads(), _MAX_THREADS)
    best, shortest = 1, _bin_ns(compiled, 1)
    n_threads = 2
    while n_threads <= limit:
        taken = _bin_ns(compiled, n_threads)
        if taken > _WORTH_A_THREAD * shortest:
            break
        best, shortest = n_threads, taken
        n_threads *= 2
    return best


def _bin_ns(compiled: CompiledNetwork, n_threads: int) -> int:
    """Shortest time of a bin in which every layer has something to do."""
    steps = [step for step in compiled.plans[-1].steps if isinstance(step, (Scan, Convolve, Pool))]
    for step in steps:
        if isinstance(step, Convolve):
            _light(step)

    def run() -> None:
        for step in steps:
            step.run(n_threads)

    return _shortest_ns(run)


def _find_density(step: Convolve, n_threads: int) -> None:
    """From how many active inputs on the dense product is the quicker one, in the quicker precision."""
    assert step.dense is not None  # the planner gives one to every convolution
    quickest = _shortest_ns(step.run_dense)
    if has_fast_bfloat16():
        other = Dense(step.dense.x, step.dense.convolution, step.dense.currents, step.dense.flat, torch.bfloat16)
        plain, step.dense = step.dense, other
        taken = _shortest_ns(step.run_dense)
        if taken < quickest:
            quickest = taken
        else:
            step.dense = plain
    step.scan.x[:] = 0.0
    step.scan.run(n_threads)
    idle_ns = _shortest_ns(lambda: step.run_sparse(n_threads))
    n_active = _light(step)
    step.scan.run(n_threads)
    busy_ns = _shortest_ns(lambda: step.run_sparse(n_threads))
    a_spike_ns = max(busy_ns - idle_ns, 1) / n_active
    step.dense_above = max(0.0, (quickest - idle_ns) / a_spike_ns)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16 or AMX)."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asked if ask is not None)


def _light(step: Convolve) -> int:
    """Make a share of the layer's inputs active, the same ones each time; how many."""
    active = np.random.default_rng(0).random(step.scan.x.size) < _DENSITY
    step.scan.x[:] = active
    return int(active.sum()) or 1


def _shortest_ns(run: Callable[[], None]) -> int:
    run()  # compiles, and touches the memory
    times = []
    for _ in range(_REPEATS):
        begun = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - begun)
    return min(times)
