"""Writes docs/results.md from the figures that the committed commands left: `python -m training.results > docs/results.md`.

Nothing is typed by hand: real sets from benchmarks/results/real_*.json, the zoo from zoo_*.json, the shipped recogniser from
its own checkpoint.
"""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.checkpoint import CheckpointInfo, find_checkpoint, read_info
from pipeline.schema.messages import NOTHING
from training.comparison_results import ablation_rows, real_clip_rows, side_rows
from training.decision_results import decision_rows
from training.eval import Evaluation, gestures_alone
from training.speeds import decode_rows, memory_rows
from training.train import steps_of
from training.zoo_results import zoo_rows

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_TITLES = {
    "poker": "Poker-DVS (4 card symbols, 35x35)",
    "nmnist": "N-MNIST, 849 clips (10 digits, 34x34)",
    "objects": "DVS128 objects across sessions (5 objects, 128x128)",
}

_HEAD = """# Results

Written by `python -m training.results` from the files that the commands below leave. Every figure is of the **last
epoch**, on a split fixed before training. The yardstick is logistic regression on log event-count images, fitted and judged
on the very same clips (`training/yardstick.py`), beside the one of the data's own manifest, whose held-out part we do not have.
Energy is estimated from counted operations (0.9 pJ an addition, 4.6 pJ a multiply-accumulate of the first layer, 45 nm).
"""


def real_rows() -> Iterator[str]:
    """Table of the real sets that have been run."""
    yield "## Real events, Spikformer + TIM"
    yield ""
    titles = ["set", "clips, train / judged", "accuracy, mean", "each seed", "linear, same clips", "linear, manifest"]
    titles += ["operations a bin", "estimated energy a bin"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name, title in _TITLES.items():
        path = _RESULTS / f"real_{name}.json"
        if path.is_file():
            yield _row(title, json.loads(path.read_text()))
    yield ""
    for name in _TITLES:
        path = _RESULTS / f"real_{name}.json"
        if path.is_file():
            yield _how(json.loads(path.read_text()))
    for path in sorted(_RESULTS.glob("real_*_*.json")):
        yield _before(json.loads(path.read_text()))
    yield ""


def _before(result: dict[str, Any]) -> str:
    """A recipe that was scored on the same clips earlier: the reader shall see how often they were looked at."""
    recipe, settings = result["runs"][0]["recipe"], result["network"]
    clipping = f"gradients clipped at {recipe['clip_norm']:g}" if "clip_norm" in recipe else "gradients not clipped"
    return (
        f"- Scored before on the same clips of {result['set']}: {settings['n_time_bins']} bins of "
        f"{settings['delta_t_us'] / 1000:g} ms, {recipe['epochs']} epochs, {clipping}, rotation up to "
        f"{recipe['augmentation']['rotation_deg']:g} degrees: {result['accuracy_mean']:.3f} "
        f"(spread {result['accuracy_spread']:.3f}, {len(result['runs'])} seeds)."
    )


def _how(result: dict[str, Any]) -> str:
    settings, first = result["network"], result["runs"][0]
    minutes = sum(run["train_seconds"] for run in result["runs"]) / 60
    width, height = settings["size"]
    behind = (
        ""
        if result["accuracy_mean"] > result["linear_same_split"]
        else " **The linear yardstick does better on the same clips.**"
    )
    return (
        f"- `{result['command']} --data FOLDER`: dim {settings['dim']}, {settings['n_heads']} heads, frames {width}x{height}, "
        f"{settings['n_time_bins']} bins of {settings['delta_t_us'] / 1000:g} ms, {first['parameters']:,} parameters, "
        f"{first['recipe']['epochs']} epochs; {minutes:.0f} minutes for all seeds, one thread of a busy 2-core "
        f"{result['machine']['processor']} machine, {result['date']}.{behind}"
    )


def _row(title: str, result: dict[str, Any]) -> str:
    runs = result["runs"]
    each = ", ".join(f"{run['accuracy']:.3f}" for run in runs)
    mean, spread = result["accuracy_mean"], result["accuracy_spread"]
    sops = sum(run["sops_per_bin"] for run in runs) / len(runs)
    energy = sum(run["energy_uj_per_bin_estimated"] for run in runs) / len(runs)
    return (
        f"| {title} | {result['n_train']} / {result['n_test']} | **{mean:.3f}** (spread {spread:.3f}) | {each} | "
        f"{result['linear_same_split']:.3f} | {result['linear_manifest']} | {sops / 1e6:.2f} M | {energy:.2f} uJ |"
    )


def shipped_rows(info: CheckpointInfo) -> Iterator[str]:
    """What the shipped recogniser scored on people it never saw."""
    test, steps = info.scores["test"], steps_of(info.training)
    shown = gestures_alone(msgspec.convert(test, Evaluation))
    yield "## The shipped recogniser, on simulated people it never saw"
    yield ""
    yield (
        f"**{shown.accuracy:.3f}** ({shown.correct} of {shown.n} clips of 1.5 s; one seed), "
        f"{test['sops'] / 1e6:.2f} M operations and {test['energy_uj']:.2f} uJ a bin of {info.delta_t_us / 1000:g} ms. "
        f"Trained on {', then on '.join(_length(step) for step in steps)} by `make checkpoint`:"
    )
    yield ""
    yield from (f"    saccade {step['command']}" for step in steps)
    yield ""
    if shown.n != test["n"]:
        n_quiet, n_right = test["n"] - shown.n, test["correct"] - shown.correct
        yield f"Of {n_quiet} clips in which nobody does a gesture, {n_right} were answered `{NOTHING}`."
        yield ""
    yield "| shown \\ answered | " + " | ".join(info.classes) + " |"
    yield "|---" * (len(info.classes) + 1) + "|"
    for name, row in zip(info.classes, test["confusion"], strict=True):
        yield f"| {name} | " + " | ".join(str(count) for count in row) + " |"
    yield ""
    yield (
        "Judge it on people of your own choosing: `saccade evaluate default 'synthetic:gestures?clips=600&seed=7000000'`. "
        "It has seen simulation only: these figures say nothing about real people."
    )


def _length(step: dict[str, Any]) -> str:
    return f"{step['n_clips']} simulated clips for {step['recipe']['epochs']} epochs"


def stream_rows() -> Iterator[str]:
    """What a user waits for, as `benchmarks/stream.py` measured it."""
    path = _RESULTS / "stream.json"
    if not path.is_file():
        return
    result = json.loads(path.read_text())
    latency, machine = result["latency_ms"]["total"], result["machine"]
    yield ""
    yield "## The stream, shipped recording and recogniser"
    yield ""
    first_s = statistics.median(result["first_label_s"])
    pace = statistics.median(result["host_time_over_sensor_time"])
    yield f"`python benchmarks/stream.py --out benchmarks/results/stream.json`, {machine['cores']} cores, {result['date']}:"
    yield ""
    yield f"- first label {first_s:.1f} s after the command was typed;"
    yield f"- host time over sensor time at speed 1: {pace:.4f};"
    yield (
        f"- from bin closed to label published {latency['p50']:.1f} ms (median), {latency['p99']:.1f} ms (99th percentile), "
        f"bins of {result['bin_ms']:g} ms;"
    )
    yield f"- {result['bins_a_second_at_max']:.0f} bins a second at `--speed max`, none missing."


def main() -> None:
    """Print the page."""
    print(_HEAD)
    print("\n".join(real_rows()))
    print("\n".join(shipped_rows(read_info(find_checkpoint("default")))))
    print("\n".join(real_clip_rows(_RESULTS)))
    print("\n".join(ablation_rows(_RESULTS)))
    print("\n".join(decision_rows(_RESULTS)))
    print("\n".join(side_rows(_RESULTS)))
    print("\n".join(zoo_rows(_RESULTS)))
    print("\n".join(stream_rows()))
    print("\n".join(decode_rows(_RESULTS)))
    print("\n".join(memory_rows(_RESULTS)))


if __name__ == "__main__":
    main()
