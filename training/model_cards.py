"""Model cards of the shipped checkpoints: `python -m training.model_cards` writes models/weights/NAME.md from what each says.

Nothing is typed by hand but what a recogniser of simulated people cannot do.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.checkpoint import SHIPPED, CheckpointInfo, load_checkpoint
from pipeline.schema.messages import NOTHING
from training.eval import Evaluation, gestures_alone
from training.train import steps_of

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_LIMITS = """It has seen simulated people only, one at a time, upright, facing a camera that stands still, from the waist up,
hands within the picture. What it says of other scenes is noise, beyond what `nothing` filters out (a quiet scene, or an unsure
answer). It does not know who is seen and must not be used to decide over people. Gestures of your own: `saccade teach`,
`saccade train`."""


def card(path: Path) -> Iterator[str]:
    """The lines of one card."""
    network, info, name = load_checkpoint(str(path))
    n_parameters = sum(p.numel() for p in network.parameters())
    width, height = info.size
    yield f"# {path.stem}: `{name}`"
    yield ""
    yield (
        f"Spiking transformer `{info.network}`, {n_parameters:,} parameters, {path.stat().st_size / 1e6:.2f} MB. "
        f"Frames {width}x{height}, bins of {info.delta_t_us / 1000:g} ms, trained on windows of {info.n_time_bins}; runs as a "
        "stream, a decision every bin."
    )
    yield ""
    gestures = ", ".join(name for name in info.classes if name != NOTHING)
    learnt = ", learnt from scenes without a gesture" if NOTHING in info.classes else ""
    yield f"**Classes**: {gestures}; and `{NOTHING}`{learnt}, said of quiet scenes and unsure answers too."
    yield ""
    yield from _training(info)
    yield ""
    yield from _scores(info, name)
    yield ""
    yield f"**Limits.** {_LIMITS}"
    yield ""
    yield f"**Licence**: {info.licence}; the training data are our simulator's own."


def _training(info: CheckpointInfo) -> Iterator[str]:
    training, steps = info.training, steps_of(info.training)
    lengths = (f"{step['recipe']['epochs']} epochs of {step['n_clips']} clips of `{step['data']}`" for step in steps)
    yield (
        f"**Data and split**: {', then '.join(lengths)}, judged on `{training['split'].get('test', '')}`: other seeds, so "
        "other people, rooms and cameras, fixed before training. "
        f"Last epoch, seed {training['recipe']['seed']}, on {training['device']}, torch {training['torch']}:"
    )
    yield ""
    yield from (f"    saccade {step['command']}" for step in steps)


def _scores(info: CheckpointInfo, name: str) -> Iterator[str]:
    test = info.scores["test"]
    shown = gestures_alone(msgspec.convert(test, Evaluation))
    yield (
        f"**Scores**: {shown.accuracy:.3f} of {shown.n} simulated clips of unseen people; {test['sops'] / 1e6:.2f} M "
        f"operations and an estimated {test['energy_uj']:.2f} uJ a bin."
    )
    for line in _scored_on_real_clips(name):
        yield (
            f"Ten real clips of DVS128 Gesture: {line['clips']['correct']} of {line['clips']['n']} right, pieces of half a "
            f"second {line['pieces']['correct']} of {line['pieces']['n']}. They are of one person and were not a blind test; "
            "docs/results.md lists every version that was ever scored on them."
        )


def _scored_on_real_clips(name: str) -> list[dict[str, Any]]:
    path = _RESULTS / "real_clips.json"
    lines = json.loads(path.read_text()) if path.is_file() else []
    return [line for line in lines if line["network"] == name][-1:]


def main() -> None:
    """Write the card of each shipped checkpoint beside it."""
    for path in sorted(SHIPPED.glob("*.safetensors")):
        path.with_suffix(".md").write_text("\n".join(card(path)) + "\n")


if __name__ == "__main__":
    main()
