"""Training from top to bottom: batches, loss, schedule, loop, checkpoint. The last epoch is what is kept."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import NETWORKS, create_network
from pipeline.schema.clock import NS_PER_S, US_PER_S, host_ns
from training.augmentation import MILD, Augmentation, augment
from training.data import Binning, ClipSet, padded

Loss = Literal["tet", "mean"]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: AdamW with a cosine schedule after `warmup` (share of all steps), as Spikformer's DVS recipe.

    `loss`: `tet` is the mean over bins of the cross-entropy (Deng 2022, lambda 0), so that every bin learns to answer;
    `mean` is the cross-entropy of the mean logits.
    """

    epochs: int = 30
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.06
    warmup: float = 0.1
    final_rate: float = 1e-5
    smoothing: float = 0.1
    clip_norm: float = 1.0
    loss: Loss = "tet"
    seed: int = 0
    augmentation: Augmentation = MILD


def batches(clips: ClipSet, binning: Binning, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (counts float32 (T, B, 2, H, W), labels (B,)): shuffled, a random window of T bins from each clip."""
    rng = np.random.default_rng((recipe.seed, epoch))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    order = rng.permutation(len(clips))
    for start in _starts(len(order), recipe.batch):
        chosen = order[start : start + recipe.batch]
        pieces = [_random_window(clips, int(i), binning.n_time_bins, rng) for i in chosen]
        counts = torch.from_numpy(np.stack(pieces, axis=1)).to(torch.float32)
        yield augment(counts, recipe.augmentation, generator), torch.from_numpy(clips.labels[chosen])


def _starts(n_clips: int, batch: int) -> range:
    """Where batches start; a last one of at most half the size is left out for this epoch, unless it is the only one."""
    return range(0, max(1, n_clips - batch // 2), batch)


def _random_window(clips: ClipSet, i: int, n_time_bins: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    counts = clips.counts[i]
    first = int(rng.integers(max(1, counts.shape[0] - n_time_bins + 1)))
    return padded(counts[first : first + n_time_bins], n_time_bins)


def loss_of(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Scalar loss of logits (T, B, K) against labels (B,)."""
    if recipe.loss == "mean":
        return functional.cross_entropy(logits.mean(dim=0), labels, label_smoothing=recipe.smoothing)
    repeated = labels.unsqueeze(0).expand(logits.shape[0], -1)
    return functional.cross_entropy(logits.flatten(0, 1), repeated.flatten(), label_smoothing=recipe.smoothing)


def rate_at(step: int, n_steps: int, recipe: Recipe) -> float:
    """Learning rate of `step` (from 0): linear warm-up, then a cosine down to `final_rate`."""
    n_warmup = max(1, round(recipe.warmup * n_steps))
    if step < n_warmup:
        return recipe.learning_rate * (step + 1) / n_warmup
    share = (step - n_warmup) / max(1, n_steps - n_warmup)
    return recipe.final_rate + 0.5 * (recipe.learning_rate - recipe.final_rate) * (1.0 + math.cos(math.pi * share))


def fit(network: nn.Module, clips: ClipSet, binning: Binning, recipe: Recipe, report: Report) -> None:
    """Train `network` in place; `report` gets one dictionary after each step, with `epoch`, `step`, `loss`, `accuracy`."""
    torch.manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    n_steps = recipe.epochs * len(_starts(len(clips), recipe.batch))
    step, begun = 0, host_ns()
    network.train()
    for epoch in range(recipe.epochs):
        for counts, labels in batches(clips, binning, recipe, epoch):
            rate = rate_at(step, n_steps, recipe)
            for group in optimiser.param_groups:
                group["lr"] = rate
            logits, _ = network.run(counts)  # type: ignore[operator]  # every network of the zoo has run
            loss = loss_of(logits, labels, recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimiser.step()
            step += 1
            correct = (logits.detach().mean(dim=0).argmax(dim=1) == labels).float().mean().item()
            seconds = (host_ns() - begun) / NS_PER_S
            report(
                {"epoch": epoch, "step": step, "n_steps": n_steps, "loss": loss.item(), "accuracy": correct, "seconds": seconds}
            )
    network.eval()


def train_checkpoint(
    name: str, settings: dict[str, Any], clips: ClipSet, binning: Binning, recipe: Recipe, report: Report
) -> tuple[nn.Module, CheckpointInfo]:
    """Fresh network `name` trained on `clips`, with the info that goes into its checkpoint (scores still empty)."""
    torch.manual_seed(recipe.seed)
    settings = {**settings, "size": binning.size, "n_classes": len(clips.classes)}
    if name in NETWORKS and "n_time_bins" in NETWORKS[name].configuration.__dataclass_fields__:
        # networks with weights of their own for each bin of the window
        settings.setdefault("n_time_bins", binning.n_time_bins)
    network = create_network(name, **settings)
    fit(network, clips, binning, recipe, report)
    info = CheckpointInfo(
        network=name,
        configuration=configuration_values(network.configuration),
        classes=list(clips.classes),
        delta_t_us=binning.delta_t_us,
        n_time_bins=binning.n_time_bins,
        size=binning.size,
        quiet_rate_hz=quiet_rate_hz(clips, binning),
        training={"recipe": asdict(recipe), "n_clips": len(clips), "torch": str(torch.__version__), "device": "cpu"},
        licence="Apache-2.0",
    )
    return network, info


def quiet_rate_hz(clips: ClipSet, binning: Binning) -> float:
    """Events a second below which a scene is quieter than what `clips` show: three quarters of their first percentile."""
    rates = [int(counts.sum()) * US_PER_S / (counts.shape[0] * binning.delta_t_us) for counts in clips.counts]
    return round(0.75 * float(np.percentile(rates, 1)), 1)


def log_lines(path: Path) -> Report:
    """Report that appends one JSON line to `path` for each step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")

    def write(line: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return write


def save(path: Path, network: nn.Module, info: CheckpointInfo, scores: dict[str, Any], training: dict[str, Any]) -> None:
    """Write the checkpoint with what was measured and how it came about."""
    from msgspec.structs import replace

    save_checkpoint(path, network, replace(info, scores=scores, training={**info.training, **training}))
