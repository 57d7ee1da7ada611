"""Training learns what can be learnt, repeats itself with the same seed, and keeps its last epoch."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_clips import BINNING, SMALL, halves

from models.checkpoint import load_checkpoint
from training.augmentation import NONE
from training.data import ClipSet
from training.eval import evaluate
from training.train import Recipe, quiet_rate_hz, save, train_checkpoint
from training.yardstick import linear_accuracy

RECIPE = Recipe(epochs=14, batch=8, learning_rate=2e-2, augmentation=NONE)


def _trained(recipe: Recipe) -> tuple[Any, Any, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    network, info = train_checkpoint("tim", SMALL, halves(32, 0), BINNING, recipe, lines.append)
    return network, info, lines


@pytest.mark.timeout(300)  # seconds alone, minutes on a crowded machine
def test_network_learns_left_from_right_and_its_checkpoint_says_how(tmp_path: Path) -> None:
    network, info, lines = _trained(RECIPE)
    result = evaluate(network, halves(20, 1), 3)
    assert result.accuracy >= 0.9
    assert result.confusion[0][0] + result.confusion[1][1] == result.correct
    assert lines[-1]["step"] == lines[-1]["n_steps"] == 14 * 4
    save(tmp_path / "halves.safetensors", network, info, {"test": {"accuracy": result.accuracy}}, {"data": "halves"})
    _, again, _ = load_checkpoint(str(tmp_path / "halves.safetensors"))
    assert again.training["recipe"]["epochs"] == 14
    assert again.training["data"] == "halves"


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    short = dataclasses.replace(RECIPE, epochs=1)
    first, again, other = (_trained(r)[0].state_dict() for r in (short, short, dataclasses.replace(short, seed=1)))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_data_smaller_than_half_a_batch_still_makes_one_step_an_epoch() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=2, batch=16)
    lines: list[dict[str, Any]] = []
    train_checkpoint("tim", SMALL, halves(4, 0), BINNING, recipe, lines.append)
    assert [line["step"] for line in lines] == [1, 2]


def test_quiet_is_three_quarters_of_the_quietest_training_clip() -> None:
    counts = [np.full((3, 2, 16, 16), value, dtype=np.uint8) for value in (1, 2)]
    clips = ClipSet(counts, np.array([0, 1]), ("a", "b"), ["g1", "g2"])
    # 512 events in each bin of 10 ms are 51,200 a second, or twice that; the first percentile lies 1 % of the way up
    assert quiet_rate_hz(clips, BINNING) == pytest.approx(0.75 * 51_200 * 1.01)


def test_scenes_of_nothing_do_not_say_what_is_quiet() -> None:
    counts = [np.full((3, 2, 16, 16), value, dtype=np.uint8) for value in (1, 0)]
    clips = ClipSet(counts, np.array([0, 1]), ("a", "nothing"), ["g1", "g2"])
    assert quiet_rate_hz(clips, BINNING) == pytest.approx(0.75 * 51_200)


def test_linear_yardstick_tells_halves_apart() -> None:
    assert linear_accuracy(halves(32, 0), halves(20, 1)) == 1.0
