"""Checkpoints come back as they were, and foreign files are refused with a sentence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoint import CheckpointInfo, configuration_values, load_checkpoint, read_info, save_checkpoint
from models.registry import create_network
from pipeline.schema.errors import ConfigurationError, InputError

SETTINGS = {"dim": 16, "depth": 1, "n_heads": 2, "n_classes": 2, "size": (16, 16)}


def _info(network: torch.nn.Module, classes: list[str]) -> CheckpointInfo:
    return CheckpointInfo(
        network="tim",
        configuration=configuration_values(network.configuration),
        classes=classes,
        delta_t_us=10_000,
        n_time_bins=4,
        size=(16, 16),
    )


def test_network_comes_back_with_the_same_answers(tmp_path: Path) -> None:
    network = create_network("tim", **SETTINGS).eval()
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, network, _info(network, ["a", "b"]))
    loaded, info, name = load_checkpoint(str(path))
    x = torch.poisson(torch.ones(4, 1, 2, 16, 16))
    assert torch.equal(network(x), loaded(x))
    assert info.classes == ["a", "b"]
    assert name.startswith("tim@")
    assert len(name) == len("tim@") + 8


def test_name_that_is_no_file_says_where_was_looked() -> None:
    with pytest.raises(InputError, match="no checkpoint 'nowhere'"):
        load_checkpoint("nowhere")


def test_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(b"\x80\x04\x95 something pickled")
    with pytest.raises(InputError, match="not a safetensors checkpoint"):
        read_info(path)


def test_safetensors_of_somebody_else_say_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="saccade train"):
        read_info(path)


def test_weights_of_another_network_are_listed(tmp_path: Path) -> None:
    small = create_network("tim", **SETTINGS)
    path = tmp_path / "wrong.safetensors"
    info = _info(small, ["a", "b"])
    save_checkpoint(path, create_network("tim", **{**SETTINGS, "depth": 2}), info)
    with pytest.raises(ConfigurationError, match=r"unknown \['blocks\.1"):
        load_checkpoint(str(path))
