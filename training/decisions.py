"""Time to decision and false alarms: `python -m training.decisions CKPT DATA [--clips 60] [--seconds 20] [--scenes 3]`.

Accuracy against milliseconds seen, for both readouts; when the decision layer gives a stable label and whether it is right;
false labels a minute on quiet and foreign scenes of the simulator. Writes benchmarks/results/decisions_NAME.json and
docs/images/decisions_NAME.svg; docs/results.md has the table.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import torch

from models.checkpoint import load_checkpoint
from models.recogniser import Readout, StreamRecogniser
from pipeline import simulator
from pipeline.binning import bin_events
from pipeline.decision import make_decision_settings
from pipeline.schema.clock import US_PER_S, wall_clock
from pipeline.schema.events import Events, SensorSize
from pipeline.schema.messages import NOTHING
from training.cache import ClipCache
from training.data import Binning, ClipSet, load_clips
from training.judging import Answers, accuracy_over_time, answer_clip, answer_clips, count_alarms, decision_times

READOUTS: tuple[Readout, ...] = get_args(Readout)
# What the program does unless told otherwise: `saccade replay` and the daemon.
_THRESHOLD, _HOLD_US = 0.5, 30_000
# People of these scenes were never trained on, whatever the recipe.
_FIRST_SEED = 90_000_000
_CHOICE_SEED = 0
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 340, 60, 50, 20
_COLOURS = {"window": "#b33", "running": "#2a6fbb"}

Scene = Callable[[int, int], Events]


def scenes() -> dict[str, Scene]:
    """Scenes without any gesture of the classes, by name; each gives the events of (seed, duration_us)."""
    return {"quiet": _quiet, **{kind: partial(_foreign, kind) for kind in simulator.FOREIGN_SCENES}}


def _quiet(seed: int, duration_us: int) -> Events:
    return simulator.simulate_quiet(seed, duration_us=duration_us)


def _foreign(kind: str, seed: int, duration_us: int) -> Events:
    return simulator.simulate_foreign(kind, seed, duration_us=duration_us)


def judge_clips(checkpoint: str, clips: ClipSet) -> dict[str, Any]:
    """Curves and decision times of each readout on labelled clips."""
    network, info, name = load_checkpoint(checkpoint)
    longest = max(counts.shape[0] for counts in clips.counts)
    found: dict[str, Any] = {}
    for readout in READOUTS:
        recogniser = StreamRecogniser(network.float(), info, name, readout)
        settings = make_decision_settings(recogniser.info, _THRESHOLD, _HOLD_US)
        answers = list(answer_clips(recogniser, clips, settings))
        shown = [i for i, label in enumerate(clips.labels) if clips.classes[label] != NOTHING]
        decided = decision_times([answers[i] for i in shown], clips.labels[shown], info.delta_t_us)
        found[readout] = {
            "accuracy": [round(share, 4) for share in accuracy_over_time(answers, clips.labels, longest)],
            "decisions": msgspec.to_builtins(decided),
        }
    return found


def judge_scenes(checkpoint: str, n_scenes: int, duration_us: int) -> dict[str, Any]:
    """False alarms of the running readout in each kind of scene."""
    network, info, name = load_checkpoint(checkpoint)
    recogniser = StreamRecogniser(network.float(), info, name)
    settings = make_decision_settings(recogniser.info, _THRESHOLD, _HOLD_US)

    def answers(scene: Scene) -> Iterator[Answers]:
        for seed in range(_FIRST_SEED, _FIRST_SEED + n_scenes):
            counts, _ = bin_events(scene(seed, duration_us), simulator.DVS128, SensorSize(*info.size), info.delta_t_us)
            yield answer_clip(recogniser, counts, settings)

    alarms = {kind: count_alarms(answers(scene), info.classes, info.delta_t_us) for kind, scene in scenes().items()}
    return {kind: msgspec.to_builtins(found) for kind, found in alarms.items()}


def draw(curves: dict[str, Any], delta_t_us: int) -> str:
    """Accuracy against milliseconds seen as SVG, a line for each readout."""
    longest_ms = max(len(found["accuracy"]) for found in curves.values()) * delta_t_us / 1000

    def place(ms: float, share: float) -> str:
        x = _LEFT + ms / longest_ms * (_WIDTH - _LEFT - 20)
        return f"{x:.1f},{_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP):.1f}"

    def level(share: float) -> str:
        left, y = place(0, share).split(",")
        return (
            f'<line x1="{left}" y1="{y}" x2="{_WIDTH - 20}" y2="{y}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{share:.2f}</text>'
        )

    body = "".join(level(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    for i, (readout, found) in enumerate(curves.items()):
        points = " ".join(place((k + 1) * delta_t_us / 1000, share) for k, share in enumerate(found["accuracy"]))
        colour = _COLOURS[readout]
        body += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        body += (
            f'<text x="{_WIDTH - 30}" y="{_HEIGHT - _BOTTOM - 12 - 16 * i}" text-anchor="end" fill="{colour}">{readout}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>{body}'
        f'<text x="{_LEFT}" y="{_HEIGHT - 30}">0</text>'
        f'<text x="{_WIDTH - 20}" y="{_HEIGHT - 30}" text-anchor="end">{longest_ms:g} ms seen</text>'
        f'<text x="{_LEFT}" y="14">accuracy of the highest score</text></svg>\n'
    )


def choose(clips: ClipSet, n: int) -> ClipSet:
    """At most `n` clips, drawn by a fixed seed."""
    rows = np.random.default_rng(_CHOICE_SEED).permutation(len(clips))[:n]
    return clips.take(sorted(int(row) for row in rows))


def main() -> None:
    """Judge one checkpoint and keep the figures and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data")
    parser.add_argument("--name", default="", help="of the results, unless that of the checkpoint")
    parser.add_argument("--clips", type=int, default=200, help="at most so many, drawn by a fixed seed")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each scene")
    parser.add_argument("--scenes", type=int, default=3, help="of each kind; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    info = load_checkpoint(arguments.checkpoint)[1]
    binning = Binning(info.delta_t_us, info.size, info.n_time_bins)
    clips = choose(load_clips(arguments.data, binning, cache=ClipCache()).with_classes(info.classes), arguments.clips)
    curves = judge_clips(arguments.checkpoint, clips)
    duration_us = round(arguments.seconds * US_PER_S)
    name = arguments.name or Path(arguments.checkpoint).stem
    result = {
        "checkpoint": name,
        "network": info.network,
        "data": arguments.data,
        "n_clips": len(clips),
        "delta_t_us": info.delta_t_us,
        "trained_scenes": sorted(set(simulator.NOTHING_SCENES)) if NOTHING in info.classes else [],
        "settings": {"threshold": _THRESHOLD, "hold_us": _HOLD_US},
        "readouts": curves,
        "alarms": judge_scenes(arguments.checkpoint, arguments.scenes, duration_us) if arguments.scenes else {},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": str(torch.__version__)},
        "date": wall_clock().date().isoformat(),
        "command": f"python -m training.decisions {name} '{arguments.data}' --clips {arguments.clips} "
        f"--seconds {arguments.seconds:g} --scenes {arguments.scenes}",
    }
    for folder in (arguments.out, arguments.pictures):
        folder.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"decisions_{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.pictures / f"decisions_{name}.svg").write_text(draw(curves, info.delta_t_us))
    print(json.dumps({"alarms": result["alarms"], **{key: curves[key]["decisions"] for key in curves}}))


if __name__ == "__main__":
    main()
