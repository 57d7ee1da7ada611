"""Auto-Spikformer: the counts of its released subnets, and which neurons the searched constants reach."""

from typing import Any

import pytest
import torch
from golden import Lively

from models.checkpoint import configuration_values
from models.neuron import LIF
from models.registry import create_network
from models.zoo.autospikformer import AUTOSPIKFORMER_SPACE, fitness
from models.zoo.spikformer import Spikformer
from pipeline.schema.errors import ConfigurationError

# Released subnets are slices of a supernet 384 wide, for CIFAR.
CIFAR: dict[str, Any] = {"in_channels": 3, "size": (32, 32), "pools": "0011", "stem_dim": 384}
SMALL: dict[str, Any] = {"dim": 16, "depth": 2, "n_heads": 2, "n_classes": 3, "size": (16, 16)}


@pytest.mark.parametrize(
    ("settings", "n_parameters"),
    [
        ({"dim": 384, "depth": 4, "n_heads": 12, "n_classes": 10}, 9_324_730),
        ({"dim": 240, "depth": 4, "mlp_ratio": (4, 4, 3.5, 4), "n_heads": (12, 12, 6, 6), "n_classes": 10}, 3_878_578),
        (
            {"dim": 384, "depth": 5, "mlp_ratio": (3.5, 4, 3.5, 3.5, 3.5), "n_heads": (12, 12, 6, 6, 6), "n_classes": 10},
            10_512_442,
        ),
        ({"dim": 240, "depth": 4, "mlp_ratio": (3.5, 3, 3.5, 3.5), "n_heads": 12, "n_classes": 100}, 3_668_428),
        ({"dim": 384, "depth": 2, "mlp_ratio": (3.5, 3), "n_heads": 6, "n_classes": 100}, 5_355_604),
    ],
)
def test_parameters_equal_those_of_the_released_subnets(settings: dict[str, Any], n_parameters: int) -> None:
    with torch.device("meta"):
        network = create_network("autospikformer", **CIFAR, **settings)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def _thresholds(**settings: Any) -> dict[str, float]:
    network = create_network("autospikformer", **SMALL, v_threshold=(0.6, 1.4), tau=(10, 1.25), **settings)
    return {name: layer.parameters_.v_threshold for name, layer in network.named_modules() if isinstance(layer, LIF)}


def test_searched_threshold_reaches_all_neurons_of_its_layer_but_the_attentions() -> None:
    thresholds = _thresholds()
    for i, threshold in enumerate((0.6, 1.4)):
        layer = {name.removeprefix(f"blocks.{i}."): v for name, v in thresholds.items() if name.startswith(f"blocks.{i}.")}
        assert layer.pop("attn.lif") == 0.5
        assert len(layer) == 6
        assert set(layer.values()) == {threshold}
    assert {v for name, v in thresholds.items() if name.startswith("stem")} == {1.0}


def test_released_code_gives_the_threshold_to_the_first_neurons_of_the_mlp_alone() -> None:
    thresholds = _thresholds(threshold_scope="fc1")
    assert {name: v for name, v in thresholds.items() if v not in (0.5, 1.0)} == {
        "blocks.0.mlp.fc1.lif": 0.6,
        "blocks.1.mlp.fc1.lif": 1.4,
    }


def test_searched_time_constant_reaches_all_neurons_of_its_layer() -> None:
    network = create_network("autospikformer", **SMALL, tau=(10, 1.25))
    taus = {name: layer.parameters_.tau for name, layer in network.named_modules() if isinstance(layer, LIF)}
    assert {tau for name, tau in taus.items() if name.startswith("blocks.0")} == {10.0}
    assert {tau for name, tau in taus.items() if name.startswith("blocks.1")} == {1.25}
    assert {tau for name, tau in taus.items() if name.startswith("stem")} == {2.0}


def test_with_nothing_searched_it_is_spikformer(lively: Lively[torch.nn.Module]) -> None:
    torch.manual_seed(2)  # with some others the small network is silent
    network = lively(create_network("autospikformer", **{**SMALL, "pools": "0011"}))
    twin = create_network("spikformer", **SMALL, pools="0011", scale=0.125, qkv_bias=True).double().eval()
    assert isinstance(twin, Spikformer)
    twin.load_state_dict(network.state_dict())
    x = torch.poisson(torch.full((3, 2, 2, 16, 16), 0.6, dtype=torch.float64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(x)
        assert torch.equal(logits, twin(x))
    assert logits.abs().max() > 0.001


def test_half_the_energy_is_worth_five_percent_of_accuracy() -> None:
    assert fitness(0.8, 3.0, 3.0) == pytest.approx(0.8)
    assert fitness(0.8, 1.5, 3.0) == pytest.approx(0.8 * 1.0497, rel=1e-4)


def test_published_space_is_that_of_the_sheet() -> None:
    assert AUTOSPIKFORMER_SPACE.whole["dim"] == (192, 240, 336, 384)
    assert AUTOSPIKFORMER_SPACE.layer["v_threshold"] == pytest.approx([0.6 + 0.2 * i for i in range(8)])


@pytest.mark.parametrize(
    "settings",
    [{"v_threshold": (1.0,)}, {"tau": (2, 2, 2)}, {"tau": (2, 0.5)}, {"v_threshold": 0}, {"stem_dim": 20}, {"dim": 20}],
)
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("autospikformer", **{**SMALL, **settings})


def test_a_configuration_of_layers_comes_back_from_a_checkpoints_metadata() -> None:
    network = create_network("autospikformer", **SMALL, mlp_ratio=(3.5, 4), stem_dim=32, tau=(10, 1.25))
    again = create_network("autospikformer", **configuration_values(network.configuration))
    assert again.configuration == network.configuration
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
