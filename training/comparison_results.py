"""Further parts of docs/results.md: networks side by side on real sets, and the versions scored on real clips of gestures."""

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SETS = {
    "poker": "Poker-DVS (aim 0.99)",
    "nmnist": "N-MNIST, 849 clips (aim 0.95)",
    "mnistdvs": "MNIST-DVS, 80 clips (aim above 0.85)",
    "objects": "DVS128 objects across sessions (aim above 0.761)",
}
_ROWS = ("spikformer", "tim", "qkformer", "spikingresformer", "default")

Result = dict[str, Any]


def side_rows(results: Path) -> Iterator[str]:
    """A table for each set that has been run: one recipe, one split, three seeds, every network of the comparison."""
    found = {key: _read_set(results, key) for key in _SETS}
    if not any(found.values()):
        return
    yield ""
    yield "## Networks side by side on real events"
    yield ""
    yield (
        "`python -m training.comparison SET NETWORK --data FOLDER`; `default` has the shipped recogniser's shape and surrogate "
        "gradient. The recipe of a set is the same for all networks, and was set before the first run on the judged clips."
    )
    for key, rows in found.items():
        if rows:
            yield ""
            yield from _table(_SETS[key], rows)
            yield from _before(results, key)


def _read_set(results: Path, key: str) -> dict[str, Result]:
    paths = {name: results / f"side_{key}_{name}.json" for name in _ROWS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}


def _table(title: str, rows: dict[str, Result]) -> Iterator[str]:
    first = next(iter(rows.values()))
    recipe = first["runs"][0]["recipe"]
    yield (
        f"**{title}**: {first['n_train']} clips to train, {first['n_test']} judged, {recipe['epochs']} epochs; linear "
        f"yardstick on the same clips {first['linear_same_split']:.3f}, manifest's: {first['linear_manifest']}."
    )
    yield ""
    titles = ["network", "parameters", "accuracy, mean", "spread", "each seed", "operations a bin", "estimated energy a bin"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name, result in rows.items():
        runs = result["runs"]
        each = ", ".join(f"{run['accuracy']:.3f}" for run in runs)
        sops = statistics.mean(run["sops_per_bin"] for run in runs)
        energy = statistics.mean(run["energy_uj_per_bin_estimated"] for run in runs)
        scored = f"**{result['accuracy_mean']:.3f}** | {result['accuracy_spread']:.3f} | {each}"
        yield (f"| `{name}` | {runs[0]['parameters']:,} | {scored} | {sops / 1e6:.3f} M | {energy:.2f} uJ |")


def _before(results: Path, key: str) -> Iterator[str]:
    """What was scored on the same clips earlier, in another way: the reader shall see how often they were looked at."""
    for path in sorted(results.glob(f"side_{key}_*_before.json")):
        result = json.loads(path.read_text())
        runs, lif = result["runs"], result["network"].get("lif", {})
        yield ""
        yield (
            f"Scored before on the same clips: `{result['row']}` with alpha {lif.get('alpha', 4.0):g}, "
            f"{runs[0]['recipe']['epochs']} epochs: {result['accuracy_mean']:.3f} "
            f"(spread {result['accuracy_spread']:.3f}, {len(runs)} seeds)."
        )


def ablation_rows(results: Path) -> Iterator[str]:
    """What each part of the simulator's variation is worth, by leaving it out of the training clips."""
    path = results / "ablation.json"
    if not path.is_file():
        return
    result = json.loads(path.read_text())
    rows = result["accuracy_without"]
    whole, n_judged = rows["nothing"]["mean"], result["n_test"] * len(result["seeds"])
    error = math.sqrt(2.0 * whole * (1.0 - whole) / n_judged)
    n_clear = sum(abs(row["mean"] - whole) > 2.0 * error for row in rows.values())
    yield ""
    yield "## What in the simulator matters"
    yield ""
    yield (
        f"`{result['command']}`: a small network trained on {result['n_train']} clips, judged on {result['n_test']} clips with "
        f"everything varied, of people it never saw; seeds {', '.join(map(str, result['seeds']))}. The number of "
        f"judged clips alone makes a difference vary by {error:.3f} (standard error): {n_clear or 'none'} of the "
        f"{len(rows) - 1} parts changed the accuracy by more than twice that."
    )
    yield ""
    yield "| left out of the training clips | accuracy | each seed | difference |"
    yield "|---|---|---|---|"
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["mean"]):
        each = ", ".join(f"{score:.3f}" for score in row["each"])
        yield f"| {name} | {row['mean']:.3f} | {each} | {row['mean'] - whole:+.3f} |"


def real_clip_rows(results: Path) -> Iterator[str]:
    """Every version of a recogniser that was ever scored on the ten real clips, in order."""
    path = results / "real_clips.json"
    if not path.is_file():
        return
    lines = json.loads(path.read_text())
    yield ""
    yield "## Trained on simulation, before real people"
    yield ""
    yield (
        "Ten clips of DVS128 Gesture (one of each class but `other_gestures`, one person, 1.45 s), never trained on: "
        "`python -m training.real_clips CKPT --data FOLDER --version NAME`. All versions ever scored are listed, "
        f"{len(lines)} so far. While the simulator was built its author saw pictures of these clips in the order of their "
        "classes (docs/simulator.md says what came of it), so they are not a blind test; and ten clips of one person are few."
    )
    yield ""
    titles = ["version", "date", "network", "clips right", "pieces of 0.5 s right", "clips answered otherwise"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for line in lines:
        wrong = "; ".join(f"{shown} as {said}" for shown, said in line["answers"].items() if shown != said) or "none"
        clips, pieces = line["clips"], line["pieces"]
        yield (
            f"| {line['version']} | {line['date']} | `{line['network']}` | **{clips['correct']} of {clips['n']}** | "
            f"{pieces['correct']} of {pieces['n']} | {wrong} |"
        )
