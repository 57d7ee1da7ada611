"""How well classes that a network never saw are learnt from 3, 5 and 10 examples, and what that costs the classes it knew.

`python benchmarks/teach.py --name poker --network CKPT --data FILE --taught diamond,spade
[--draws 50] [--cut-ms MS] [--flip-y] [--out FILE]`

CKPT was trained on other classes than --taught. In each draw the examples are drawn anew; what is left of the taught classes is
judged. The clips of the network's own classes are halved once: one half gives the windows that stand beside a checkpoint as
rivals (`saccade teach --own`), the other is judged before and after the lessons, and must be turned away by the taught classes.
The background that the limit is set by is half of what is neither own nor taught (drawn anew), where there is such; the rest of
that is judged as foreign. `--without-own` leaves the rivals out, and takes its background from the first half of the own clips.
The yardstick is the nearest neighbour on count images of the very same examples. JSON, by name, into --out.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from provenance import commit

from app.bench.timing import describe_machine
from models.checkpoint import load_checkpoint
from models.features import answers_of, tap, windows_of
from models.own import own_classes
from models.prototypes import ClassExamples, Prototypes, learn
from models.taught import MOST_BACKGROUND, MOST_VECTORS, thin
from training.data import Binning, ClipSet, load_clips
from training.real_sets import flip_y

_SHOTS = (3, 5, 10)
_BACKGROUND_CLIPS = 16

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Scenes:
    """All clips as they are judged: features of their windows, own probabilities (of whole clips), count images, labels.

    `own` maps labels to places among the network's classes; rows of own clips are `shown` (first half) or `judged`.
    """

    windows: list[Values]
    opinions: Values
    images: Values
    labels: Rows
    own: dict[int, int]
    shown: Rows
    judged: Rows
    rivals: tuple[ClassExamples, ...]


def image_of(counts: Any) -> Values:
    """log(1 + events) of the whole clip at each pixel and polarity, as a unit vector."""
    image = np.log1p(counts.sum(axis=0, dtype=np.float64)).ravel()
    return image / max(float(np.linalg.norm(image)), 1e-12)


def look_at(network: Any, classes: Sequence[str], n_time_bins: int, clips: ClipSet, has_rivals: bool) -> Scenes:
    """Everything that the draws need, looked at once."""
    tapped = tap(network)
    answers = [answers_of(network, counts) for counts in clips.counts]
    windows = [windows_of(tapped, of_clip, n_time_bins) for of_clip in answers]
    opinions = np.stack([of_clip[:, : -tapped.n_features].mean(dim=0).softmax(dim=0).numpy() for of_clip in answers])
    images = np.stack([image_of(counts) for counts in clips.counts])
    own = {clips.classes.index(name): place for place, name in enumerate(classes) if name in clips.classes}
    rows = np.random.default_rng(len(clips)).permutation(np.flatnonzero(np.isin(clips.labels, list(own))))
    shown, judged = np.array_split(rows, 2)
    of_class = [(clips.classes[k], [windows[i] for i in shown if clips.labels[i] == k]) for k in own]
    rivals = own_classes(of_class) if has_rivals else ()
    return Scenes(windows, opinions, images, clips.labels, own, shown, judged, rivals)


def one_draw(scenes: Scenes, taught: Sequence[int], n_shots: int, seed: int) -> dict[str, float]:
    """Accuracies and rejection of one draw of examples."""
    rng = np.random.default_rng((seed, n_shots))
    shown = [rng.permutation(np.flatnonzero(scenes.labels == label)) for label in taught]
    foreign = rng.permutation(np.flatnonzero(~np.isin(scenes.labels, [*taught, *scenes.own])))
    background, strange = np.array_split(foreign, 2)
    if not background.size:
        background = rng.permutation(scenes.shown)[:_BACKGROUND_CLIPS]
    classes = []
    for label, rows in zip(taught, shown, strict=True):
        pieces = [thin(scenes.windows[i], MOST_VECTORS) for i in rows[:n_shots]]
        example = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        classes.append(ClassExamples(str(label), np.concatenate(pieces), example))
    scenery = thin(np.concatenate([scenes.windows[i] for i in background]), MOST_BACKGROUND)
    prototypes = learn(classes, scenery, scenes.rivals)
    found = judge_taught(scenes, prototypes, shown, n_shots) | judge_others(scenes, prototypes, strange)
    return {name: float(np.mean(values)) for name, values in found.items()}


def judge_taught(scenes: Scenes, prototypes: Prototypes, shown: list[Rows], n_shots: int) -> dict[str, list[bool]]:
    """Which of the clips that were not shown are right, of the taught classes (and accepted), and by the yardstick."""
    examples = np.concatenate([rows[:n_shots] for rows in shown])
    of_example = np.repeat(np.arange(len(shown)), n_shots)
    found: dict[str, list[bool]] = {"accuracy": [], "accuracy_accepted": [], "nearest_image": []}
    for k, rows in enumerate(shown):
        for i in rows[n_shots:]:
            scores = prototypes.scores(scenes.windows[i]).mean(axis=0)
            found["accuracy"].append(int(scores.argmax()) == k)
            found["accuracy_accepted"].append(int(scores.argmax()) == k and scores.sum() > 0.5)
            found["nearest_image"].append(int(of_example[(scenes.images[examples] @ scenes.images[i]).argmax()]) == k)
    return found


def judge_others(scenes: Scenes, prototypes: Prototypes, strange: Rows) -> dict[str, list[bool]]:
    """Which own clips are right before and after, and which clips of other classes are turned away; own ones where none is."""
    found: dict[str, list[bool]] = {"own_before": [], "own_after": [], "foreign_rejected": []}
    for i in scenes.judged:
        near, opinion = prototypes.scores(scenes.windows[i]).mean(axis=0), scenes.opinions[i]
        place = scenes.own[int(scenes.labels[i])]
        found["own_before"].append(int(opinion.argmax()) == place)
        found["own_after"].append(int(np.concatenate([(1 - near.sum()) * opinion, near]).argmax()) == place)
    for i in strange if strange.size else scenes.judged:
        found["foreign_rejected"].append(bool(prototypes.scores(scenes.windows[i]).mean(axis=0).sum() <= 0.5))
    return found


def measure(checkpoint: str, clips: ClipSet, taught: Sequence[str], n_draws: int, has_rivals: bool) -> dict[str, Any]:
    """Mean and standard deviation over draws, for each number of examples; every taught class needs more clips than that."""
    network, info, name = load_checkpoint(checkpoint)
    known = sorted(set(taught) & set(info.classes))
    assert not known, f"{checkpoint} was trained on {known}"
    scenes = look_at(network.float(), info.classes, info.n_time_bins, clips, has_rivals)
    indices = [clips.classes.index(label) for label in taught]
    fewest = min(int(np.sum(clips.labels == label)) for label in indices)
    shots = {}
    for n_shots in (n for n in _SHOTS if n < fewest):
        draws = [one_draw(scenes, indices, n_shots, seed) for seed in range(n_draws)]
        values = {key: np.array([draw[key] for draw in draws]) for key in draws[0]}
        shots[str(n_shots)] = {
            key: {"mean": round(float(v.mean()), 4), "std": round(float(v.std()), 4)} for key, v in values.items()
        }
    rivals = "own classes" if has_rivals else "none"
    told = {"network": name, "trained_on": info.classes, "taught": list(taught), "rivals": rivals}
    return {**told, "n_clips": len(clips), "n_own_judged": len(scenes.judged), "shots": shots}


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
    parser.add_argument("--without-own", action="store_true")
    parser.add_argument("--cut-ms", type=int, help="cut recordings into clips so long")
    parser.add_argument("--flip-y", action="store_true", help="the data's y grows upwards, other than the network's")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/teach.json"))
    arguments = parser.parse_args()
    _, info, _ = load_checkpoint(arguments.network)
    cut_us = None if arguments.cut_ms is None else arguments.cut_ms * 1000
    clips = load_clips(arguments.data, Binning(info.delta_t_us, info.size, info.n_time_bins, cut_us=cut_us))
    if arguments.flip_y:
        clips = flip_y(clips)
    result = measure(arguments.network, clips, arguments.taught.split(","), arguments.draws, not arguments.without_own)
    # where files lay on the machine that trained says nothing to a reader
    training = re.sub(r"(?<=\s)/\S*/", "", info.training.get("command", ""))
    told = {"draws": arguments.draws, "training": training, "machine": describe_machine(), "commit": commit()}
    keep(arguments.out, arguments.name, {**result, **told})
    print(json.dumps(result["shots"], indent=1))


if __name__ == "__main__":
    main()
