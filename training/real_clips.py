"""A recogniser of simulated gestures before real people: `python -m training.real_clips CKPT --data FOLDER --version NAME`.

Scores the ten clips of DVS128 Gesture whole and in pieces of half a second. Every run adds its line to
benchmarks/results/real_clips.json, better or worse, and docs/results.md lists all: the reader sees how often was looked.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoint import load_checkpoint
from pipeline.schema.clock import wall_clock
from training.data import Binning, load_clips
from training.eval import Evaluation, evaluate

CLIPS = "labelled/dvs128_gesture_10clips/dvs128_gesture_first_1s.npz"
_PIECE_US = 500_000
_DEFAULT_OUT = Path("benchmarks/results/real_clips.json")


def score(checkpoint: str, clips: Path) -> dict[str, Any]:
    """Top-1 of whole clips (mean over windows of T bins, each from rest) and of pieces (one window of all their bins)."""
    network, info, name = load_checkpoint(checkpoint)
    binning = Binning(info.delta_t_us, info.size, info.n_time_bins)
    whole = load_clips(str(clips), binning).with_classes(info.classes)
    pieces = load_clips(str(clips), replace(binning, cut_us=_PIECE_US)).with_classes(info.classes)
    by_clip = evaluate(network, whole, info.n_time_bins)
    by_piece = evaluate(network, pieces, _PIECE_US // info.delta_t_us)
    return {
        "network": name,
        "clips": _told(by_clip),
        "pieces": _told(by_piece),
        "answers": {info.classes[i]: _answer(info.classes, row) for i, row in enumerate(by_clip.confusion) if sum(row)},
    }


def _told(result: Evaluation) -> dict[str, Any]:
    return {"correct": result.correct, "n": result.n, "accuracy": round(result.accuracy, 4)}


def _answer(classes: list[str], row: list[int]) -> str:
    return ", ".join(classes[i] for i, n in enumerate(row) for _ in range(n))


def add_version(path: Path, line: dict[str, Any]) -> None:
    """Write `line` behind what was scored before."""
    lines = json.loads(path.read_text()) if path.is_file() else []
    path.write_text(json.dumps([*lines, line], indent=1) + "\n")


def main() -> None:
    """Score one checkpoint and keep what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds labelled/")
    parser.add_argument("--version", required=True, help="what is new in this one, in a few words")
    parser.add_argument("--out", type=Path, default=_DEFAULT_OUT)
    arguments = parser.parse_args()
    found = score(arguments.checkpoint, arguments.data / CLIPS)
    line = {"version": arguments.version, "date": wall_clock().date().isoformat(), **found}
    add_version(arguments.out, line)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
