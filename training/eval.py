"""Judging: accuracy of whole clips, confusion, operations and energy."""

from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from models.energy import Reading, Rule, SpikeMeter, layer_energy_uj
from models.operations import Operations
from pipeline.schema.messages import NOTHING
from training.data import ClipSet, windows


class LayerCost(msgspec.Struct, frozen=True):
    """What one layer costs, means per time bin. `density`: spikes an input, None for a layer that sees numbers.

    `share`: its part of the network's `energy_uj`, 0 to 1; 0 where the rule leaves the layer out.
    """

    name: str
    macs: float
    density: float | None
    sops: float
    energy_uj: float
    share: float


class Tally(msgspec.Struct, frozen=True):
    """Answers to the clips of some classes; the accuracy is None where there are no such clips."""

    accuracy: float | None
    correct: int
    n: int


class Evaluation(msgspec.Struct, frozen=True):
    """What `saccade evaluate --json` prints. `confusion[i][j]` counts clips of class i answered as j.

    `sops` and `energy_uj` (estimated) are means per time bin; `layers` only where they were asked for. Only where classes were
    taught: `taught` counts clips of those, `own` clips of the checkpoint's own classes, `own_before` the same clips answered by
    the checkpoint alone, so that one sees what the lessons cost.
    """

    accuracy: float
    correct: int
    n: int
    confusion: list[list[int]]
    classes: list[str]
    sops: float
    energy_uj: float
    layers: list[LayerCost] | msgspec.UnsetType = msgspec.UNSET
    own: Tally | msgspec.UnsetType = msgspec.UNSET
    own_before: Tally | msgspec.UnsetType = msgspec.UNSET
    taught: Tally | msgspec.UnsetType = msgspec.UNSET


def gestures_alone(result: Evaluation) -> Tally:
    """Count the clips in which somebody does something."""
    return tally(result, [name for name in result.classes if name != NOTHING])


def tally(result: Evaluation, classes: Collection[str]) -> Tally:
    """Count the clips of `classes` alone; answers may be any class."""
    rows = [(i, row) for i, row in enumerate(result.confusion) if result.classes[i] in classes]
    correct, n = sum(row[i] for i, row in rows), sum(sum(row) for _, row in rows)
    return Tally(correct / n if n else None, correct, n)


def evaluate(
    network: nn.Module,
    clips: ClipSet,
    n_time_bins: int,
    *,
    batch: int = 16,
    progress: Callable[[int, int], None] | None = None,
    rule: Rule = "spikformer",
    with_layers: bool = False,
) -> Evaluation:
    """Answer each clip by the mean logits of its consecutive windows of T bins (each from rest), and count.

    Energy is estimated by `rule`, and given for each layer `with_layers`.
    """
    network.eval()
    meter = SpikeMeter(network)
    # one batch at a time: clips may lie on disk, and be more than memory holds
    pieces = ((i, window) for i, counts in enumerate(clips.counts) for window in windows(counts, n_time_bins))
    sums = torch.zeros(len(clips), len(clips.classes))
    spent, n_bins = Reading(), 0
    with torch.inference_mode():
        while rows := list(islice(pieces, batch)):
            counts = torch.from_numpy(np.stack([window for _, window in rows], axis=1)).to(torch.float32)
            logits: Tensor = network(counts)
            sums.index_add_(0, torch.tensor([i for i, _ in rows]), logits)
            spent.add(meter.read().layers)
            n_bins += len(rows) * n_time_bins
            if progress is not None:
                progress(rows[-1][0] + 1, len(clips))
    meter.close()
    return _count(sums.argmax(dim=1).numpy(), clips, spent.sops / n_bins, _costs(spent, n_bins, rule), with_layers=with_layers)


def _count(answers: Any, clips: ClipSet, sops: float, costs: list[LayerCost], *, with_layers: bool) -> Evaluation:
    K = len(clips.classes)
    confusion = np.zeros((K, K), dtype=np.int64)
    np.add.at(confusion, (clips.labels, answers), 1)
    correct = int(np.trace(confusion))
    return Evaluation(
        accuracy=correct / len(clips),
        correct=correct,
        n=len(clips),
        confusion=confusion.tolist(),
        classes=list(clips.classes),
        sops=sops,
        energy_uj=sum(cost.energy_uj for cost in costs),
        layers=costs if with_layers else msgspec.UNSET,
    )


def _costs(spent: Reading, n_bins: int, rule: Rule) -> list[LayerCost]:
    whole_uj = spent.energy_uj(rule)
    return [_cost(name, layer, n_bins, rule, whole_uj) for name, layer in spent.layers.items()]


def _cost(name: str, layer: Operations, n_bins: int, rule: Rule, whole_uj: float) -> LayerCost:
    spent_uj = layer_energy_uj(name, layer, rule)
    return LayerCost(
        name=name,
        macs=layer.macs / n_bins,
        density=None if layer.is_dense else layer.density,
        sops=0.0 if layer.is_dense else layer.sops / n_bins,
        energy_uj=spent_uj / n_bins,
        share=spent_uj / whole_uj if whole_uj else 0.0,
    )
