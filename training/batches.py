"""What a training step is shown: windows drawn from (seed, epoch, step) alone, so that any step can be made again."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.augmentation import Counts, augment, mirror, mirrored_classes, resample_time
from training.data import Binning, ClipSet, padded
from training.recipes import Recipe

# Half of the batches of Spikformer's recipe are blended.
_MIXUP_PROBABILITY = 0.5


class Share(NamedTuple):
    """Which part of each batch this process trains on: number `rank` of `n`."""

    rank: int = 0
    n: int = 1


WHOLE = Share()


def n_batches(n_clips: int, recipe: Recipe) -> int:
    """Steps of one epoch of windows."""
    return len(_starts(n_clips, recipe.batch))


def batches(
    clips: ClipSet, binning: Binning, recipe: Recipe, epoch: int, first: int = 0, share: Share = WHOLE
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch, from its step `first` on, of (counts float32 (T, B, 2, H, W), labels), B the share of this process.

    Clips are shuffled, a random window of T bins is taken from each, everything augmented. Labels are int64 (B,), or shares of
    classes float32 (B, K) where two clips were blended (mixup).
    """
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(clips))
    partners = mirrored_classes(clips.classes)
    starts = _starts(len(clips), recipe.batch)
    for k in range(first, len(starts)):
        rng = np.random.default_rng((recipe.seed, epoch, k, *share[: 2 * (share.n > 1)]))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        chosen = order[starts[k] : starts[k] + recipe.batch][share.rank :: share.n]
        pieces = [_random_window(clips.counts[int(i)], binning.n_time_bins, recipe, rng, generator) for i in chosen]
        counts = torch.from_numpy(np.stack(pieces, axis=1)).to(torch.float32)
        labels = torch.from_numpy(clips.labels[chosen])
        if recipe.augmentation.mirror > 0.0:
            counts, labels = mirror(counts, labels, partners, recipe.augmentation.mirror, generator)
        counts = augment(counts, recipe.augmentation, generator)
        if recipe.mixup > 0.0 and epoch < recipe.mixup_until * recipe.epochs and rng.random() < _MIXUP_PROBABILITY:
            counts, labels = _blended(counts, labels, float(rng.beta(recipe.mixup, recipe.mixup)), len(clips.classes))
        yield counts, labels


def _starts(n_clips: int, batch: int) -> range:
    """Where batches start; a last one of at most half the size is left out for this epoch, unless it is the only one."""
    return range(0, max(1, n_clips - batch // 2), batch)


def _random_window(
    counts: Counts, n_time_bins: int, recipe: Recipe, rng: np.random.Generator, generator: torch.Generator
) -> Counts:
    n = counts.shape[0]
    if recipe.augmentation.time_scale == 0.0:
        first = int(rng.integers(max(1, n - n_time_bins + 1)))
        return padded(counts[first : first + n_time_bins], n_time_bins)
    speed = math.exp(math.log1p(recipe.augmentation.time_scale) * rng.uniform(-1.0, 1.0))
    # never so fast that a clip longer than a window would end before it
    speed = min(speed, max(1.0, n / n_time_bins))
    return resample_time(counts, rng.uniform(0.0, max(0.0, n - speed * n_time_bins)), speed, n_time_bins, generator)


def _blended(counts: Tensor, labels: Tensor, share: float, n_classes: int) -> tuple[Tensor, Tensor]:
    """A batch blended with itself in reverse (mixup, Zhang et al. 2018): the only augmentation that makes broken counts."""
    shares = functional.one_hot(labels, n_classes).to(torch.float32)
    return share * counts + (1.0 - share) * counts.flip(1), share * shares + (1.0 - share) * shares.flip(0)
