"""A training step of SpikingJelly's Spikformer: the other end of the training part of `benchmarks/gpu_parts.py`.

`PYTHON benchmarks/gpu_peer_training.py DEVICE SIZE DIM WINDOWS REPEATS` under the interpreter of `make bench-peers`; there
SpikingJelly takes whatever kernel it has for the device. Printed is one JSON object.
"""

import importlib
import json
import statistics
import sys
import time

import torch
from peer_window import N_BINS, N_CLASSES, make_peer


def main() -> None:
    """Time forward, backward and update."""
    device = sys.argv[1]
    size, dim, n_windows, repeats = map(int, sys.argv[2:])
    functional = importlib.import_module("spikingjelly.activation_based.functional")
    network = make_peer(size, dim).to(device).train()
    x = torch.poisson(torch.full((N_BINS, n_windows, 2, size, size), 0.1, device=device))
    labels = torch.arange(n_windows, device=device) % N_CLASSES
    optimiser = torch.optim.AdamW(network.parameters())
    times = []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats + 1):
        begun = time.perf_counter_ns()
        optimiser.zero_grad(set_to_none=True)
        functional.reset_net(network)
        torch.nn.functional.cross_entropy(network(x).mean(dim=0), labels).backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter_ns() - begun) / 1e6)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else None
    counted = times[1:]
    row = {
        "median_ms": round(statistics.median(counted), 2),
        "spread_ms": round(max(counted) - min(counted), 2),
        "bytes": memory,
    }
    version = importlib.import_module("importlib.metadata").version("spikingjelly")
    print(json.dumps({"library": f"SpikingJelly {version}", "torch": torch.__version__, **row}))


if __name__ == "__main__":
    main()
