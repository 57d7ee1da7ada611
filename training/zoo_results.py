"""The zoo's part of docs/results.md: what `python -m training.zoo NETWORK` left in benchmarks/results/zoo_*.json."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.registry import NETWORKS

_SETS = {"poker": "Poker-DVS", "nmnist": "N-MNIST"}

Result = dict[str, Any]


def zoo_rows(results: Path) -> Iterator[str]:
    """Table of every network that has been run, and what is to be said of it; nothing where none has."""
    found = {name: _read(path) for name in NETWORKS if (path := results / f"zoo_{name}.json").is_file()}
    if not found:
        return
    yield ""
    yield "## The zoo, small networks on real events"
    yield ""
    yield from _how(found)
    yield ""
    titles = ["network", "parameters"]
    for title in _SETS.values():
        titles += [f"{title}, mean", "each seed", "linear, same clips", "operations a bin", "estimated energy a bin"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name, sets in found.items():
        cells = [cell for key in _SETS for cell in _cells(sets.get(key))]
        yield f"| `{name}` | {_parameters(sets)} | {' | '.join(cells)} |"
    yield ""
    yield from _verdicts(found)
    for path in sorted(results.glob("zoo_*.json")):
        if path.stem.removeprefix("zoo_") not in NETWORKS:
            yield from _before(_read(path))


def _read(path: Path) -> dict[str, Result]:
    sets: dict[str, Result] = json.loads(path.read_text())
    return sets


def _how(found: dict[str, dict[str, Result]]) -> Iterator[str]:
    """The recipe, which is the same for all networks of a table but for how long some learn."""
    yield (
        "`python -m training.zoo NETWORK --data FOLDER` trains one network on both sets, by one recipe for all; settings of "
        "each network in `training/zoo.py`. Operations are additions that really flowed."
    )
    for key, result in next(iter(found.values())).items():
        settings = result["network"]
        width, height = settings["size"]
        yield (
            f"{_SETS.get(key, key)}: {result['n_train']} clips to train, {result['n_test']} judged, frames {width}x{height}, "
            f"{settings['n_time_bins']} bins of {settings['delta_t_us'] / 1000:g} ms, {_epochs(found, key)}."
        )


def _epochs(found: dict[str, dict[str, Result]], key: str) -> str:
    """How long the networks learnt a set, the commonest first: `40 epochs, 100 for sdt`."""
    names: dict[int, list[str]] = {}
    for name, sets in found.items():
        if key in sets:
            names.setdefault(sets[key]["runs"][0]["recipe"]["epochs"], []).append(f"`{name}`")
    common, *others = sorted(names, key=lambda n: -len(names[n]))
    return ", ".join([f"{common} epochs", *(f"{n} for {', '.join(names[n])}" for n in others)])


def _parameters(sets: dict[str, Result]) -> str:
    """Parameters of the networks of all sets, which differ by their number of classes."""
    return " / ".join(f"{result['runs'][0]['parameters']:,}" for key in _SETS if (result := sets.get(key)))


def _cells(result: Result | None) -> list[str]:
    if result is None:
        return ["-"] * 5
    runs = result["runs"]
    sops = statistics.mean(run["sops_per_bin"] for run in runs)
    energy = statistics.mean(run["energy_uj_per_bin_estimated"] for run in runs)
    spread = f" (spread {result['accuracy_spread']:.3f})" if len(runs) > 1 else ""
    each = ", ".join(f"{run['accuracy']:.3f}" for run in runs)
    linear = f"{result['linear_same_split']:.3f}"
    return [f"**{result['accuracy_mean']:.3f}**{spread}", each, linear, f"{sops / 1e6:.3f} M", f"{energy:.2f} uJ"]


def _verdicts(found: dict[str, dict[str, Result]]) -> Iterator[str]:
    """Who beats the linear yardstick, and who does not and by how much."""
    for key, title in _SETS.items():
        judged = {name: sets[key] for name, sets in found.items() if key in sets}
        behind = {name: result for name, result in judged.items() if result["accuracy_mean"] <= result["linear_same_split"]}
        if judged:
            n_ahead = len(judged) - len(behind)
            yield f"- {title}: {n_ahead} of {len(judged)} networks beat the linear yardstick on the same clips."
        for name, result in behind.items():
            mean, linear = result["accuracy_mean"], result["linear_same_split"]
            yield (
                f"- **`{name}` does not beat the linear yardstick on {title}**: {mean:.3f} against {linear:.3f}, "
                f"{(linear - mean) * 100:.1f} points behind."
            )


def _before(sets: dict[str, Result]) -> Iterator[str]:
    """A recipe that was scored on the same clips earlier: the reader shall see how often they were looked at."""
    for key, result in sets.items():
        recipe, settings = result["runs"][0]["recipe"], result["network"]
        pools = f" with pools {settings['pools']}" if "pools" in settings else ""
        yield (
            f"- Scored before on the same clips of {_SETS.get(key, key)}: `{settings['name']}`{pools}, "
            f"{recipe['epochs']} epochs: {result['accuracy_mean']:.3f} "
            f"(spread {result['accuracy_spread']:.3f}, seeds: {len(result['runs'])})."
        )
