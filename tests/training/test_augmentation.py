"""Augmentations move and thin counts; they never invent them."""

import torch

from training.augmentation import MILD, NONE, Augmentation, augment


def _counts() -> torch.Tensor:
    return torch.poisson(torch.full((3, 4, 2, 16, 16), 0.5), generator=torch.Generator().manual_seed(0))


def test_none_changes_nothing() -> None:
    counts = _counts()
    assert torch.equal(augment(counts, NONE, torch.Generator().manual_seed(1)), counts)


def test_counts_stay_whole_numbers_and_the_same_seed_gives_the_same_batch() -> None:
    first = augment(_counts(), MILD, torch.Generator().manual_seed(1))
    again = augment(_counts(), MILD, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert torch.equal(first, first.round())


def test_drop_only_takes_away() -> None:
    settings = Augmentation(shift=0.0, scale=0.0, rotation_deg=0.0, drop=0.5)
    counts = _counts()
    thinned = augment(counts, settings, torch.Generator().manual_seed(1))
    assert bool((thinned <= counts).all())
    assert 0.5 < thinned.sum() / counts.sum() < 1.0


def test_all_bins_of_a_clip_move_alike() -> None:
    counts = torch.zeros(3, 1, 2, 16, 16)
    counts[:, 0, 1, 5, 7] = 1.0
    settings = Augmentation(shift=0.2, scale=0.0, rotation_deg=0.0, drop=0.0)
    moved = augment(counts, settings, torch.Generator().manual_seed(3))
    assert torch.equal(moved[0], moved[1])
    assert moved[0].sum() == 1.0
