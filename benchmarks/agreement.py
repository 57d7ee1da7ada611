"""Holds the compiled network's answers on real windows against the plain one's.

`python benchmarks/agreement.py DATA… [--network CKPT] [--windows 1000] [--bfloat16] [--out FILE]` cuts recordings and npz sets
of labelled clips into windows of the network's own T bins, from rest, and prints JSON: same top class, distance of logits.
"""

import argparse
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from provenance import commit, leave

from models.checkpoint import CheckpointInfo, load_checkpoint
from models.engine.compiled import CompiledNetwork, compile_network
from models.engine.steps import Convolve, Dense
from pipeline.binning import bin_events
from pipeline.schema.clock import wall_clock
from pipeline.schema.events import Events, SensorSize, make_events
from training.data import open_plainly

Counts = npt.NDArray[np.uint8]


def events_of(path: Path) -> Iterator[tuple[Events, SensorSize]]:
    """Events of each clip of a set, or of a whole recording, and the sensor's size."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            t, x, y, p, offsets = (file[name] for name in ("t", "x", "y", "p", "offsets"))
            size = SensorSize(int(file["width"]), int(file["height"]))
        for first, last in pairwise(offsets):
            here = slice(first, last)
            order = np.argsort(t[here], kind="stable")
            yield make_events(t[here][order].astype(np.int64), x[here][order], y[here][order], p[here][order]), size
        return
    with open_plainly(path) as source:
        yield np.concatenate(list(source.packets())), source.info.sensor_size


def windows_of(paths: list[Path], info: CheckpointInfo, bin_us: int) -> Iterator[Counts]:
    """Windows (T, 2, H, W) with events in them, of all the paths in turn."""
    for path in paths:
        for events, size in events_of(path):
            counts, _ = bin_events(events, size, SensorSize(*info.size), bin_us)
            for first in range(0, len(counts), info.n_time_bins):
                window = counts[first : first + info.n_time_bins]
                if window.any():
                    short = info.n_time_bins - len(window)
                    yield np.concatenate([window, np.zeros((short, *window.shape[1:]), np.uint8)])


def logits_of(compiled: CompiledNetwork, window: Counts) -> torch.Tensor:
    """Mean logits (K,) of a window from rest."""
    compiled.reset()
    return torch.stack([compiled.step(frame[None])[0].clone() for frame in window]).mean(dim=0)


def use_bfloat16(compiled: CompiledNetwork) -> None:
    """Multiply every layer whole, in bfloat16, whether that pays here or not."""
    for plan in compiled.plans:
        for step in plan.steps:
            if isinstance(step, Convolve) and step.dense is not None:
                dense = step.dense
                step.dense = Dense(dense.x, dense.convolution, dense.currents, dense.flat, torch.bfloat16)
                step.dense_above = -1


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--network", default="default")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--delta-t-us", type=int)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    network, info, name = load_checkpoint(arguments.network)
    network.float()
    compiled = compile_network(network)
    if arguments.bfloat16:
        use_bfloat16(compiled)
    same, differences, largest = 0, [], 0.0
    windows = windows_of(arguments.data, info, arguments.delta_t_us or info.delta_t_us)
    for window in islice(windows, arguments.windows):
        with torch.inference_mode():
            wanted = network(torch.from_numpy(window).float().unsqueeze(1))[0]
        found = logits_of(compiled, window)
        same += int(found.argmax() == wanted.argmax())
        differences.append((found - wanted).abs().max().item())
        largest = max(largest, wanted.abs().max().item())
    result = {
        "network": name,
        "data": [path.name for path in arguments.data],
        "precision": "bfloat16" if arguments.bfloat16 else "float32",
        "windows": len(differences),
        "same_top_class": same,
        "within_1e-3": sum(difference <= 1e-3 for difference in differences),
        "largest_difference": max(differences),
        "p99_difference": float(np.quantile(differences, 0.99)),
        "largest_logit": largest,
        "commit": commit(),
        "date": wall_clock().date().isoformat(),
    }
    leave(result, arguments.out)


if __name__ == "__main__":
    main()
