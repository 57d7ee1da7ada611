"""Augmentations move, lose and add counts in whole numbers, and labels follow the mirror."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.sources.gesture_labels import GESTURE_CLASSES
from training.augmentation import (
    AUGMENTATIONS,
    MILD,
    NONE,
    Augmentation,
    _move,
    augment,
    mirror,
    mirrored_classes,
    resample_time,
)


def _counts() -> torch.Tensor:
    return torch.poisson(torch.full((3, 4, 2, 16, 16), 0.5), generator=torch.Generator().manual_seed(0))


def _augmented(counts: torch.Tensor, seed: int = 1, **settings: float) -> torch.Tensor:
    return augment(counts, dataclasses.replace(NONE, **settings), torch.Generator().manual_seed(seed))


def test_none_changes_nothing() -> None:
    counts = _counts()
    assert torch.equal(augment(counts, NONE, torch.Generator().manual_seed(1)), counts)


@pytest.mark.parametrize("settings", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_counts_stay_whole_numbers_and_the_same_seed_gives_the_same_batch(settings: Augmentation) -> None:
    given = _counts()
    first = augment(given, settings, torch.Generator().manual_seed(1))
    again = augment(_counts(), settings, torch.Generator().manual_seed(1))
    other = augment(_counts(), settings, torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert torch.equal(first, first.round())
    assert bool((first >= 0).all())
    assert torch.equal(first, other) == (settings == NONE)
    assert torch.equal(given, _counts())  # what was given is left as it was


def test_drop_only_takes_away_and_as_much_as_it_says() -> None:
    counts = torch.full((4, 64, 2, 8, 8), 3.0)
    thinned = _augmented(counts, drop=0.5)
    assert bool((thinned <= counts).all())
    # each clip keeps between a half and all of it, three quarters on average
    kept = thinned.sum(dim=(0, 2, 3, 4)) / counts.sum(dim=(0, 2, 3, 4))
    assert bool((kept > 0.45).all())
    assert kept.mean().item() == pytest.approx(0.75, abs=0.06)


def test_all_bins_of_a_clip_move_alike() -> None:
    counts = torch.zeros(3, 1, 2, 16, 16)
    counts[:, 0, 1, 5, 7] = 1.0
    moved = _augmented(counts, seed=3, shift=0.2)
    assert torch.equal(moved[0], moved[1])
    assert moved[0].sum() == 1.0


def test_pictures_are_moved_as_torch_resamples_them() -> None:
    counts = _counts()
    theta = torch.tensor([[[0.9, 0.2, 0.3], [-0.2, 1.1, -0.1]]]).expand(4, 2, 3).contiguous()
    grid = torch.nn.functional.affine_grid(theta, [4, 2, 16, 16], align_corners=False)
    flat = counts.transpose(0, 1).reshape(4, 6, 16, 16)
    expected = torch.nn.functional.grid_sample(flat, grid, mode="nearest", align_corners=False)
    assert torch.equal(_move(counts, theta), expected.view(4, 3, 2, 16, 16).transpose(0, 1))


def test_one_of_many_operations_leaves_the_others_out() -> None:
    # every place is full: a shift empties rows or columns at an edge, an area a rectangle; never both
    counts = torch.ones(1, 40, 2, 16, 16)
    both = _augmented(counts, shift=0.3, drop_area=0.5, one_of=True)
    touches_edge = (both[0, :, 0, 0].sum(1) == 0) | (both[0, :, 0, -1].sum(1) == 0)
    touches_edge |= (both[0, :, 0, :, 0].sum(1) == 0) | (both[0, :, 0, :, -1].sum(1) == 0)
    full_edges = both[0, :, 0, 0].sum(1) == 16
    assert 5 < int(touches_edge.sum()) < 35
    assert 5 < int(full_edges.sum()) < 35


def test_an_area_is_empty_in_all_bins_and_no_larger_than_asked() -> None:
    counts = torch.ones(3, 50, 2, 16, 16)
    erased = _augmented(counts, drop_area=0.25)
    lost = counts[0, :, 0].sum(dim=(1, 2)) - erased[0, :, 0].sum(dim=(1, 2))
    assert torch.equal(erased, erased[:1].expand_as(erased))
    assert lost.max() == 16.0  # a rectangle of 4 x 4 at most
    assert lost.min() == 0.0


def test_a_run_of_bins_is_lost_and_no_longer_than_asked() -> None:
    erased = _augmented(torch.ones(8, 60, 2, 4, 4), drop_time=0.5)
    is_empty = erased.sum(dim=(2, 3, 4)) == 0  # (T, B)
    assert set(is_empty.sum(dim=0).tolist()) == {0, 1, 2, 3, 4}
    n_beginnings = is_empty[0].int() + (is_empty[1:] & ~is_empty[:-1]).sum(dim=0)
    assert n_beginnings.max() == 1


def test_jitter_moves_counts_into_neighbouring_bins_and_loses_none() -> None:
    counts = torch.zeros(5, 400, 1, 4, 4)
    counts[2] = 4.0
    slipped = _augmented(counts, jitter=0.5)
    assert torch.equal(slipped.sum(dim=0), counts.sum(dim=0))
    assert bool((slipped >= 0).all())
    share = slipped.sum(dim=(1, 2, 3, 4)) / counts.sum()
    assert share[[0, 4]].tolist() == [0.0, 0.0]
    # up to a half slips, a quarter on average, half of it either way
    assert share[1:4].tolist() == pytest.approx([0.125, 0.75, 0.125], abs=0.02)


def test_jitter_keeps_within_the_window_what_would_leave_it() -> None:
    assert _augmented(torch.full((1, 2, 1, 3, 3), 2.0), jitter=0.9).sum() == 36.0


def test_noise_has_half_the_largest_rate_on_average_and_takes_nothing_away() -> None:
    counts = torch.ones(4, 200, 2, 8, 8)
    noisy = _augmented(counts, noise=0.1)
    assert bool((noisy >= counts).all())
    assert (noisy - counts).mean().item() == pytest.approx(0.05, rel=0.15)


def test_hot_pixels_are_few_places_of_one_polarity_that_fire_in_most_bins() -> None:
    added = _augmented(torch.zeros(32, 40, 2, 16, 16), hot_pixels=3)
    places = (added.sum(dim=0) > 0).sum(dim=(1, 2, 3))
    assert set(places.tolist()) <= {0, 1, 2, 3}
    assert places.max() >= 2
    assert added.sum(dim=0).max() > 32


def test_polarity_is_exchanged_in_some_clips_only_when_asked() -> None:
    counts = torch.zeros(1, 20, 2, 2, 2)
    counts[:, :, 1] = 1.0
    flipped = _augmented(counts, flip_polarity=0.5)
    n_off = int((flipped[0, :, 0, 0, 0] == 1.0).sum())
    assert 3 < n_off < 17
    assert torch.equal(flipped.sum(dim=2), counts.sum(dim=2))
    assert all(settings.flip_polarity == 0.0 for settings in AUGMENTATIONS.values())


def test_a_mirror_exchanges_the_sides_and_the_sense_of_rotation_of_the_eleven_gestures() -> None:
    mirrored = [GESTURE_CLASSES[i] for i in mirrored_classes(GESTURE_CLASSES).tolist()]
    partners = dict(zip(GESTURE_CLASSES, mirrored, strict=True))
    assert partners == {
        "hand_clapping": "hand_clapping",
        "right_hand_wave": "left_hand_wave",
        "left_hand_wave": "right_hand_wave",
        "right_arm_clockwise": "left_arm_counter_clockwise",
        "right_arm_counter_clockwise": "left_arm_clockwise",
        "left_arm_clockwise": "right_arm_counter_clockwise",
        "left_arm_counter_clockwise": "right_arm_clockwise",
        "arm_roll": "arm_roll",
        "air_drums": "air_drums",
        "air_guitar": "air_guitar",
        "other_gestures": "other_gestures",
    }


def test_classes_without_a_partner_are_never_mirrored() -> None:
    assert mirrored_classes(["right_arm_clockwise", "clap"]).tolist() == [-1, 1]
    assert mirrored_classes(["Left hand", "wave-left", "wave-right", "turn ccw", "turn cw"]).tolist() == [-1, 2, 1, 4, 3]
    assert mirrored_classes(["leftover", "brightness"]).tolist() == [0, 1]
    assert mirrored_classes(["spin_anticlockwise", "spin_clockwise"]).tolist() == [1, 0]


def test_mirrored_clips_carry_their_partners_label() -> None:
    counts = torch.zeros(1, 40, 2, 2, 3)
    counts[..., 0] = 1.0
    labels = torch.arange(40) % 3
    partners = torch.tensor([1, 0, -1])
    mirrored, new = mirror(counts, labels, partners, 0.5, torch.Generator().manual_seed(0))
    is_turned = mirrored[0, :, 0, 0, 2] == 1.0
    assert 5 < int(is_turned.sum()) < 25
    assert not bool(is_turned[labels == 2].any())
    assert torch.equal(new, torch.where(is_turned, partners[labels], labels))
    assert torch.equal(mirrored[:, ~is_turned], counts[:, ~is_turned])


def _clip(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 3, 3), dtype=np.uint8)


def test_time_at_its_own_speed_is_a_window() -> None:
    window = resample_time(_clip(5, 1, 2, 3, 9), 1.0, 1.0, 3, torch.Generator().manual_seed(0))
    assert np.array_equal(window, _clip(1, 2, 3))


def test_time_twice_as_fast_adds_bins_and_half_as_fast_parts_them() -> None:
    clip = _clip(1, 2, 3, 4, 0, 8)
    assert np.array_equal(resample_time(clip, 0.0, 2.0, 3, torch.Generator().manual_seed(0)), _clip(3, 7, 8))
    assert np.array_equal(resample_time(_clip(2, 4), 0.0, 0.5, 4, torch.Generator().manual_seed(0)), _clip(1, 1, 2, 2))


def test_time_beyond_the_end_is_empty_and_no_event_is_lost_or_doubled() -> None:
    clip = np.random.default_rng(0).poisson(0.7, (10, 2, 16, 16)).astype(np.uint8)
    played = resample_time(clip, 0.4, 0.7, 20, torch.Generator().manual_seed(1))
    assert played[14:].sum() == 0
    missing = clip.sum(axis=0, dtype=int) - played.sum(axis=0, dtype=int)
    # only what came before the beginning, a part of the first bin, is missing
    assert missing.min() >= 0
    assert bool((missing <= clip[0]).all())
    assert missing.sum() == pytest.approx(0.4 * clip[0].sum(), rel=0.2)


def test_mild_is_what_it_was() -> None:
    assert dataclasses.replace(MILD, shift=0.08, scale=0.1, rotation_deg=8.0, drop=0.1) == MILD
    assert Augmentation(0.0, 0.0, 0.0, 0.0) == NONE
