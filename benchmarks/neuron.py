"""How fast is the LIF layer on this CPU? numba twin and plain torch, forward and backward, against this machine's copy rate.

`python benchmarks/neuron.py [--json]`: median and spread of repeated runs, and bytes moved as a share of a plain copy's.
"""

import argparse
import json
import statistics
from collections.abc import Callable

import torch

from models import functional
from models.functional import LIFParameters
from models.kernels import lif_cpu
from pipeline.schema.clock import NS_PER_MS, NS_PER_S, host_ns
from training.memory import keep_freed_memory

T, N = 16, 1 << 20


def timed(run: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of `repeats` runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        begun = host_ns()
        run()
        times.append((host_ns() - begun) / NS_PER_S)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    keep_freed_memory()
    x = torch.randn(T, N)
    target = torch.empty_like(x)
    upstream = torch.ones_like(x)
    n_bytes = x.numel() * x.element_size()
    copy_rate = 2 * n_bytes / statistics.median(timed(lambda: target.copy_(x), arguments.repeats))
    rows = {}
    for name, lif in (("numba", lif_cpu.lif), ("plain", functional.lif)):
        leaf = x.clone().requires_grad_()

        def forward(lif: Callable[..., tuple[torch.Tensor, torch.Tensor]] = lif) -> None:
            with torch.no_grad():
                lif(x, None, LIFParameters())

        def both(lif: Callable[..., tuple[torch.Tensor, torch.Tensor]] = lif, leaf: torch.Tensor = leaf) -> None:
            lif(leaf, None, LIFParameters())[0].backward(upstream)  # type: ignore[no-untyped-call]  # torch leaves it untyped

        for direction, run, moved in (("forward", forward, 2), ("forward and backward", both, 6)):
            times = timed(run, arguments.repeats)
            median = statistics.median(times)
            rows[f"{name} {direction}"] = {
                "median_ms": round(median * NS_PER_S / NS_PER_MS, 2),
                "spread_ms": round((max(times) - min(times)) * NS_PER_S / NS_PER_MS, 2),
                "share_of_copy_rate": round(moved * n_bytes / median / copy_rate, 3),
            }
    result = {"T": T, "n": N, "threads": torch.get_num_threads(), "copy_gb_s": round(copy_rate / 1e9, 2), "rows": rows}
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"copy {result['copy_gb_s']} GB/s, T {T}, {N} neurons, {result['threads']} threads")
    for name, row in rows.items():
        print(
            f"{name:28s} {row['median_ms']:8.2f} ms +-{row['spread_ms']:6.2f} {row['share_of_copy_rate']:6.1%} of the copy rate"
        )


if __name__ == "__main__":
    main()
