"""The LIF neuron of SpikingJelly, timed in an environment of its own: the other end of `benchmarks/neuron.py`.

`PYTHON benchmarks/peer_neurons.py IN.npz DEVICE REPEATS` under the interpreter of `make bench-peers`. IN holds currents `x`
(T, n), gradients `upstream` and our `spikes`; printed is one JSON object: milliseconds of each run, and the share of spikes
that are alike.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def time_runs(run: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Milliseconds of processor time (on a GPU, of the clock, once all is done) of each run after the first."""
    times = []
    for _ in range(repeats + 1):
        if device == "cuda":
            torch.cuda.synchronize()
            begun = time.perf_counter_ns()
            run()
            torch.cuda.synchronize()
            times.append((time.perf_counter_ns() - begun) / 1e6)
        else:
            begun = time.process_time_ns()
            run()
            times.append((time.process_time_ns() - begun) / 1e6)
    return times[1:]


def make_neuron(surrogate: str, alpha: float) -> tuple[Any, Any]:
    """A LIF layer with the constants of ours, and what brings it to rest."""
    neuron = importlib.import_module("spikingjelly.activation_based.neuron")
    functional = importlib.import_module("spikingjelly.activation_based.functional")
    surrogates = importlib.import_module("spikingjelly.activation_based.surrogate")
    function = getattr(surrogates, surrogate)(alpha=alpha)
    return neuron.LIFNode(tau=2.0, surrogate_function=function, detach_reset=True, step_mode="m"), functional.reset_net


def main() -> None:
    """Time forward, and forward with backward."""
    path, device, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
    given = np.load(path, allow_pickle=False)
    if device == "cpu":
        torch.set_num_threads(1)
    x, upstream = (torch.from_numpy(given[name]).to(device) for name in ("x", "upstream"))
    layer, reset = make_neuron("Sigmoid", 4.0)
    layer.to(device)

    def forward() -> torch.Tensor:
        reset(layer)
        with torch.no_grad():
            spikes: torch.Tensor = layer(x)
        return spikes

    def both() -> None:
        reset(layer)
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(layer(leaf), leaf, upstream)

    agreed = float((forward().cpu() == torch.from_numpy(given["spikes"])).float().mean())
    found = {"forward_ms": time_runs(forward, device, repeats), "both_ms": time_runs(both, device, repeats), "agreed": agreed}
    version = importlib.import_module("importlib.metadata").version("spikingjelly")
    print(json.dumps({"library": f"SpikingJelly {version}", "torch": torch.__version__, **found}))


if __name__ == "__main__":
    main()
