"""Commands that learn and judge: train, evaluate, zoo. torch is imported inside."""

import json as json_module
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from app.labelled_data import (
    CacheOptions,
    DataOptions,
    end_with_damage,
    facts_of,
    load,
    one_side,
    open_source,
    reading_as_trained,
    sides,
)
from app.reading import AS_IT_IS
from app.settings import read_settings
from app.source_options import ReadingFlags
from app.training_options import RecipeOptions, RunOptions, telling
from pipeline.schema.errors import UsageError

if TYPE_CHECKING:
    from training.data import ClipSet
    from training.eval import Evaluation, LayerCost


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
_CACHE_OPTIONS = CacheOptions()
_DATA_OPTIONS = DataOptions()
_RECIPE_OPTIONS = RecipeOptions()
_RUN_OPTIONS = RunOptions()


def train(  # noqa: PLR0913 # each is a flag of the command, or a set of them
    data: str,
    *,
    out: Path,
    network: str | None = None,
    setting: Annotated[list[str] | None, Parameter(name="--set")] = None,
    start: str | None = None,
    clips: Annotated[DataOptions, Parameter(name="*")] = _DATA_OPTIONS,
    reading: ReadingFlags = AS_IT_IS,
    cache: Annotated[CacheOptions, Parameter(name="*")] = _CACHE_OPTIONS,
    recipe: Annotated[RecipeOptions, Parameter(name="*")] = _RECIPE_OPTIONS,
    run: Annotated[RunOptions, Parameter(name="*")] = _RUN_OPTIONS,
    json: bool = False,
) -> int:
    """Train a network and keep its last epoch.

    Parameters
    ----------
    data
        A folder of recordings per label, one in the layout of DVS128 Gesture (recordings with NAME_labels.csv beside them) or
        its trials_to_train.txt, an npz of labelled clips, synthetic:gestures[?clips=N&seed=N&other=N&nothing=N], or
        tonic:NAME[?root=FOLDER&split=train&download=1].
    out
        Checkpoint to write (safetensors).
    network
        A name of the zoo; tim unless told otherwise.
    setting
        One setting of the network as key=value (dim=128, n_heads=8, mixing=0.6, pools=0011); may be repeated.
    start
        Begin with the network and weights of this checkpoint (a path, or a name such as default) instead of fresh ones;
        classes that it knows by name keep what it learnt of them. Give the bins and the frame size that it was trained with.
    json
        Print the result as one JSON object.
    """
    from training.loop import is_first_process
    from training.memory import keep_freed_memory
    from training.train import save, train_checkpoint, train_further

    if start is not None and network is not None:
        raise UsageError("--start brings its own network; leave --network out")
    keep_freed_memory()
    wanted, (placement, keep) = recipe.read(), run.placement(out)
    binning = clips.binning(data, reading)
    everything = load(data, binning, cache, clips.classes)
    train_clips, test_clips, split = sides(everything, data, clips, binning, cache)
    with telling(recipe, keep.steps_done()) as report:
        settings = read_settings(setting or [])
        if start is None:
            trained, info = train_checkpoint(network or "tim", settings, train_clips, binning, wanted, report, placement)
        else:
            trained, info = train_further(start, settings, train_clips, binning, wanted, report, placement)
    if not is_first_process():
        return 0
    result = _judge(trained, test_clips, binning.n_time_bins)
    save(
        out,
        trained,
        info,
        {"test": _plain(result)},
        {**facts_of(data, everything, split, reading), "command": " ".join(sys.argv[1:])},
    )
    keep.remove()
    _print(result, json, f"{out}: {len(train_clips)} clips, {wanted.epochs} epochs")
    end_with_damage(everything, test_clips)
    return 0


def evaluate(  # noqa: PLR0913 # each is a flag of the command, or a set of them
    checkpoint: str,
    data: str,
    *,
    classes: str | None = None,
    cut: str | None = None,
    side: Literal["train", "test"] | None = None,
    split_file: Path | None = None,
    as_they_are: bool = False,
    reading: ReadingFlags = AS_IT_IS,
    cache: Annotated[CacheOptions, Parameter(name="*")] = _CACHE_OPTIONS,
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
        its trials_to_train.txt, an npz of labelled clips, synthetic:gestures[?clips=N&seed=N&other=N&nothing=N], or
        tonic:NAME[?root=FOLDER&split=train&download=1].
    classes
        Only clips of these classes, separated by commas.
    cut
        Cut recordings into clips of this duration, each judged on its own.
    side
        Judge only what training set aside (test), or only what it saw (train), as the checkpoint keeps it.
    split_file
        Take the sides from this file instead of the checkpoint; the test side, unless told otherwise.
    as_they_are
        Read recordings as they are, without the filters and flags that training had.
    json
        Print one JSON object.
    """
    from models.pupil import load_judged
    from pipeline.schema.durations import parse_duration_us
    from training.data import Binning

    network, info, _ = load_judged(checkpoint)
    cut_us = None if cut is None else parse_duration_us(cut)
    opener = open_source(data, reading if as_they_are else reading_as_trained(reading, info, data))
    binning = Binning(info.delta_t_us, info.size, info.n_time_bins, cut_us, *opener)
    clips = load(data, binning, cache, classes)
    if side is not None or split_file is not None:
        clips = one_side(clips, side or "test", split_file, info, checkpoint)
    clips = clips.with_classes(info.classes)
    result = _judge(network.float(), clips, info.n_time_bins, estimate)
    _print(_compare_own(result, checkpoint, clips, info.n_time_bins), json, checkpoint)
    end_with_damage(clips)
    return 0


def _compare_own(result: "Evaluation", checkpoint: str, clips: "ClipSet", n_time_bins: int) -> "Evaluation":
    """With the clips of own and of taught classes counted apart, where `checkpoint` is a file of taught classes."""
    import msgspec

    from models.pupil import load_judged
    from models.taught import find_owner, is_taught, load_taught
    from training.eval import tally

    path = Path(checkpoint)
    if not (path.is_file() and is_taught(path)):
        return result
    lessons = load_taught(path)
    network, info, _ = load_judged(find_owner(path, lessons))
    own, taught = tally(result, info.classes), tally(result, lessons.names)
    before = own
    if own.n and lessons.names:
        before = tally(_judge(network.float(), clips.with_classes(info.classes), n_time_bins), info.classes)
    return msgspec.structs.replace(result, own=own, own_before=before, taught=taught)


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
    if result.taught and result.own and result.own_before:
        for what, part in (("taught", result.taught), ("own", result.own), ("own, before", result.own_before)):
            print(f"{what:>11} {'-' if part.accuracy is None else f'{part.accuracy:.3f}'} ({part.correct}/{part.n})")
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
