"""Each network of the zoo, small, on real events: `python -m training.zoo NETWORK --data FOLDER`.

One recipe for all of them: Poker-DVS with three seeds, N-MNIST with one, last epoch, the splits and the linear yardstick of
`training/real_sets.py`. It was changed twice: after Spikformer's first run had visibly not learnt N-MNIST to the end, and for
the networks that had not learnt Poker-DVS after 40 epochs; what was scored before is kept and listed. Writes
benchmarks/results/zoo_NETWORK.json; docs/results.md has the table.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from models.registry import NETWORKS
from training.augmentation import Augmentation
from training.memory import keep_freed_memory
from training.real_sets import EXPERIMENTS, Experiment, run

# About the same width and two blocks everywhere, on frames of 32x32 pixels that the stems halve three times. SpikingResformer
# works on whole frames in its first stage and is narrower for it.
_FLAT: dict[str, Any] = {"dim": 64, "depth": 2, "n_heads": 4, "pools": "1110"}
SETTINGS: dict[str, dict[str, Any]] = {
    "spikformer": _FLAT,
    "tim": {**_FLAT, "lif": {"detach_membrane": False}},
    "sdt": _FLAT,
    "qkformer": {"dim": 64, "depth": (1, 1), "n_heads": 4, "mlp_ratio": 4},
    "autost": _FLAT,
    "autospikformer": {**_FLAT, "mlp_ratio": (4, 3)},
    "bestformer": _FLAT,
    "semm": _FLAT,
    "saformer": _FLAT,
    "spikformer_v2": {"dim": 64, "depth": 2, "n_heads": 4},
    "spikingresformer": {"dim": (8, 16, 32), "depth": (1, 1, 1), "n_heads": (1, 2, 4), "group_size": 8, "neuron": "lif"},
}
SEEDS = {"poker": [0, 1, 2], "nmnist": [0]}
_EPOCHS = {"poker": 40, "nmnist": 20}
# These three had visibly not learnt Poker-DVS after 40 epochs: 69 to 94 % of the last batches they were trained on. Longer
# runs with a fifth of the training clips set aside mended that; 100 is what `training/real_sets.py` takes for this set.
_POKER_EPOCHS = {"semm": 100, "spikformer_v2": 100, "spikingresformer": 100}


def experiment_of(network: str, name: str) -> Experiment:
    """The experiment on set `name` (poker, nmnist) with another network in it, and the one recipe of the zoo."""
    base = EXPERIMENTS[name]
    shift = Augmentation(0.05, 0.05, 5.0, 0.1)
    epochs = _POKER_EPOCHS.get(network, _EPOCHS[name]) if name == "poker" else _EPOCHS[name]
    recipe = dataclasses.replace(base.recipe, epochs=epochs, learning_rate=2e-3, loss="mean", augmentation=shift)
    return dataclasses.replace(base, network=network, settings=SETTINGS[network], recipe=recipe)


def main() -> None:
    """Train and judge one network on both sets and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=[name for name in NETWORKS if name in SETTINGS])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds labelled/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    keep_freed_memory()
    network = arguments.network
    results = {
        name: run(name, experiment_of(network, name), arguments.data, seeds, f"python -m training.zoo {network}")
        for name, seeds in SEEDS.items()
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"zoo_{network}.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({name: result["accuracy_mean"] for name, result in results.items()}))


if __name__ == "__main__":
    main()
