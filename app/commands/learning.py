"""Commands that learn and judge: train, evaluate, zoo. torch is imported inside."""

import json as json_module
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from app.reading import AS_IT_IS, Reading, open_part
from app.settings import read_settings, read_size
from app.source_options import ReadingFlags
from pipeline.schema.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from training.data import Binning, ClipSet, OpenSource
    from training.eval import Evaluation, LayerCost
    from training.train import Recipe


@dataclass(frozen=True)
class DataOptions:
    """How recordings become clips, and which clips are judged.

    Parameters
    ----------
    test
        Judged data of its own; without it a share of the recordings is set aside before training.
    holdout
        Share of each class's recordings set aside for judging.
    split_seed
        Seed of that draw, independent of the training's.
    classes
        Only these classes, separated by commas.
    delta_t
        Duration of one time bin.
    bins
        Time bins of one window, T.
    size
        Width x height of the frames the network sees.
    cut
        Cut recordings into clips of this duration.
    """

    test: str | None = None
    holdout: float = 0.2
    split_seed: int = 0
    classes: str | None = None
    delta_t: str = "25ms"
    bins: int = 16
    size: str = "64x64"
    cut: str | None = None


@dataclass(frozen=True)
class RecipeOptions:
    """How the network is trained.

    Parameters
    ----------
    epochs
        Passes over the training clips.
    batch
        Clips of one step.
    rate
        Largest learning rate.
    loss
        Cross-entropy of every bin (tet) or of the mean (mean).
    augmentation
        Small shifts, scalings, rotations and losses of events (mild), or none.
    seed
        Seed of weights, order and augmentation.
    log
        JSON lines of every step.
    """

    epochs: int = 30
    batch: int = 16
    rate: float = 1e-3
    loss: Literal["tet", "mean"] = "tet"
    augmentation: Literal["mild", "none"] = "mild"
    seed: int = 0
    log: Path | None = None


@dataclass(frozen=True)
class EnergyOptions:
    """How energy is estimated, and whether layer by layer.

    Parameters
    ----------
    energy
        Show what each layer costs.
    energy_rule
        Additions, and multiply-accumulates of layers that see numbers (spikformer), or additions alone, without those of the
        classifier (spikingresformer).
    """

    energy: bool = False
    energy_rule: Literal["spikformer", "spikingresformer"] = "spikformer"


_ENERGY_OPTIONS = EnergyOptions()
_DATA_OPTIONS = DataOptions()
_RECIPE_OPTIONS = RecipeOptions()


def train(  # noqa: PLR0913 # each is a flag of the command, or a set of them
    data: str,
    *,
    out: Path,
    network: str = "tim",
    setting: Annotated[list[str] | None, Parameter(name="--set")] = None,
    clips: Annotated[DataOptions, Parameter(name="*")] = _DATA_OPTIONS,
    reading: ReadingFlags = AS_IT_IS,
    recipe: Annotated[RecipeOptions, Parameter(name="*")] = _RECIPE_OPTIONS,
    json: bool = False,
) -> int:
    """Train a network and keep its last epoch.

    Parameters
    ----------
    data
        A folder of recordings per label, one in the layout of DVS128 Gesture (recordings with NAME_labels.csv beside them) or
        its trials_to_train.txt, an npz of labelled clips, or synthetic:gestures[?clips=N&seed=N].
    out
        Checkpoint to write (safetensors).
    network
        A name of the zoo.
    setting
        One setting of the network as key=value (dim=128, n_heads=8, mixing=0.6, pools=0011); may be repeated.
    json
        Print the result as one JSON object.
    """
    from app.terminal import progress_bar
    from training.data import load_clips
    from training.memory import keep_freed_memory
    from training.train import save, train_checkpoint

    keep_freed_memory()
    binning = replace(_binning(clips), open_source=_opener(data, reading))
    with progress_bar("binning") as progress:
        everything = load_clips(data, binning, progress)
    train_clips, test_clips, split = _sides(_restricted(everything, clips.classes), clips, binning)
    with progress_bar("training") as progress:
        trained, info = train_checkpoint(
            network, read_settings(setting or []), train_clips, binning, _recipe(recipe), _reporter(progress, recipe.log)
        )
    result = _judge(trained, test_clips, binning.n_time_bins)
    save(out, trained, info, {"test": _plain(result)}, {"data": data, "split": split, "command": " ".join(sys.argv[1:])})
    _print(result, json, f"{out}: {len(train_clips)} clips, {recipe.epochs} epochs")
    return 0


def evaluate(  # noqa: PLR0913 # each is a flag of the command, or a set of them
    checkpoint: str,
    data: str,
    *,
    classes: str | None = None,
    cut: str | None = None,
    split: bool = False,
    reading: ReadingFlags = AS_IT_IS,
    estimate: Annotated[EnergyOptions, Parameter(name="*")] = _ENERGY_OPTIONS,
    json: bool = False,
) -> int:
    """Judge a checkpoint on labelled data.

    Parameters
    ----------
    checkpoint
        A path, or a name such as default.
    data
        A folder of recordings per label, one in the layout of DVS128 Gesture (recordings with NAME_labels.csv beside them) or
        its trials_to_train.txt, an npz of labelled clips, or synthetic:gestures[?clips=N&seed=N].
    classes
        Only clips of these classes, separated by commas.
    cut
        Cut recordings into clips of this duration, each judged on its own.
    split
        Judge only the recordings that training set aside (as stored in the checkpoint).
    json
        Print one JSON object.
    """
    from app.terminal import progress_bar
    from models.checkpoint import load_checkpoint
    from pipeline.schema.durations import parse_duration_us
    from training.data import Binning, load_clips

    network, info, _ = load_checkpoint(checkpoint)
    cut_us = None if cut is None else parse_duration_us(cut)
    binning = Binning(info.delta_t_us, info.size, info.n_time_bins, cut_us, _opener(data, reading))
    with progress_bar("binning") as progress:
        clips = load_clips(data, binning, progress)
    clips = _restricted(clips, classes)
    if split:
        clips = _set_aside(clips, info.training.get("split", {}), checkpoint)
    clips = clips.with_classes(info.classes)
    _print(_judge(network.float(), clips, info.n_time_bins, estimate), json, checkpoint)
    return 0


def zoo(*, json: bool = False) -> int:
    """List the networks.

    Parameters
    ----------
    json
        Print one JSON array.
    """
    from models.catalogue import catalogue

    entries = catalogue()
    if json:
        print(json_module.dumps([entry.as_json() for entry in entries]))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, justify in (("network", "left"), ("parameters", "right"), ("MACs per bin", "right"), ("SOPs per bin", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # rich names the same words a literal
    table.add_column("paper")
    table.add_column("verified by")
    for entry in entries:
        sops = "-" if entry.sops is None else f"{entry.sops / 1e6:.2f} M"
        table.add_row(
            entry.name, f"{entry.params:,}", f"{entry.macs_per_bin / 1e6:.2f} M", sops, entry.paper, entry.verified_by
        )
    Console().print(table)
    return 0


def _binning(options: DataOptions) -> "Binning":
    from pipeline.schema.durations import parse_duration_us
    from training.data import Binning

    cut_us = None if options.cut is None else parse_duration_us(options.cut)
    return Binning(parse_duration_us(options.delta_t), read_size(options.size), options.bins, cut_us)


def _opener(data: str, reading: Reading) -> "OpenSource":
    """How recordings are opened; UsageError where there are none to which the flags could apply."""
    if reading != AS_IT_IS and (data.startswith("synthetic:") or data.endswith(".npz")):
        raise UsageError(f"{data} holds clips, not recordings; leave the options that say how recordings are read out")
    return partial(open_part, reading=reading)


def _recipe(options: RecipeOptions) -> "Recipe":
    from training.augmentation import MILD, NONE
    from training.train import Recipe

    return Recipe(
        epochs=options.epochs,
        batch=options.batch,
        learning_rate=options.rate,
        loss=options.loss,
        seed=options.seed,
        augmentation=MILD if options.augmentation == "mild" else NONE,
    )


def _restricted(clips: "ClipSet", classes: str | None) -> "ClipSet":
    return clips if classes is None else clips.with_classes([name.strip() for name in classes.split(",")])


def _sides(clips: "ClipSet", options: DataOptions, binning: "Binning") -> tuple["ClipSet", "ClipSet", dict[str, Any]]:
    from training.data import load_clips, split_by_group

    if options.test is not None:
        judged = load_clips(options.test, binning).with_classes(clips.classes)
        return clips, judged, {"kind": "own test data", "test": options.test}
    if not 0.0 < options.holdout < 1.0:
        raise UsageError(f"--holdout {options.holdout}: expected a share between 0 and 1, or judged data with --test")
    train_rows, test_rows = split_by_group(clips, options.holdout, options.split_seed)
    split = {"kind": "by recording", "holdout": options.holdout, "split_seed": options.split_seed}
    return clips.take(train_rows), clips.take(test_rows), split


def _set_aside(clips: "ClipSet", split: dict[str, Any], checkpoint: str) -> "ClipSet":
    from training.data import split_by_group

    if split.get("kind") != "by recording":
        raise ConfigurationError(f"{checkpoint} was not trained with a split by recording; leave --split out")
    return clips.take(split_by_group(clips, split["holdout"], split["split_seed"])[1])


def _reporter(progress: Any, log: Path | None) -> Callable[[dict[str, Any]], None]:
    from training.train import log_lines

    write = None if log is None else log_lines(log)

    def report(line: dict[str, Any]) -> None:
        progress(line["step"], line["n_steps"])
        if write is not None:
            write(line)

    return report


def _judge(network: Any, clips: "ClipSet", n_time_bins: int, estimate: EnergyOptions = _ENERGY_OPTIONS) -> "Evaluation":
    from app.terminal import progress_bar
    from training.eval import evaluate as judge

    with progress_bar("judging") as progress:
        return judge(network, clips, n_time_bins, progress=progress, rule=estimate.energy_rule, with_layers=estimate.energy)


def _plain(result: "Evaluation") -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(result)
    return plain


def _print(result: "Evaluation", as_json: bool, title: str) -> None:
    if as_json:
        print(json_module.dumps(_plain(result)))
        return
    print(f"{title}\naccuracy {result.accuracy:.3f} ({result.correct}/{result.n})")
    print(f"per bin {result.sops / 1e6:.2f} M synaptic operations, {result.energy_uj:.1f} uJ estimated")
    width = max(len(name) for name in result.classes)
    for name, row in zip(result.classes, result.confusion, strict=True):
        print(f"{name:>{width}}  " + " ".join(f"{count:4d}" for count in row))
    if result.layers:
        _print_layers(result.layers)


def _print_layers(layers: "list[LayerCost]") -> None:
    """What each layer costs a bin, and their sums."""
    from app.terminal import print_table

    rows = [
        (c.name, c.macs, "numbers" if c.density is None else f"{c.density:.3f}", c.sops, c.energy_uj, f"{c.share:.1%}")
        for c in layers
    ]
    rows.append(("all", sum(c.macs for c in layers), "", sum(c.sops for c in layers), sum(c.energy_uj for c in layers), ""))
    print_table(
        ("layer", "MACs a bin*", "spikes an input*", "SOPs a bin*", "energy, uJ*", "share*"),
        [
            (name, f"{macs / 1e6:.3f} M", density, "-" if density == "numbers" else f"{sops / 1e6:.3f} M", f"{uj:.3f}", share)
            for name, macs, density, sops, uj, share in rows
        ],
    )
