"""One part of what `benchmarks/gpu.py` measures, in a process of its own: prints one JSON object.

`python benchmarks/gpu_parts.py PART [--small]`; `--help` names the parts. `--small` rehearses one on the CPU: smaller networks,
nothing recorded, and figures that say nothing of a GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from provenance import ROOT

from app.bench.gpu import Place, measure_bins
from app.bench.step import EVENTS, make_frames, make_network, time_ms
from models.checkpoint import load_checkpoint
from models.engine.cuda_graph import RecordedBatch, record_network, run_again
from models.engine.cuda_program import Precision
from models.registry import create_network
from training.data import Binning, load_clips, windows

PEERS = ROOT / ".venv-peers" / "bin" / "python"
_WINDOWS = 1000
# Training as for DVS128 Gesture: windows of 16 bins, so many at once.
_BATCH, _N_BINS, _N_CLASSES = 16, 16, 11
_REPEATS = 10


def place_of(*, is_small: bool) -> Place:
    """The GPU, or a rehearsal of it."""
    return Place("cpu", run_again) if is_small else Place()


def measure_engine(n_streams: int, *, is_small: bool) -> dict[str, Any]:
    """Bins of so many streams at once, in float32, in float32 with rounded weights, and in bfloat16."""
    found = {}
    kinds: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    for precision in kinds:
        network = small_network() if is_small else make_network()
        streams = min(n_streams, 2) if is_small else n_streams
        found[precision] = measure_bins(network, streams, 1 if is_small else _REPEATS, place_of(is_small=is_small), precision)
    return found


def small_network() -> Any:
    """A network to rehearse with, in evaluation."""
    torch.manual_seed(0)
    return create_network("tim", dim=32, depth=1, n_heads=2, n_classes=_N_CLASSES, size=(32, 32)).eval()


def measure_agreement(precision: Precision, *, is_small: bool) -> dict[str, Any]:
    """The shipped recogniser on simulated gestures: recorded beside plain, window by window from rest."""
    network, info, name = load_checkpoint("default")
    place = place_of(is_small=is_small)
    network = network.float().to(place.device)
    batch = record_network(network, 1, precision, recorder=place.recorder)
    n_windows = 3 if is_small else _WINDOWS
    clips = load_clips(
        f"synthetic:gestures?clips={n_windows}&seed=900000", Binning(info.delta_t_us, info.size, info.n_time_bins)
    )
    differences, n_same = [], 0
    for counts in clips.counts:
        window = next(iter(windows(counts, info.n_time_bins)))
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            wanted = network(torch.from_numpy(window).float().unsqueeze(1).to(place.device))[0].cpu()
        found = _logits_of(batch, window)
        n_same += int(found.argmax() == wanted.argmax())
        differences.append((found - wanted).abs().max().item())
    return {
        "network": name,
        "precision": precision,
        "windows": len(differences),
        "same_top_class": n_same,
        "within_1e-3": sum(difference <= 1e-3 for difference in differences),
        "largest_difference": max(differences),
    }


def _logits_of(batch: RecordedBatch, window: Any) -> torch.Tensor:
    logits = []
    for i, frame in enumerate(window):
        batch.counts[0] = frame
        logits.append(batch.step(np.array([i == 0]))[0].clone())
    return torch.stack(logits).mean(dim=0)


def measure_training(*, is_small: bool) -> dict[str, Any]:
    """A step of training, ours and SpikingJelly's: milliseconds and the most memory that it held."""
    place = place_of(is_small=is_small)
    size, dim, n_windows = (32, 32, 2) if is_small else (128, 256, _BATCH)
    torch.manual_seed(0)
    network = create_network("spikformer", dim=dim, depth=2, n_heads=16, n_classes=_N_CLASSES, size=(size, size))
    frames = np.stack([make_frames(EVENTS, _N_BINS, seed) for seed in range(n_windows)], axis=1)[..., :size, :size]
    x = torch.from_numpy(frames).float()  # (T, B, 2, H, W)
    repeats = 1 if is_small else _REPEATS
    ours = time_training(network, x, place, repeats)
    if not PEERS.exists():
        return {"ours": ours, "peer": "not installed; make bench-peers"}
    command = [str(PEERS), str(ROOT / "benchmarks" / "gpu_peer_training.py"), place.device, str(size), str(dim), str(n_windows)]
    run = subprocess.run([*command, str(repeats)], capture_output=True, text=True, check=False)
    if run.returncode:
        return {"ours": ours, "peer": f"ended with {run.returncode}: {run.stderr.strip().splitlines()[-1:]}"}
    peer = json.loads(run.stdout.splitlines()[-1])
    return {"ours": ours, "peer": peer, "times_ours": round(peer["median_ms"] / ours["median_ms"], 2)}


def time_training(network: Any, x: torch.Tensor, place: Place, repeats: int) -> dict[str, Any]:
    """Median of forward, backward and update, mean cross-entropy over bins; memory only on a GPU."""
    network, x = network.to(place.device).train(), x.to(place.device)
    labels = torch.arange(x.shape[1], device=place.device) % _N_CLASSES
    optimiser = torch.optim.AdamW(network.parameters())
    if place.device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        optimiser.step()
        place.wait()

    step()
    times = [time_ms(step) for _ in range(repeats)]
    memory = torch.cuda.max_memory_allocated() if place.device == "cuda" else None
    return {"median_ms": round(statistics.median(times), 2), "spread_ms": round(max(times) - min(times), 2), "bytes": memory}


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "step": lambda is_small: measure_engine(1, is_small=is_small),
    "streams_256": lambda is_small: measure_engine(256, is_small=is_small),
    "streams_512": lambda is_small: measure_engine(512, is_small=is_small),
    "agreement_float32": lambda is_small: measure_agreement("float32", is_small=is_small),
    "agreement_bfloat16": lambda is_small: measure_agreement("bfloat16", is_small=is_small),
    "training": lambda is_small: measure_training(is_small=is_small),
}


def main() -> int:
    """Measure one part and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(PARTS[arguments.part](arguments.small)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
