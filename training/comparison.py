"""Networks side by side on real events: `python -m training.comparison SET NETWORK --data FOLDER [--seeds 0,1,2]`.

Sets: poker, nmnist, mnistdvs, objects; networks: spikformer, tim, qkformer, spikingresformer and default, the shipped shape.
One recipe for all networks of a set, set before its first run on the judged clips. `--validate` trains on four fifths of the
training clips and judges the fifth, to try a recipe without seeing those.
Writes benchmarks/results/side_SET_NETWORK.json; docs/results.md has the table.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from training.augmentation import Augmentation
from training.data import Binning, ClipSet, split_by_group
from training.memory import keep_freed_memory
from training.real_sets import EXPERIMENTS, HOLDOUT, Experiment, held_out, run
from training.train import Recipe
from training.zoo import SETTINGS

SEEDS = "0,1,2"
# The shipped recogniser's shape and surrogate gradient, for frames of 32x32 as for its own.
_DEFAULT: dict[str, Any] = {
    "dim": 96,
    "depth": 2,
    "n_heads": 6,
    "pools": "1110",
    "lif": {"detach_membrane": False, "alpha": 2.0},
}
_NETWORKS = {**{name: SETTINGS[name] for name in ("spikformer", "tim", "qkformer", "spikingresformer")}, "default": _DEFAULT}
_VALIDATION_SHARE, _VALIDATION_SEED = 0.2, 7

# Digits keep their identity under small turns only; strokes move by a few pixels of 32.
_DIGITS = Augmentation(0.08, 0.12, 12.0, 0.2)
_SETS = {
    "poker": dataclasses.replace(
        EXPERIMENTS["poker"],
        recipe=Recipe(epochs=100, batch=16, learning_rate=2e-3, loss="mean", augmentation=Augmentation(0.05, 0.05, 5.0, 0.1)),
    ),
    "nmnist": dataclasses.replace(
        EXPERIMENTS["nmnist"],
        recipe=Recipe(epochs=80, batch=16, learning_rate=2e-3, loss="mean", augmentation=_DIGITS),
    ),
    "mnistdvs": Experiment(
        held_out("labelled/mnist_dvs_100/mnist_dvs_100.npz"),
        Binning(delta_t_us=40_000, size=(32, 32), n_time_bins=5),
        {},
        Recipe(epochs=200, batch=16, learning_rate=2e-3, loss="mean", augmentation=_DIGITS),
        "0.850 (17/20) on the holdout of the MANIFEST",
    ),
    "objects": dataclasses.replace(
        EXPERIMENTS["objects"],
        recipe=Recipe(epochs=20, batch=16, learning_rate=1e-3, loss="mean", augmentation=Augmentation(0.15, 0.25, 45.0, 0.2)),
    ),
}


def experiment_of(name: str, network: str) -> Experiment:
    """The experiment on set `name` with `network` in it."""
    settings = dict(_NETWORKS[network])
    if name == "objects" and "pools" in settings:
        # frames of 64x64 are halved once more
        settings["pools"] = "1111"
    return dataclasses.replace(_SETS[name], network="tim" if network == "default" else network, settings=settings)


def validation(experiment: Experiment) -> Experiment:
    """The experiment within its training clips: a fifth of their recordings is judged."""

    def load(data: Path, binning: Binning) -> tuple[ClipSet, ClipSet]:
        clips, _ = experiment.load(data, binning)
        train, judged = split_by_group(clips, _VALIDATION_SHARE, _VALIDATION_SEED)
        return clips.take(train), clips.take(judged)

    return dataclasses.replace(experiment, load=load)


def main() -> None:
    """Train and judge one network on one set and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=sorted(_SETS))
    parser.add_argument("network", choices=sorted(_NETWORKS))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds labelled/")
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--validate", action="store_true", help="judge a fifth of the training clips and keep no file")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    keep_freed_memory()
    experiment = experiment_of(arguments.set, arguments.network)
    asked = {"epochs": arguments.epochs, "learning_rate": arguments.rate}
    recipe = dataclasses.replace(experiment.recipe, **{key: value for key, value in asked.items() if value is not None})
    experiment = dataclasses.replace(experiment, recipe=recipe)
    if arguments.validate:
        experiment = validation(experiment)
    command = f"python -m training.comparison {arguments.set} {arguments.network} --seeds {arguments.seeds}"
    result = run(arguments.set, experiment, arguments.data, [int(seed) for seed in arguments.seeds.split(",")], command)
    result["row"] = arguments.network
    if arguments.set != "objects":
        result["split"] = {"holdout": HOLDOUT, **result["split"]}
    if not arguments.validate:
        path = arguments.out / f"side_{arguments.set}_{arguments.network}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("set", "row", "accuracy_mean", "accuracy_spread", "linear_same_split")}))


if __name__ == "__main__":
    main()
