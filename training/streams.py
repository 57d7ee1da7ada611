"""Training and judging on streams: clips one after another, cut into steps of T bins, membranes carried from step to step.

All clips stand in one long row of bins, in shuffled order; each of the B streams is one stretch of that row, L bins long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.schema.errors import UsageError
from training.augmentation import NONE, augment, mirrored_classes
from training.batches import WHOLE, Share
from training.data import Binning, ClipSet
from training.losses import NO_LABEL
from training.recipes import Recipe

Readout = Literal["window", "running"]


@dataclass(frozen=True, slots=True)
class _Row:
    """The clips of an epoch as they stand in the row: which, its label, whether mirrored, and where it begins.

    `firsts` has one more than there are clips: where the row ends. `n_bins` is L.
    """

    clips: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    is_mirrored: npt.NDArray[np.bool_]
    firsts: npt.NDArray[np.int64]
    n_bins: int


def n_stream_steps(clips: ClipSet, binning: Binning, recipe: Recipe) -> int:
    """Steps of one epoch of streams; UsageError where there is not one."""
    n_all = sum(_lengths(clips))
    n_steps = n_all // (recipe.batch * binning.n_time_bins)
    if n_steps == 0:
        raise UsageError(f"{n_all} bins make no {recipe.batch} streams of {binning.n_time_bins} bins; use a smaller --batch")
    return n_steps


def stream_batches(
    clips: ClipSet, binning: Binning, recipe: Recipe, epoch: int, first: int = 0, share: Share = WHOLE
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch, from its step `first` on, of (counts float32 (T, B, 2, H, W), labels int64 (T, B)); B this process's share.

    Stream b goes on in the next step where it ended. The first `grace` bins after a change of class have no label. Each clip is
    augmented as a whole, at its own tempo: `time_scale` is for windows.
    """
    T = binning.n_time_bins
    n_steps = n_stream_steps(clips, binning, recipe)
    row = _row(clips, recipe, epoch, n_steps * T)
    streams = range(share.rank, recipe.batch, share.n)
    readers = [_Reader(clips, row, recipe, epoch) for _ in streams]
    for k in range(first, n_steps):
        begins = [b * row.n_bins + k * T for b in streams]
        parts = [reader.read(begin, begin + T) for begin, reader in zip(begins, readers, strict=True)]
        yield torch.stack([counts for counts, _ in parts], dim=1), torch.stack([labels for _, labels in parts], dim=1)


@dataclass(frozen=True, slots=True)
class StreamScore:
    """Share of bins answered rightly, of `n` that ask: after the first window, half a window after a change or later."""

    accuracy: float
    correct: int
    n: int


def judge_stream(
    network: Any, clips: ClipSet, binning: Binning, readout: Readout, *, n_streams: int = 4, seed: int = 0
) -> StreamScore:
    """Answers of `network` on clips one after another, read out as the live recogniser does.

    `running`: membranes carried on, the mean of the last T bins answers. `window`: from rest every T bins, and the answer at a
    window's end stands until the next one's.
    """
    T = binning.n_time_bins
    recipe = Recipe(batch=n_streams, augmentation=NONE, seed=seed, grace=(T + 1) // 2)
    network.eval()
    state, logits, labels = None, list[Tensor](), list[Tensor]()
    with torch.inference_mode():
        for counts, wanted in stream_batches(clips, binning, recipe, epoch=0):
            answered, state = network.run(counts, state if readout == "running" else None)
            logits.append(answered)
            labels.append(wanted)
    scores = _running_mean(torch.cat(logits), T) if readout == "running" else _held(torch.stack(logits).mean(dim=1), T)
    wanted = torch.cat(labels)
    asks = wanted != NO_LABEL
    asks[:T] = False  # no window is over yet
    correct = int((scores.argmax(dim=2) == wanted)[asks].sum())
    n = int(asks.sum())
    return StreamScore(correct / max(1, n), correct, n)


def _running_mean(logits: Tensor, T: int) -> Tensor:
    """Mean of the last T bins (fewer at the beginning) of logits (L, B, K)."""
    so_far = torch.cat([torch.zeros_like(logits[:1], dtype=torch.float64), logits.double().cumsum(dim=0)])
    ends = torch.arange(1, logits.shape[0] + 1)
    begins = (ends - T).clamp(min=0)
    return (so_far[ends] - so_far[begins]) / (ends - begins).view(-1, 1, 1)


def _held(windows: Tensor, T: int) -> Tensor:
    """Scores (L, B, K) of windows (n, B, K): each from its last bin until the next one's, or earlier at first."""
    places = (torch.arange(1, windows.shape[0] * T + 1) // T - 1).clamp(min=0)
    return windows[places]


def _lengths(clips: ClipSet) -> list[int]:
    return [counts.shape[0] for counts in clips.counts]


def _row(clips: ClipSet, recipe: Recipe, epoch: int, n_bins: int) -> _Row:
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(clips))
    labels = clips.labels[order]
    partners = mirrored_classes(clips.classes).numpy()[labels]
    is_mirrored = (rng.random(len(order)) < recipe.augmentation.mirror) & (partners >= 0)
    lengths = np.array(_lengths(clips), dtype=np.int64)[order]
    firsts = np.concatenate([[0], np.cumsum(lengths)])
    return _Row(order, np.where(is_mirrored, partners, labels), is_mirrored, firsts, n_bins)


class _Reader:
    """Reads stretches of the row, one after another, and holds the augmented clip that it is in."""

    def __init__(self, clips: ClipSet, row: _Row, recipe: Recipe, epoch: int) -> None:
        self._clips, self._row, self._recipe, self._epoch = clips, row, recipe, epoch
        self._held: tuple[int, Tensor] | None = None

    def read(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Counts (end - begin, 2, H, W) and labels (end - begin,) of the row's bins."""
        counts, labels = [], []
        firsts = self._row.firsts
        place = int(np.searchsorted(firsts, begin, side="right")) - 1
        while begin < end:
            bins = slice(begin - int(firsts[place]), min(end, int(firsts[place + 1])) - int(firsts[place]))
            counts.append(self._clip(place)[bins])
            labels.append(self._labels(place)[bins])
            begin, place = int(firsts[place]) + bins.stop, place + 1
        return torch.cat(counts), torch.cat(labels)

    def _clip(self, place: int) -> Tensor:
        """The augmented clip at `place` of the row, (n, 2, H, W); its draws are its own, whoever reads it."""
        if self._held is None or self._held[0] != place:
            row = self._row
            counts = torch.from_numpy(np.asarray(self._clips.counts[int(row.clips[place])], dtype=np.float32)).unsqueeze(1)
            seed = np.random.default_rng((self._recipe.seed, self._epoch, place)).integers(2**62)
            augmented = augment(
                counts.flip(-1) if row.is_mirrored[place] else counts,
                self._recipe.augmentation,
                torch.Generator().manual_seed(int(seed)),
            )
            self._held = (place, augmented[:, 0])
        return self._held[1]

    def _labels(self, place: int) -> Tensor:
        row = self._row
        labels = torch.full((int(row.firsts[place + 1] - row.firsts[place]),), int(row.labels[place]), dtype=torch.int64)
        if place == 0 or row.labels[place] != row.labels[place - 1]:
            labels[: self._recipe.grace] = NO_LABEL
        return labels
