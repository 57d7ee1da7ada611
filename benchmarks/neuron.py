"""The LIF layer beside this machine's copy rate, and beside SpikingJelly's on the same currents.

`python benchmarks/neuron.py [--device cuda] [--out benchmarks/results/neuron.json]`: the rows of `saccade bench neuron`, and
the times of SpikingJelly where `make bench-peers` has made its environment. One core of a CPU, in processor time.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import ROOT, commit

from app.bench.neuron import N_BINS, measure_all
from app.bench.timing import describe_machine
from models.functional import LIFParameters
from models.kernels import operators

PEERS = ROOT / ".venv-peers" / "bin" / "python"


def measure_peer(n_currents: int, repeats: int, device: str) -> dict[str, Any] | None:
    """What SpikingJelly takes for as many currents; None where its environment is not."""
    if not PEERS.exists():
        return None
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(N_BINS, n_currents // N_BINS, generator=generator) for _ in range(2))
    spikes, _ = operators.lif(x, None, LIFParameters())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "currents.npz"
        np.savez(path, x=x.numpy(), upstream=upstream.numpy(), spikes=spikes.numpy())
        command = [str(PEERS), str(ROOT / "benchmarks" / "peer_neurons.py"), str(path), device, str(repeats)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    for name in ("forward_ms", "both_ms"):
        found[name] = round(statistics.median(found[name]), 2)
    return found


def compare(rows: list[dict[str, Any]], peer: dict[str, Any], place: str) -> dict[str, float]:
    """How many times as long SpikingJelly takes."""
    ours = {row["name"]: row["median_ms"] for row in rows}
    return {
        "forward": round(peer["forward_ms"] / ours[f"forward, float32, {place}"], 2),
        "forward and backward": round(peer["both_ms"] / ours[f"forward and backward, float32, {place}"], 2),
    }


def main() -> None:
    """Measure, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--currents", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for row in measure_all(arguments.currents, arguments.repeats, arguments.device):
        rows.append(row)
        spread = f"{row['median_ms']:9.3f} ms +-{row['spread_ms']:8.3f}"
        print(f"{row['name']:46s} {spread} {row['share_of_copy']:6.1%} of the copy rate")
    result: dict[str, Any] = {"machine": describe_machine(), "commit": commit(), "device": arguments.device, "rows": rows}
    if arguments.device == "cuda":
        result["gpu"] = torch.cuda.get_device_name()
    if (peer := measure_peer(arguments.currents, arguments.repeats, arguments.device)) is None:
        print("SpikingJelly was not measured; make bench-peers installs it")
    else:
        result["peer"] = {**peer, "times_ours": compare(rows, peer, "GPU" if arguments.device == "cuda" else "1 core")}
        print(f"{peer['library']}: forward {peer['forward_ms']} ms, forward and backward {peer['both_ms']} ms;", end=" ")
        print(f"times ours {result['peer']['times_ours']}; spikes alike {peer['agreed']:.4%}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
