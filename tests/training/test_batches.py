"""Batches follow from seed, epoch and step alone, and labels go with their clips."""

import dataclasses

import numpy as np
import torch
from small_clips import BINNING, halves

from training.augmentation import NONE, PEOPLE
from training.batches import Share, batches, n_batches
from training.data import ClipSet
from training.recipes import Recipe

RECIPE = Recipe(batch=8, augmentation=NONE, seed=4)


def _is_left(counts: torch.Tensor) -> torch.Tensor:
    return counts[..., :8].sum(dim=(0, 2, 3, 4)) > counts[..., 8:].sum(dim=(0, 2, 3, 4))


def test_any_step_can_be_made_again_alone() -> None:
    clips = halves(32, 0, 6)
    recipe = dataclasses.replace(RECIPE, augmentation=PEOPLE, mixup=0.5)
    whole = list(batches(clips, BINNING, recipe, epoch=2))
    later = list(batches(clips, BINNING, recipe, epoch=2, first=3))
    assert len(whole) == n_batches(32, recipe) == 4
    assert len(later) == 1
    assert torch.equal(whole[3][0], later[0][0])
    assert torch.equal(whole[3][1], later[0][1])


def test_epochs_and_seeds_differ() -> None:
    clips = halves(32, 0, 6)
    draws = [(RECIPE, 0), (RECIPE, 1), (dataclasses.replace(RECIPE, seed=5), 0)]
    firsts = [next(batches(clips, BINNING, recipe, epoch))[0] for recipe, epoch in draws]
    assert not torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])


def test_every_clip_is_seen_once_an_epoch_and_keeps_its_label() -> None:
    clips = halves(16, 0)
    seen = []
    for counts, labels in batches(clips, BINNING, RECIPE, epoch=0):
        assert counts.shape == (3, 8, 2, 16, 16)
        assert torch.equal(_is_left(counts), labels == 0)
        seen += [float(total) for total in counts.sum(dim=(0, 2, 3, 4))]
    assert sorted(seen) == sorted(float(counts.sum()) for counts in clips.counts)


def test_the_labels_of_left_and_right_follow_the_mirror() -> None:
    recipe = dataclasses.replace(RECIPE, augmentation=dataclasses.replace(NONE, mirror=0.5))
    clips = halves(16, 0)
    clips = dataclasses.replace(clips.take(range(0, 16, 2)), classes=("wave_left", "wave_right"))
    counts, labels = next(batches(clips, BINNING, recipe, epoch=0))
    assert torch.equal(_is_left(counts), labels == 0)
    assert set(labels.tolist()) == {0, 1}


def test_processes_share_a_batch_between_them() -> None:
    clips = halves(16, 0)
    whole = next(batches(clips, BINNING, RECIPE, epoch=0))[1]
    parts = [next(batches(clips, BINNING, RECIPE, 0, share=Share(rank, 2)))[1] for rank in (0, 1)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(), whole)


def test_tempo_takes_more_or_fewer_bins_into_a_window() -> None:
    counts = np.ones((12, 2, 16, 16), dtype=np.uint8)
    clips = ClipSet([counts] * 8, np.zeros(8, dtype=np.int64), ("one",), [str(i) for i in range(8)])
    recipe = dataclasses.replace(RECIPE, augmentation=dataclasses.replace(NONE, time_scale=0.5))
    drawn, _ = next(batches(clips, BINNING, recipe, epoch=0))
    speeds = drawn.mean(dim=(0, 2, 3, 4))
    assert bool(((speeds > 1 / 1.6) & (speeds < 1.6)).all())
    assert speeds.min() < 0.95
    assert speeds.max() > 1.05


def test_mixup_blends_half_of_the_batches_until_its_time_is_over() -> None:
    clips = halves(64, 0)
    recipe = dataclasses.replace(RECIPE, batch=4, epochs=2, mixup=1.0, mixup_until=0.5)
    blended = [labels.is_floating_point() for _, labels in batches(clips, BINNING, recipe, epoch=0)]
    assert 3 <= sum(blended) <= 13
    assert not any(labels.is_floating_point() for _, labels in batches(clips, BINNING, recipe, epoch=1))
    counts, shares = next(batch for batch in batches(clips, BINNING, recipe, 0) if batch[1].is_floating_point())
    assert torch.allclose(shares.sum(dim=1), torch.ones(4))
    # a clip's events lie left and right as its label is shared, up to the clips' own numbers of events
    left = counts[..., :8].sum(dim=(0, 2, 3, 4)) / counts.sum(dim=(0, 2, 3, 4))
    assert torch.allclose(left, shares[:, 0], atol=0.05)
