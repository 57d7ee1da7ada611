"""Streams are clips one after another; what is trained on them answers as well without being reset."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from small_clips import BINNING, SMALL, halves

from models.registry import create_network
from pipeline.schema.errors import UsageError
from training.augmentation import NONE, PEOPLE
from training.batches import Share
from training.data import Binning, ClipSet
from training.loop import fit
from training.losses import NO_LABEL
from training.recipes import Recipe
from training.streams import judge_stream, n_stream_steps, stream_batches

RECIPE = Recipe(batch=2, augmentation=NONE, steps="stream", grace=2)


def _numbered(lengths: list[int]) -> ClipSet:
    """Clips of so many bins; all counts of clip i are i + 1, its class is i % 2."""
    counts = [np.full((n, 2, 4, 4), i + 1, dtype=np.uint8) for i, n in enumerate(lengths)]
    return ClipSet(counts, np.arange(len(lengths)) % 2, ("even", "odd"), [str(i) for i in range(len(lengths))])


def _row(clips: ClipSet, recipe: Recipe, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts of one place, and labels, of all steps: (L, B) each."""
    steps = list(stream_batches(clips, BINNING, recipe, 0, **options))
    return torch.cat([counts[:, :, 0, 0, 0] for counts, _ in steps]), torch.cat([labels for _, labels in steps])


def test_streams_are_stretches_of_one_row_of_all_clips() -> None:
    clips = _numbered([5, 3, 7, 4, 6, 9])
    counts, _ = _row(clips, RECIPE)
    assert counts.shape == (15, 2)  # 34 bins: two streams of five steps of three bins
    row = counts.T.flatten().tolist()
    order = [int(value) - 1 for i, value in enumerate(row) if i == 0 or value != row[i - 1]]
    assert len(order) == len(set(order))
    runs = [row.count(i + 1) for i in order]
    assert runs[:-1] == [len(clips.counts[i]) for i in order[:-1]]
    assert n_stream_steps(clips, BINNING, RECIPE) == 5


def test_bins_have_the_label_of_their_clip_but_not_right_after_a_change_of_class() -> None:
    counts, labels = _row(_numbered([5, 3, 7, 4, 6, 9]), RECIPE)
    row, marks = counts.T.flatten().long(), labels.T.flatten()
    classes = (row - 1) % 2
    n_since = 0
    for i in range(30):
        n_since = 0 if i == 0 or classes[i] != classes[i - 1] else n_since + 1
        assert marks[i] == (NO_LABEL if n_since < 2 else classes[i])


def test_any_step_of_a_stream_can_be_made_again_alone_and_shared() -> None:
    clips = halves(12, 0, 7)
    recipe = dataclasses.replace(RECIPE, batch=4, augmentation=PEOPLE)
    whole = list(stream_batches(clips, BINNING, recipe, epoch=1))
    later = list(stream_batches(clips, BINNING, recipe, epoch=1, first=4))
    assert len(later) == len(whole) - 4
    assert all(torch.equal(a, b) for one, other in zip(whole[4:], later, strict=True) for a, b in zip(one, other, strict=True))
    half = list(stream_batches(clips, BINNING, recipe, epoch=1, share=Share(1, 2)))
    assert torch.equal(half[0][0], whole[0][0][:, 1::2])


def test_mirrored_clips_of_a_stream_carry_their_partners_label() -> None:
    clips = dataclasses.replace(halves(12, 0, 7), classes=("wave_left", "wave_right"))
    recipe = dataclasses.replace(RECIPE, augmentation=dataclasses.replace(NONE, mirror=0.5), grace=0)
    plain = dataclasses.replace(recipe, augmentation=NONE)
    for counts, labels in stream_batches(clips, BINNING, recipe, 0):
        is_left = counts[..., :8].sum(dim=(2, 3, 4)) > counts[..., 8:].sum(dim=(2, 3, 4))
        assert torch.equal(is_left, labels == 0)
    assert not torch.equal(_row(clips, recipe)[1], _row(clips, plain)[1])


def test_too_few_bins_for_the_streams_are_refused() -> None:
    with pytest.raises(UsageError, match="smaller --batch"):
        n_stream_steps(_numbered([5]), BINNING, RECIPE)


class _Echo:
    """Answers with the class of the bin it sees; told a state, with that of the bin before. From rest it says class 0."""

    def eval(self) -> None:
        """Nothing to switch off."""

    def run(self, counts: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        seen = (counts[:, :, 0, 0, 0].long() - 1) % 2
        before = torch.zeros_like(seen[:1]) if state is None else state
        late = torch.cat([before, seen])[:-1]
        return torch.nn.functional.one_hot(late, 2).float(), seen[-1:]


def test_readouts_are_those_of_the_live_recogniser() -> None:
    # one stream, windows of 3 bins, clips of 9: the row is 9 bins of one class, then 9 of the other
    clips = _numbered([9, 9])
    binning = Binning(10_000, (4, 4), 3)
    order = [int(counts) for counts in _row(clips, dataclasses.replace(RECIPE, batch=1))[0][[0, -1], 0]]
    running = judge_stream(_Echo(), clips, binning, "running", n_streams=1)
    window = judge_stream(_Echo(), clips, binning, "window", n_streams=1)
    # bins 3 to 8 and 11 to 17 ask. The late answer turns at bin 10, its mean of three bins at bin 11: all are right
    assert (running.correct, running.n) == (13, 13)
    # from rest the first of three bins says class 0; windows end at bins 11, 14, 17, those of bins 3 to 8 were right before
    assert (window.correct, window.n) == (13, 13)
    assert sorted(order) == [1, 2]


def _noisy(n: int, seed: int) -> ClipSet:
    """Clips of nine bins whose one half is busier than the other."""
    rng = np.random.default_rng(seed)
    counts = [rng.poisson(0.15, (9, 2, 16, 16)).astype(np.uint8) for _ in range(n)]
    for i, clip in enumerate(counts):
        clip[:, :, :, 8 * (i % 2) : 8 * (i % 2) + 8] += rng.poisson(0.3, (9, 2, 16, 8)).astype(np.uint8)
    return ClipSet(counts, np.arange(n) % 2, ("left", "right"), [f"{seed}/{i}" for i in range(n)])


@pytest.mark.timeout(300)  # seconds alone, minutes on a crowded machine
def test_a_network_trained_on_streams_answers_as_well_without_being_reset() -> None:
    torch.manual_seed(0)
    network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
    recipe = Recipe(epochs=4, batch=8, augmentation=NONE, learning_rate=2e-2, steps="stream", smoothing=0.0)
    fit(network, _noisy(40, 0), BINNING, recipe, lambda _: None)
    running, window = (judge_stream(network, _noisy(40, 1), BINNING, readout).accuracy for readout in ("running", "window"))
    assert running > 0.95
    assert running >= window
