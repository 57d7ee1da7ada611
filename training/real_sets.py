"""Results on real events: `python -m training.real_sets SET --data FOLDER [--seeds 0,1,2]` for poker, nmnist and objects.

Every figure is of the last epoch, on a split fixed before training, beside the linear yardstick on the very same split.
Writes benchmarks/results/real_SET.json; docs/results.md is the table of those files.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.schema.clock import wall_clock
from training.augmentation import Augmentation
from training.data import Binning, ClipSet, from_recordings, load_clips, split_by_group
from training.eval import evaluate
from training.memory import keep_freed_memory
from training.train import Recipe, train_checkpoint
from training.yardstick import linear_accuracy

# Share of clips set aside, and the seed of that draw: fixed here, before any training.
HOLDOUT = 0.25
SPLIT_SEED = 20261122

# Files of the DVS128 object recordings of 2018-10-29 (Portuguese names) and the five objects that both sessions have.
_OBJECT_FILES = {
    "Caixa": "box",
    "Caneca": "mug",
    "Estilete": "box_cutter",
    "Estilete_1": "box_cutter",
    "Lapiseira": "mechanical_pencil",
    "Tesoura": "scissors",
}

Sides = tuple[ClipSet, ClipSet]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One set: how to load both sides, cut them, and train."""

    load: Callable[[Path, Binning], Sides]
    binning: Binning
    settings: dict[str, Any]
    recipe: Recipe
    yardstick: str
    network: str = "tim"


def held_out(path: str) -> Callable[[Path, Binning], Sides]:
    """Loader of one npz, a fixed quarter of whose clips is set aside."""

    def load(data: Path, binning: Binning) -> Sides:
        clips = load_clips(str(data / path), binning)
        train, test = split_by_group(clips, HOLDOUT, SPLIT_SEED)
        return clips.take(train), clips.take(test)

    return load


def flip_y(clips: ClipSet) -> ClipSet:
    """The same clips upside down."""
    return dataclasses.replace(clips, counts=[np.ascontiguousarray(counts[:, :, ::-1]) for counts in clips.counts])


def _sessions(data: Path, binning: Binning) -> Sides:
    """Train on session 2018-10-29, judge on windows of session 2018-10-06, where the objects lie in another pose."""
    folder = data / "labelled" / "biolab_objects"
    recordings = [(folder / "session_2018-10-29" / f"{stem}.aedat", label) for stem, label in _OBJECT_FILES.items()]
    train = from_recordings(recordings, binning)
    other = load_clips(str(folder / "session_2018-10-06_first_half.npz"), binning).with_classes(train.classes)
    # that npz keeps the chip's own y, which grows upwards; our reader's y grows downwards
    return train, flip_y(other)


EXPERIMENTS = {
    "poker": Experiment(
        held_out("labelled/poker_dvs/poker_dvs.npz"),
        # most clips last 13 to 16 ms: one window holds them whole
        Binning(delta_t_us=1_000, size=(32, 32), n_time_bins=16),
        {"dim": 64, "depth": 2, "n_heads": 4, "pools": "0111", "lif": {"detach_membrane": False}},
        Recipe(epochs=100, batch=16, learning_rate=2e-3, augmentation=Augmentation(0.05, 0.05, 5.0, 0.1)),
        "0.963 (26/27) on the holdout of the MANIFEST",
    ),
    "nmnist": Experiment(
        held_out("labelled/nmnist_small/nmnist_small.npz"),
        Binning(delta_t_us=60_000, size=(32, 32), n_time_bins=5),
        {"dim": 96, "depth": 2, "n_heads": 6, "pools": "0111", "lif": {"detach_membrane": False}},
        # bins of 60 ms and this rate were chosen on a fifth of the training clips, never on the judged ones
        Recipe(epochs=24, batch=16, learning_rate=2e-3, loss="mean", augmentation=Augmentation(0.05, 0.08, 8.0, 0.1)),
        "0.876 (220/251) on the holdout of the MANIFEST",
    ),
    "objects": Experiment(
        _sessions,
        Binning(delta_t_us=100_000, size=(64, 64), n_time_bins=5, cut_us=500_000),
        {"dim": 96, "depth": 2, "n_heads": 6, "pools": "1111", "lif": {"detach_membrane": False}},
        Recipe(epochs=20, batch=16, learning_rate=1e-3, loss="mean", augmentation=Augmentation(0.15, 0.25, 45.0, 0.2)),
        "0.761 fitted on 2018-10-29, judged on the second half of 2018-10-06 (MANIFEST)",
    ),
}


def _one_seed(experiment: Experiment, train: ClipSet, test: ClipSet, seed: int) -> dict[str, Any]:
    recipe = dataclasses.replace(experiment.recipe, seed=seed)
    seconds = [0.0]

    def report(line: dict[str, Any]) -> None:
        seconds[0] = line["seconds"]
        if line["step"] == line["n_steps"] or line["step"] % 100 == 0:
            print(json.dumps(line), file=sys.stderr, flush=True)

    network, info = train_checkpoint(experiment.network, experiment.settings, train, experiment.binning, recipe, report)
    result = evaluate(network, test, experiment.binning.n_time_bins)
    print(json.dumps({"seed": seed, "accuracy": result.accuracy}), file=sys.stderr, flush=True)
    return {
        "seed": seed,
        "accuracy": result.accuracy,
        "correct": result.correct,
        "n": result.n,
        "confusion": result.confusion,
        "sops_per_bin": result.sops,
        "energy_uj_per_bin_estimated": result.energy_uj,
        "train_seconds": round(seconds[0], 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "recipe": info.training["recipe"],
    }


def _plain(binning: Binning) -> dict[str, Any]:
    """The numbers of a binning, without how recordings are opened."""
    values = {field.name: getattr(binning, field.name) for field in dataclasses.fields(binning)}
    return {name: value for name, value in values.items() if not callable(value)}


def run(name: str, experiment: Experiment, data: Path, seeds: list[int], command: str) -> dict[str, Any]:
    """Train and judge one set with each seed; the whole result as plain values. `command` is what the user typed."""
    train, test = experiment.load(data, experiment.binning)
    linear = linear_accuracy(train, test)
    runs = [_one_seed(experiment, train, test, seed) for seed in seeds]
    accuracies = [run["accuracy"] for run in runs]
    return {
        "set": name,
        "classes": list(train.classes),
        "n_train": len(train),
        "n_test": len(test),
        "split": {"holdout": HOLDOUT, "split_seed": SPLIT_SEED} if name != "objects" else "by session",
        "network": {"name": experiment.network, **experiment.settings, **_plain(experiment.binning)},
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_spread": max(accuracies) - min(accuracies),
        "linear_same_split": linear,
        "linear_manifest": experiment.yardstick,
        "runs": runs,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": str(torch.__version__)},
        "date": wall_clock().date().isoformat(),
        "command": command,
    }


def main() -> None:
    """Run one experiment and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=sorted(EXPERIMENTS))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds labelled/")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    keep_freed_memory()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    command = f"python -m training.real_sets {arguments.set} --seeds {arguments.seeds}"
    result = run(arguments.set, EXPERIMENTS[arguments.set], arguments.data, seeds, command)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"real_{arguments.set}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("set", "accuracy_mean", "accuracy_spread", "linear_same_split")}))


if __name__ == "__main__":
    main()
