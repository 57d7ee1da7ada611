"""Losses against values worked out by hand."""

import math

import pytest
import torch

from training.losses import NO_LABEL, accuracy_of, loss_of
from training.recipes import Recipe

PLAIN = Recipe(smoothing=0.0)
# two bins of one clip: the first says class 0, the second class 1; their mean says nothing
LOGITS = torch.tensor([[[math.log(3.0), 0.0]], [[0.0, math.log(3.0)]]])


def test_mean_loss_asks_the_mean_of_the_bins() -> None:
    loss = loss_of(LOGITS, torch.tensor([0]), Recipe(loss="mean", smoothing=0.0))
    assert loss.item() == pytest.approx(math.log(2.0))


def test_tet_loss_asks_every_bin() -> None:
    # shares of class 0 are 3/4 and 1/4
    expected = 0.5 * (math.log(4.0 / 3.0) + math.log(4.0))
    assert loss_of(LOGITS, torch.tensor([0]), PLAIN).item() == pytest.approx(expected)


def test_tet_lambda_adds_the_squared_distance_of_the_logits_from_their_mean() -> None:
    entropy = 0.5 * (math.log(4.0 / 3.0) + math.log(4.0))
    distance = 0.5 * ((math.log(3.0) - 1.0) ** 2 + 1.0)
    recipe = Recipe(smoothing=0.0, tet_lambda=0.1)
    assert loss_of(LOGITS, torch.tensor([0]), recipe).item() == pytest.approx(0.9 * entropy + 0.1 * distance)


def test_shares_of_classes_count_by_their_share() -> None:
    labels = torch.tensor([[0.75, 0.25]])
    one, other = (loss_of(LOGITS[:1], torch.tensor([label]), PLAIN).item() for label in (0, 1))
    assert loss_of(LOGITS[:1], labels, PLAIN).item() == pytest.approx(0.75 * one + 0.25 * other)
    assert accuracy_of(LOGITS[:1], labels) == 1.0


def test_bins_without_a_label_ask_for_nothing() -> None:
    labels = torch.tensor([[0], [NO_LABEL]])
    assert loss_of(LOGITS, labels, PLAIN).item() == pytest.approx(math.log(4.0 / 3.0))
    assert accuracy_of(LOGITS, labels) == 1.0
    assert accuracy_of(LOGITS, torch.tensor([[0], [0]])) == 0.5
    nothing = torch.full((2, 1), NO_LABEL)
    assert loss_of(LOGITS, nothing, PLAIN).item() == 0.0
    assert accuracy_of(LOGITS, nothing) == 0.0


def test_smoothing_gives_every_class_its_part() -> None:
    # 0.2 of the label is spread over both classes
    expected = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert loss_of(LOGITS[:1], torch.tensor([0]), Recipe(smoothing=0.2)).item() == pytest.approx(expected)
