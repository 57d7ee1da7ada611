"""From labelled clips to a checkpoint; the last epoch is what is kept.

The rest of the way, in the order in which a step walks it: `recipes`, `batches` and `augmentation` (or `streams`), `losses`,
`loop`, `resume`, `logs`, `curves`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from torch import nn

from models.beginning import begin_from
from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import NETWORKS, create_network
from pipeline.schema.clock import US_PER_S
from pipeline.schema.messages import NOTHING
from training.data import Binning, ClipSet
from training.logs import Report, log_lines
from training.loop import CPU, Placement, describe, fit
from training.losses import loss_of
from training.recipes import Recipe, rate_at, recipe_values

__all__ = [
    "Recipe",
    "fit",
    "log_lines",
    "loss_of",
    "quiet_rate_hz",
    "rate_at",
    "save",
    "steps_of",
    "train_checkpoint",
    "train_further",
]


def train_checkpoint(
    name: str,
    settings: dict[str, Any],
    clips: ClipSet,
    binning: Binning,
    recipe: Recipe,
    report: Report,
    placement: Placement = CPU,
) -> tuple[nn.Module, CheckpointInfo]:
    """Fresh network `name` trained on `clips`, with the info that goes into its checkpoint (scores still empty)."""
    torch.manual_seed(recipe.seed)
    settings = {**settings, "size": binning.size, "n_classes": len(clips.classes)}
    if name in NETWORKS and "n_time_bins" in NETWORKS[name].configuration.__dataclass_fields__:
        # networks with weights of their own for each bin of the window
        settings.setdefault("n_time_bins", binning.n_time_bins)
    network = create_network(name, **settings)
    return network, _trained(network, name, clips, binning, recipe, report, placement)


def train_further(
    checkpoint: str,
    settings: dict[str, Any],
    clips: ClipSet,
    binning: Binning,
    recipe: Recipe,
    report: Report,
    placement: Placement = CPU,
) -> tuple[nn.Module, CheckpointInfo]:
    """As `train_checkpoint`, but with a network that begins with the weights of `checkpoint` (`models.beginning`)."""
    torch.manual_seed(recipe.seed)
    network, old, title = begin_from(checkpoint, clips.classes, {**settings, "size": binning.size})
    info = _trained(network, old.network, clips, binning, recipe, report, placement)
    return network, replace(info, training={**info.training, "started_from": {"network": title, **old.training}})


def _trained(
    network: nn.Module, name: str, clips: ClipSet, binning: Binning, recipe: Recipe, report: Report, placement: Placement
) -> CheckpointInfo:
    fit(network, clips, binning, recipe, report, placement)
    return CheckpointInfo(
        network=name,
        configuration=configuration_values(network.configuration),
        classes=list(clips.classes),
        delta_t_us=binning.delta_t_us,
        n_time_bins=binning.n_time_bins,
        size=binning.size,
        quiet_rate_hz=quiet_rate_hz(clips, binning),
        training={
            "recipe": recipe_values(recipe),
            "n_clips": len(clips),
            "torch": str(torch.__version__),
            **describe(placement),
        },
        licence="Apache-2.0",
    )


def steps_of(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The trainings that a checkpoint went through, first to last, from the `training` of its info."""
    earlier = training.get("started_from")
    return [*(steps_of(earlier) if earlier else []), training]


def quiet_rate_hz(clips: ClipSet, binning: Binning) -> float:
    """Events a second below which a scene is quieter than what `clips` show: three quarters of their first percentile.

    Clips of nothing do not count, unless there are no others.
    """
    shown = [i for i, label in enumerate(clips.labels) if clips.classes[label] != NOTHING] or range(len(clips))
    counts = (clips.counts[i] for i in shown)
    rates = [int(clip.sum()) * US_PER_S / (clip.shape[0] * binning.delta_t_us) for clip in counts]
    return round(0.75 * float(np.percentile(rates, 1)), 1)


def save(path: Path, network: nn.Module, info: CheckpointInfo, scores: dict[str, Any], training: dict[str, Any]) -> None:
    """Write the checkpoint with what was measured and how it came about."""
    save_checkpoint(path, network, replace(info, scores=scores, training={**info.training, **training}))
