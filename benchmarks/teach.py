"""How well classes that a network never saw are learnt from 3, 5 and 10 examples, and how many foreign ones are turned away.

`python benchmarks/teach.py --name poker --network CKPT --data FILE --taught diamond,spade [--draws 50] [--out FILE]`

CKPT was trained on other classes than --taught. In each draw the examples are drawn anew; what is left of the taught classes is
judged. Clips of the other classes are foreign: half of them (drawn anew) is the background that the limit is set by, the other
half is judged. The yardstick is the nearest neighbour on count images of the very same examples. JSON, by name, into --out.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import commit

from app.bench.timing import describe_machine
from models.checkpoint import load_checkpoint
from models.features import tap
from models.prototypes import ClassExamples, learn
from models.taught import MOST_BACKGROUND, MOST_VECTORS, thin
from training.data import Binning, ClipSet, load_clips

_SHOTS = (3, 5, 10)
_WINDOWS_KEPT = 4


def windows_of(network: Any, n_features: int, counts: Any, n_time_bins: int) -> Any:
    """Features (n, D) of the windows of a clip, as a running recogniser sees them: from half a window on, four a window."""
    with torch.inference_mode():
        answers, _ = network.run(torch.from_numpy(counts).float().unsqueeze(1))
    bins = answers[:, 0, -n_features:].double().numpy()
    total = np.concatenate([np.zeros((1, n_features)), bins.cumsum(axis=0)])
    first = min((n_time_bins + 1) // 2, len(bins))
    ends = np.arange(first, len(bins) + 1, max(1, n_time_bins // _WINDOWS_KEPT))
    starts = np.maximum(0, ends - n_time_bins)
    return ((total[ends] - total[starts]) / (ends - starts)[:, None]).astype(np.float32)


def image_of(counts: Any) -> Any:
    """log(1 + events) of the whole clip at each pixel and polarity, as a unit vector."""
    image = np.log1p(counts.sum(axis=0, dtype=np.float64)).ravel()
    return image / max(float(np.linalg.norm(image)), 1e-12)


def one_draw(windows: list[Any], images: Any, labels: Any, taught: Sequence[int], n_shots: int, seed: int) -> dict[str, float]:
    """Accuracies and rejection of one draw of examples."""
    rng = np.random.default_rng((seed, n_shots))
    shown = [rng.permutation(np.flatnonzero(labels == label)) for label in taught]
    foreign = rng.permutation(np.flatnonzero(~np.isin(labels, taught)))
    background, strange = np.array_split(foreign, 2)
    classes = []
    for label, rows in zip(taught, shown, strict=True):
        pieces = [thin(windows[i], MOST_VECTORS) for i in rows[:n_shots]]
        example = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        classes.append(ClassExamples(str(label), np.concatenate(pieces), example))
    prototypes = learn(classes, thin(np.concatenate([windows[i] for i in background]), MOST_BACKGROUND))
    examples = np.concatenate([rows[:n_shots] for rows in shown])
    of_example = np.repeat(np.arange(len(taught)), n_shots)
    found: dict[str, list[bool]] = {"accuracy": [], "accuracy_accepted": [], "nearest_image": []}
    for k, rows in enumerate(shown):
        for i in rows[n_shots:]:
            scores = prototypes.scores(windows[i]).mean(axis=0)
            found["accuracy"].append(int(scores.argmax()) == k)
            found["accuracy_accepted"].append(int(scores.argmax()) == k and scores.sum() > 0.5)
            found["nearest_image"].append(int(of_example[(images[examples] @ images[i]).argmax()]) == k)
    found["foreign_rejected"] = [bool(prototypes.scores(windows[i]).mean(axis=0).sum() <= 0.5) for i in strange]
    return {name: float(np.mean(values)) for name, values in found.items()}


def measure(checkpoint: str, clips: ClipSet, taught: Sequence[str], n_draws: int) -> dict[str, Any]:
    """Mean and standard deviation over draws, for each number of examples; every taught class needs more clips than that."""
    network, info, name = load_checkpoint(checkpoint)
    network = network.float()
    known = sorted(set(taught) & set(info.classes))
    assert not known, f"{checkpoint} was trained on {known}"
    n_features = tap(network)
    windows = [windows_of(network, n_features, counts, info.n_time_bins) for counts in clips.counts]
    images = np.stack([image_of(counts) for counts in clips.counts])
    indices = [clips.classes.index(label) for label in taught]
    fewest = min(int(np.sum(clips.labels == label)) for label in indices)
    shots = {}
    for n_shots in (n for n in _SHOTS if n < fewest):
        draws = [one_draw(windows, images, clips.labels, indices, n_shots, seed) for seed in range(n_draws)]
        values = {key: np.array([draw[key] for draw in draws]) for key in draws[0]}
        shots[str(n_shots)] = {
            key: {"mean": round(float(v.mean()), 4), "std": round(float(v.std()), 4)} for key, v in values.items()
        }
    return {"network": name, "trained_on": info.classes, "taught": list(taught), "n_clips": len(clips), "shots": shots}


def keep(out: Path, name: str, result: dict[str, Any]) -> None:
    """Put one result into the file of all."""
    everything = json.loads(out.read_text()) if out.is_file() else {}
    out.write_text(json.dumps({**everything, name: result}, indent=1) + "\n")


def main() -> None:
    """Measure one set, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--name", "--network", "--data", "--taught"):
        parser.add_argument(option, required=True)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/teach.json"))
    arguments = parser.parse_args()
    _, info, _ = load_checkpoint(arguments.network)
    clips = load_clips(arguments.data, Binning(info.delta_t_us, info.size, info.n_time_bins))
    result = measure(arguments.network, clips, arguments.taught.split(","), arguments.draws)
    # where files lay on the machine that trained says nothing to a reader
    training = re.sub(r"(?<=\s)/\S*/", "", info.training.get("command", ""))
    told = {"draws": arguments.draws, "training": training, "machine": describe_machine(), "commit": commit()}
    keep(arguments.out, arguments.name, {**result, **told})
    print(json.dumps(result["shots"], indent=1))


if __name__ == "__main__":
    main()
