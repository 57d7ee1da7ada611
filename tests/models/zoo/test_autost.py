"""AutoST against the released block, the published counts and spaces, and its training-free search."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Golden

from models.energy import SpikeMeter
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.search import Evolution
from models.zoo.autost import (
    AUTOST_SPACES,
    AutoST,
    AutoSTConfiguration,
    CurrentSelfAttention,
    flops_score,
    n_parameters,
    search_autost,
)
from models.zoo.sdt import CurrentMLP
from models.zoo.spikformer import ResidualBlock
from pipeline.schema.errors import ConfigurationError

CIFAR: dict[str, Any] = {"in_channels": 3, "size": (32, 32), "pools": "0011"}


def _names(key: str) -> str:
    # released neurons stand behind their layer; ours before the layer they feed, but for those of q, k and v
    for old, new in {"attn.in.neuron": "attn.in_lif", "attn.out.neuron": "attn.lif", "mlp.fc1.neuron": "mlp.lif1"}.items():
        key = key.replace(old, new)
    key = key.replace("mlp.fc2.neuron", "mlp.lif2").replace("neuron", "lif")
    for layer in ("q", "k", "v"):
        key = key.replace(f"attn.{layer}.fc", f"attn.{layer}.proj.conv").replace(f"attn.{layer}.bn", f"attn.{layer}.proj.bn")
    return key.replace(".fc.", ".conv.")


def test_block_equals_the_released_one(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "autost_block")
    configuration = AutoSTConfiguration(dim=32, n_heads=4, mlp_ratio=3)
    block = ResidualBlock(CurrentSelfAttention(configuration, 4), CurrentMLP(32, 3, configuration.lif, neuron="plif"))
    golden.load(block, rename=_names)
    name_memories(block)
    x = golden["x"].transpose(-1, -2).unflatten(-1, (4, 4))  # (T, B, N, C) to (T, B, C, H, W)
    y = block(x, Memory(None)).flatten(3).transpose(-1, -2)
    torch.testing.assert_close(y, golden["y"], rtol=0, atol=1e-9)


def _n_parameters(**settings: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create_network("autost", **settings).parameters())


def test_parameters_of_the_hand_made_network_equal_the_released_count() -> None:
    assert _n_parameters(**CIFAR, n_classes=10, dim=384, depth=4, n_heads=8) == 9_324_761


@pytest.mark.parametrize(("space", "fewest", "most"), [("tiny", 0.94, 23.0), ("small", 2.33, 48.2), ("base", 8.18, 150.8)])
def test_extremes_of_the_spaces_have_the_published_sizes(space: str, fewest: float, most: float) -> None:
    chosen = AUTOST_SPACES[space]
    sizes = [
        _n_parameters(
            **CIFAR,
            n_classes=100,
            dim=end(chosen.whole["dim"]),
            depth=end(chosen.depth),
            n_heads=end(chosen.layer["n_heads"]),
            mlp_ratio=end(chosen.layer["mlp_ratio"]),
        )
        for end in (min, max)
    ]
    assert round(sizes[0] / 1e6, 2) == fewest
    assert round(sizes[1] / 1e6, 1) == most


@pytest.mark.parametrize("pools", ["0011", "1111"])
def test_score_in_closed_form_equals_the_operations_that_a_meter_counts(pools: str) -> None:
    settings: dict[str, Any] = {
        "dim": 32,
        "depth": 2,
        "n_heads": (4, 8),
        "mlp_ratio": (3, 3.5),
        "size": (32, 16),
        "pools": pools,
    }
    network = create_network("autost", **settings).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.ones(1, 2, 16, 32))
    reading = meter.read()
    meter.close()
    assert reading.macs == flops_score(AutoSTConfiguration(**settings))
    # counts, the current that the position branch sees, and the mean current of the head are no spikes
    assert {name for name, count in reading.layers.items() if count.is_dense} == {"stem.stages.0.conv", "stem.rpe.conv", "head"}


def test_score_equals_the_sheet_for_the_released_stem() -> None:
    dim, n_tokens, places = 384, 64, 32 * 32
    stem = places * 9 * (3 * dim // 8 + dim**2 // 32 + dim**2 // 8) + places // 4 * 9 * dim**2 // 2 + places // 16 * 9 * dim**2
    layers = 4 * (n_tokens * 4 * dim**2 + 2 * n_tokens**2 * dim + 2 * 4 * n_tokens * dim**2)
    configuration = AutoSTConfiguration(dim=dim, depth=4, n_classes=10, in_channels=3, size=(32, 32))
    assert flops_score(configuration) == stem + layers + dim * 10


def test_search_finds_the_best_of_its_window_without_training() -> None:
    space, window = AUTOST_SPACES["tiny"], (4_000_000, 5_000_000)
    evolution = Evolution(population=30, rounds=10, n_kept=5, n_mutations=15, n_crossovers=15)
    found = search_autost(space, window, evolution, **CIFAR, n_classes=10)
    scores = [flops_score(configuration) for configuration in found]
    assert scores == sorted(scores, reverse=True)
    assert all(window[0] <= n_parameters(configuration) <= window[1] for configuration in found)
    rng = random.Random(1)
    drawn = [AutoSTConfiguration(**CIFAR, n_classes=10, **space.settings(space.draw(rng))) for _ in range(1000)]
    allowed = [flops_score(c) for c in drawn if window[0] <= n_parameters(c) <= window[1]]
    assert len(allowed) > 50
    assert scores[0] >= max(allowed)


@pytest.mark.parametrize(
    "settings", [{"dim": 32, "depth": 2, "n_heads": (4, 8), "mlp_ratio": (3, 3.5)}, {**CIFAR, "n_classes": 100, "depth": 4}]
)
def test_parameters_in_closed_form_equal_those_of_the_network(settings: dict[str, Any]) -> None:
    assert n_parameters(AutoSTConfiguration(**settings)) == _n_parameters(**settings)


def test_the_leak_of_every_neuron_learns() -> None:
    network = AutoST(AutoSTConfiguration(dim=16, depth=1, n_heads=2, n_classes=3, size=(16, 16)))
    x = torch.poisson(torch.full((3, 2, 2, 16, 16), 1.0), generator=torch.Generator().manual_seed(0))
    network(x).square().sum().backward()
    leaks = [parameter for name, parameter in network.named_parameters() if name.endswith(".w")]
    assert len(leaks) == 3 + 7
    assert all(leak.grad is not None for leak in leaks)


@pytest.mark.parametrize(
    "settings",
    [{"n_heads": (4, 8, 4)}, {"n_heads": (4, 7)}, {"mlp_ratio": 0}, {"dim": 20}, {"lif": {"tau": 1.0}}, {"pools": "11"}],
)
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("autost", **{"depth": 2, **settings})
