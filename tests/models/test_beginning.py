"""A training that begins with another network's weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import CASES, TINY

from models.beginning import begin_from
from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import NETWORKS, create_network
from pipeline.schema.errors import ConfigurationError

SIZES: dict[str, Any] = {"size": (16, 16), "dim": 16, "depth": 1, "n_heads": 2, "pools": "0011"}


def _checkpoint(path: Path, classes: list[str], name: str = "tim", **settings: Any) -> torch.nn.Module:
    network = create_network(name, **{**settings, "n_classes": len(classes)})
    info = CheckpointInfo(name, configuration_values(network.configuration), classes, 10_000, 4, (16, 16))
    save_checkpoint(path, network, info)
    return network


def test_the_same_classes_begin_with_every_weight_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    old = _checkpoint(path, ["a", "b", "c"], **SIZES).state_dict()
    network, info, title = begin_from(str(path), ["a", "b", "c"], {})
    assert info.classes == ["a", "b", "c"]
    assert title.startswith("tim@")
    assert network.training
    own = network.state_dict()
    assert set(own) == set(old)
    assert all(torch.equal(own[key], old[key]) for key in old)


def test_rows_of_the_classifier_follow_the_names_and_new_names_begin_fresh(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    old = _checkpoint(path, ["a", "b", "c"], **SIZES).state_dict()
    torch.manual_seed(1)
    network, _, _ = begin_from(str(path), ["new", "c", "a", "newer"], {})
    own = network.state_dict()
    assert own["head.weight"].shape == (4, 16)
    assert torch.equal(own["head.weight"][1:3], old["head.weight"][[2, 0]])
    assert torch.equal(own["head.bias"][1:3], old["head.bias"][[2, 0]])
    assert not any(torch.equal(own["head.weight"][0], row) for row in old["head.weight"])
    assert all(torch.equal(own[key], old[key]) for key in old if not key.startswith("head."))


def test_settings_that_leave_the_weights_alone_may_change(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    _checkpoint(path, ["a", "b"], **SIZES)
    network, _, _ = begin_from(str(path), ["a", "b"], {"lif": {"alpha": 2.0}})
    assert network.configuration.lif.alpha == 2.0


@pytest.mark.parametrize("settings", [{"dim": 32}, {"depth": 2}], ids=["wider", "deeper"])
def test_settings_that_other_weights_would_need_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "old.safetensors"
    _checkpoint(path, ["a", "b"], **SIZES)
    with pytest.raises(ConfigurationError, match="do not fit"):
        begin_from(str(path), ["a", "b"], settings)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_finds_its_classifier(tmp_path: Path, name: str) -> None:
    path = tmp_path / "old.safetensors"
    network, settings = CASES[name]
    old = _checkpoint(path, ["a", "b"], network, **{**TINY, **settings, "n_classes": 2}).state_dict()
    own = begin_from(str(path), ["b", "a", "c"], {})[0].state_dict()
    changed = [key for key, value in own.items() if value.shape != old[key].shape]
    assert changed
    assert all(torch.equal(own[key][:2], old[key][[1, 0]]) for key in changed)
