"""What in the simulator matters? `python -m training.ablation [--clips 352] [--epochs 27] [--seeds 0]`.

One small network is trained on clips with everything varied, and once more without each part of the variation; all are judged
on the same clips with everything varied, of people that none has seen. Writes benchmarks/results/ablation.json; docs/results.md
has the table. It says what helps within the simulator, not what real cameras need.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from pipeline.schema.clock import wall_clock
from pipeline.simulator import Variation
from training.cache import ClipCache
from training.data import Binning, ClipSet, load_clips
from training.eval import evaluate
from training.memory import keep_freed_memory
from training.recipes import Recipe
from training.train import train_checkpoint

_BINNING = Binning(delta_t_us=50_000, size=(32, 32), n_time_bins=12)
_SETTINGS: dict[str, Any] = {
    "dim": 64,
    "depth": 2,
    "n_heads": 4,
    "pools": "1110",
    "lif": {"detach_membrane": False, "alpha": 2.0},
}
# What the shipped recognisers learnt with, but shorter; the same people as theirs, so that their clips serve here too.
_RECIPE = Recipe(epochs=27, batch=16, learning_rate=1.5e-3, loss="mean")
_TRAIN_SEED, _TEST_SEED, _TEST_CLIPS = 0, 500_000, 440


def measure(n_clips: int, recipe: Recipe, seeds: list[int], cache: ClipCache) -> dict[str, Any]:
    """Accuracy with everything varied, and without each part."""
    test = load_clips(f"synthetic:gestures?clips={_TEST_CLIPS}&seed={_TEST_SEED}", _BINNING, cache=cache)
    rows = {}
    for part in ("", *(field.name for field in dataclasses.fields(Variation))):
        without = f"&without={part}" if part else ""
        train = load_clips(f"synthetic:gestures?clips={n_clips}&seed={_TRAIN_SEED}{without}", _BINNING, cache=cache)
        scores = [_score(train, test, dataclasses.replace(recipe, seed=seed)) for seed in seeds]
        rows[part or "nothing"] = {"mean": statistics.mean(scores), "each": scores}
        print(json.dumps({"without": part or "nothing", "scores": scores}), file=sys.stderr, flush=True)
    return rows


def _score(train: ClipSet, test: ClipSet, recipe: Recipe) -> float:
    network, info = train_checkpoint("tim", _SETTINGS, train, _BINNING, recipe, lambda _: None)
    return evaluate(network, test, info.n_time_bins).accuracy


def main() -> None:
    """Train, judge and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=352)
    parser.add_argument("--epochs", type=int, default=_RECIPE.epochs)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    keep_freed_memory()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    recipe = dataclasses.replace(_RECIPE, epochs=arguments.epochs)
    rows = measure(arguments.clips, recipe, seeds, ClipCache())
    result = {
        "n_train": arguments.clips,
        "n_test": _TEST_CLIPS,
        "epochs": recipe.epochs,
        "seeds": seeds,
        "accuracy_without": rows,
        "date": wall_clock().date().isoformat(),
        "command": f"python -m training.ablation --clips {arguments.clips} --epochs {recipe.epochs} --seeds {arguments.seeds}",
    }
    (arguments.out / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: row["mean"] for name, row in rows.items()}))


if __name__ == "__main__":
    main()
