"""Judging: accuracy of whole clips, confusion, operations and energy."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from models.energy import SpikeMeter, energy_uj
from training.data import ClipSet, windows


class Evaluation(msgspec.Struct, frozen=True):
    """What `saccade evaluate --json` prints. `confusion[i][j]` counts clips of class i answered as j.

    `sops` and `energy_uj` (estimated) are means per time bin.
    """

    accuracy: float
    correct: int
    n: int
    confusion: list[list[int]]
    classes: list[str]
    sops: float
    energy_uj: float


def evaluate(
    network: nn.Module, clips: ClipSet, n_time_bins: int, *, batch: int = 16, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Answer each clip by the mean logits of its consecutive windows of T bins (each from rest), and count."""
    network.eval()
    meter = SpikeMeter(network)
    K = len(clips.classes)
    pieces = [(i, window) for i, counts in enumerate(clips.counts) for window in windows(counts, n_time_bins)]
    sums = torch.zeros(len(clips), K)
    sops = macs = 0
    with torch.inference_mode():
        for start in range(0, len(pieces), batch):
            rows = pieces[start : start + batch]
            counts = torch.from_numpy(np.stack([window for _, window in rows], axis=1)).to(torch.float32)
            logits: Tensor = network(counts)
            sums.index_add_(0, torch.tensor([i for i, _ in rows]), logits)
            reading = meter.read()
            sops, macs = sops + reading.sops, macs + reading.first_macs
            if progress is not None:
                progress(start + len(rows), len(pieces))
    meter.close()
    n_bins = len(pieces) * n_time_bins
    return _count(sums.argmax(dim=1).numpy(), clips, sops / n_bins, energy_uj(sops, macs) / n_bins)


def _count(answers: Any, clips: ClipSet, sops: float, energy: float) -> Evaluation:
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
        energy_uj=energy,
    )
