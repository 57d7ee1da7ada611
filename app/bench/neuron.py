"""How fast do neurons run? LIF over T bins, forward and backward, beside the rate at which the same machine copies memory.

Counted are the bytes that must move: currents in and spikes out; backward, currents and gradients of spikes in and gradients
of currents out. Membranes, a T-th of that, are not.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from app.bench.timing import one_core, time_runs
from models import functional
from models.functional import LIFParameters
from models.kernels import operators
from pipeline.schema.clock import NS_PER_MS, NS_PER_S, host_ns
from pipeline.schema.errors import GpuMissingError, UsageError

Row = dict[str, Any]
N_BINS = 16
GIGA = 1e9
# One run, and how many bytes it must move.
Run = tuple[str, Callable[[], object], int]


@dataclass(frozen=True, slots=True)
class Setting:
    """On which device, on how many cores of a CPU, in which type of torch's."""

    device: str = "cpu"
    n_threads: int = 1
    dtype: str = "float32"

    def __str__(self) -> str:
        where = "GPU" if self.device == "cuda" else f"{self.n_threads} core{'s' if self.n_threads > 1 else ''}"
        return f"{self.dtype}, {where}"


def measure_all(n_currents: int, repeats: int, device: str) -> Iterator[Row]:
    """Rows of a CPU, one core and all, or of a GPU; `n_currents` are neurons times bins."""
    if n_currents < N_BINS:
        raise UsageError(f"{n_currents} currents are less than one neuron's in {N_BINS} bins; ask for more --events")
    if device == "cuda":
        if not torch.cuda.is_available():
            raise GpuMissingError("no NVIDIA GPU that torch can use; leave --device out to measure the CPU")
        settings = [Setting("cuda", dtype=dtype) for dtype in ("float32", "bfloat16")]
    else:
        settings = [Setting(n_threads=1), Setting(n_threads=1, dtype="bfloat16")]
        if (n_threads := torch.get_num_threads()) > 1:
            settings.append(Setting(n_threads=n_threads))
    for setting in settings:
        with _threads(setting):
            yield from measure(setting, n_currents // N_BINS, repeats)


def measure(setting: Setting, n: int, repeats: int) -> Iterator[Row]:
    """Rows of one setting for `n` neurons: rate of the bytes that must move, and its share of a plain copy's."""
    x = torch.randn(N_BINS, n, device=setting.device).to(getattr(torch, setting.dtype))
    target = torch.empty_like(x)
    copy = ("copy", lambda: target.copy_(x), 2 * x.nbytes)
    # the plain step is no quicker on several cores, and slow enough to be measured once
    plain = _plain(x) if setting.n_threads == 1 else ()
    for name, run, n_bytes in (*_kernels(x), *plain):
        # the limit beside each of them, so that both meet the same load of the machine
        limit_s, times = _time(copy[1], setting, repeats), _time(run, setting, repeats)
        rate, limit = n_bytes / statistics.median(times) / GIGA, copy[2] / statistics.median(limit_s) / GIGA
        yield {
            "name": f"{name}, {setting}",
            "bytes": n_bytes,
            "median_ms": round(statistics.median(times) * NS_PER_S / NS_PER_MS, 3),
            "spread_ms": round((max(times) - min(times)) * NS_PER_S / NS_PER_MS, 3),
            "gb_s": round(rate, 2),
            "copy_gb_s": round(limit, 2),
            "share_of_copy": round(rate / limit, 3),
        }


def _kernels(x: Tensor) -> Iterator[Run]:
    parameters, upstream = LIFParameters(), torch.randn_like(x)
    yield "forward", lambda: operators.lif(x, None, parameters), 2 * x.nbytes
    yield "forward to bytes", partial(operators.lif_spikes, x, None, parameters, form="bytes"), x.nbytes + x.numel()
    yield "forward to bits", partial(operators.lif_spikes, x, None, parameters, form="bits"), x.nbytes + x.numel() // 8
    for surrogate in ("sigmoid", "atan", "triangle"):
        leaf = x.detach().requires_grad_()
        spikes, _ = operators.lif(leaf, None, LIFParameters(surrogate=surrogate))
        yield f"backward, {surrogate}", partial(_pull, spikes, leaf, upstream), 3 * x.nbytes
    yield "forward and backward", lambda: _train(operators.lif, x, upstream), 5 * x.nbytes
    v, spikes = torch.zeros(x.shape[1], device=x.device), torch.empty_like(x[0])
    # currents and membranes in, membranes and spikes out
    yield "one bin in place", lambda: operators.lif_step_(x[0], v, spikes, parameters), 2 * x[0].nbytes + 2 * v.nbytes


def _plain(x: Tensor) -> Iterator[Run]:
    upstream = torch.randn_like(x)
    yield "plain forward", lambda: functional.lif(x, None, LIFParameters()), 2 * x.nbytes
    yield "plain forward and backward", lambda: _train(functional.lif, x, upstream), 5 * x.nbytes


def _pull(spikes: Tensor, leaf: Tensor, upstream: Tensor) -> None:
    torch.autograd.grad(spikes, leaf, upstream, retain_graph=True)


def _train(lif: Callable[..., tuple[Tensor, Tensor]], x: Tensor, upstream: Tensor) -> None:
    leaf = x.detach().requires_grad_()
    torch.autograd.grad(lif(leaf, None, LIFParameters())[0], leaf, upstream)


def _time(run: Callable[[], object], setting: Setting, repeats: int) -> list[float]:
    """Seconds: processor time of one core, the clock's of several, events of the GPU's own."""
    if setting.device == "cuda":
        return _time_on_gpu(run, repeats)
    if setting.n_threads == 1:
        return time_runs(run, repeats)
    run()
    times = []
    for _ in range(repeats):
        begun = host_ns()
        run()
        times.append((host_ns() - begun) / NS_PER_S)
    return times


def _time_on_gpu(run: Callable[[], object], repeats: int) -> list[float]:
    run()
    times = []
    for _ in range(repeats):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
        begun.record()
        run()
        ended.record()
        ended.synchronize()
        times.append(begun.elapsed_time(ended) * NS_PER_MS / NS_PER_S)
    return times


@contextmanager
def _threads(setting: Setting) -> Iterator[None]:
    """Let torch and numba use so many cores; memory that is freed stays with the process, as in training."""
    import numba

    from training.memory import keep_freed_memory

    keep_freed_memory()
    if setting.device == "cuda" or setting.n_threads > 1:
        yield
        return
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        with one_core():
            yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
