"""Where the loop runs, and what it refuses."""

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_clips import BINNING, SMALL, halves

from models.registry import create_network
from pipeline.schema.errors import ConfigurationError, GpuMissingError, MissingExtraError, UsageError
from training.augmentation import NONE
from training.batches import Share
from training.loop import Placement, _check, describe, fit, is_first_process, launch, make_optimiser
from training.recipes import Recipe

RECIPE = Recipe(epochs=2, batch=8, augmentation=NONE)


def _trained(recipe: Recipe, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    torch.manual_seed(0)
    network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
    lines: list[dict[str, Any]] = []
    fit(network, halves(16, 0), BINNING, recipe, lines.append, **options)
    return network, lines


def test_every_step_tells_where_it_is_and_how_good() -> None:
    network, lines = _trained(RECIPE)
    assert [(line["epoch"], line["step"], line["n_steps"]) for line in lines] == [(0, 1, 4), (0, 2, 4), (1, 3, 4), (1, 4, 4)]
    assert set(lines[0]) == {"epoch", "step", "n_steps", "loss", "accuracy", "rate", "gradient", "seconds"}
    assert all(line["gradient"] > 0.0 for line in lines)
    assert lines[0]["rate"] == pytest.approx(RECIPE.learning_rate)
    assert not network.training
    assert is_first_process()


def test_half_precision_takes_other_steps_and_leaves_float32_weights() -> None:
    (plain, _), (half, lines) = _trained(RECIPE), _trained(RECIPE, placement=Placement(precision="bf16-mixed"))
    one, other = plain.state_dict(), half.state_dict()
    assert {value.dtype for value in other.values()} == {value.dtype for value in one.values()}
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert all(line["loss"] < 2.0 for line in lines)


def test_gradients_are_left_alone_where_they_are_not_to_be_clipped() -> None:
    tight, loose = (dataclasses.replace(RECIPE, clip_norm=norm, epochs=1) for norm in (1e6, 0.0))
    (clipped, _), (free, lines) = _trained(tight), _trained(loose)
    assert "gradient" not in lines[-1]
    one, other = clipped.state_dict(), free.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_mixed_lengths_leave_norms_of_whole_windows() -> None:
    network, lines = _trained(dataclasses.replace(RECIPE, steps="mixed", loss="mean"))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert lines[-1]["step"] == 4
    # the plain mean of ten batches, not the running one of three passes a step
    assert {int(norm.num_batches_tracked) for norm in norms} == {10}
    assert {norm.momentum for norm in norms} == {0.1}


def test_a_loss_that_is_no_number_ends_the_training_with_advice() -> None:
    with pytest.raises(ConfigurationError, match="smaller --rate"):
        _trained(dataclasses.replace(RECIPE, learning_rate=1e30, warmup=0.0, clip_norm=0.0, epochs=4))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_and_precisions_it_would_need_are_refused() -> None:
    with pytest.raises(GpuMissingError, match="--device cuda"):
        launch(Placement("cuda"))
    with pytest.raises(UsageError, match="bf16-mixed"):
        launch(Placement("auto", precision="16-mixed"))
    assert describe(Placement("auto")) == {"device": "cpu", "processes": 1, "precision": "32"}


def test_without_the_extra_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"saccade\[train\]"):
        launch(Placement())


def test_what_cannot_be_shared_or_run_for_other_lengths_is_refused() -> None:
    network = SimpleNamespace(configuration=SimpleNamespace())
    mixed = dataclasses.replace(RECIPE, steps="mixed", loss="mean")
    with pytest.raises(UsageError, match="multiple of 3"):
        _check(network, RECIPE, Share(0, 3))
    with pytest.raises(UsageError, match="one process"):
        _check(network, mixed, Share(0, 2))
    with pytest.raises(ConfigurationError, match="each bin"):
        _check(SimpleNamespace(configuration=SimpleNamespace(n_time_bins=3)), mixed, Share())


def test_what_has_one_axis_does_not_decay() -> None:
    network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
    decaying, kept = make_optimiser(network, dataclasses.replace(RECIPE, weight_decay=0.5)).param_groups
    assert (decaying["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    names = {id(p): name for name, p in network.named_parameters()}
    found = {names[id(p)] for p in kept["params"]}
    assert {"stem.stages.0.bn.weight", "stem.stages.0.bn.bias", "head.bias"} <= found
    assert all("bn" in name or name.endswith("bias") for name in found)
    assert len(found) + len(decaying["params"]) == len(names)
