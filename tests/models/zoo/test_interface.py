"""What every network of the zoo promises alike: streams, steps and states (design 5)."""

from typing import Any

import pytest
import torch
from golden import Lively
from safetensors.torch import load, save
from torch import Tensor, nn

from models.neuron import SpikingNetwork
from models.registry import NETWORKS, create_network
from models.zoo.spikingresformer import DualSpikeSelfAttention

_TINY: dict[str, Any] = {"n_classes": 5, "size": (32, 32)}
# One small network of each name, and of each option that changes what is remembered between bins.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "spikformer": ("spikformer", {"dim": 32, "n_heads": 4}),
    "tim": ("tim", {"dim": 32, "n_heads": 4}),
    "qkformer": ("qkformer", {"dim": 32, "n_heads": 4}),
    "spikingresformer": (
        "spikingresformer",
        {"dim": (16, 32, 64), "depth": (1, 1, 1), "n_heads": (1, 2, 4), "group_size": 16, "size": (16, 16)},
    ),
    "qkformer, image": ("qkformer", {"dim": 32, "depth": (1, 1, 1), "n_heads": 2, "stem": "image"}),
    "qkformer, cifar": ("qkformer", {"dim": 64, "depth": (1, 1, 1), "n_heads": 2, "stem": "cifar", "size": (16, 16)}),
    "spikingresformer, image": (
        "spikingresformer",
        {
            "dim": (16, 32, 64),
            "depth": (1, 1, 1),
            "n_heads": (1, 2, 4),
            "group_size": 16,
            "prologue": "image",
            "size": (64, 64),
        },
    ),
    "spikingresformer, sfa": (
        "spikingresformer",
        {"dim": (16, 32, 64), "depth": (1, 1, 1), "n_heads": (1, 2, 4), "group_size": 16, "neuron": "sfa", "size": (16, 16)},
    ),
    "sdt": ("sdt", {"dim": 32, "n_heads": 4}),
    "sdt, linear": ("sdt", {"dim": 32, "n_heads": 4, "attention": "linear"}),
    "sdt, sfa": ("sdt", {"dim": 32, "n_heads": 4, "attention": "linear", "neuron": "sfa", "value_ratio": 2}),
    "bestformer": ("bestformer", {"dim": 32, "n_heads": 4, "n_time_bins": 3}),
    "bestformer_qk": ("bestformer", {"dim": 32, "n_heads": 4, "pools": "0011", "map_order": "qk", "size": (16, 16)}),
    "autost": ("autost", {"dim": 32, "n_heads": (4, 2), "mlp_ratio": (3, 3.5), "size": (16, 16)}),
    "autospikformer": ("autospikformer", {"dim": 24, "stem_dim": 32, "n_heads": (4, 2), "v_threshold": (0.8, 1.2)}),
    "spikformer, lidiff": ("spikformer", {"dim": 32, "n_heads": 4, "attention": "lidiff"}),
    "qkformer, lidiff": ("qkformer", {"dim": 32, "n_heads": 4, "attention": "lidiff"}),
    "saformer": ("saformer", {"dim": 32, "n_heads": 4}),
    "spikformer_v2": ("spikformer_v2", {"dim": 32, "n_heads": 4}),
    "spikformer_v2, pre": ("spikformer_v2", {"dim": 32, "n_heads": 4, "style": "pre", "stem_ratio": 2}),
    "semm": ("semm", {"dim": 32, "n_heads": 3, "expert_dim": 8}),
    "semm, small": ("semm", {"dim": 32, "n_heads": 3, "expert_dim": 8, "value_dim": 8}),
}


def _network(case: str, lively: Lively[SpikingNetwork]) -> SpikingNetwork:
    name, settings = SMALL[case]
    torch.manual_seed(0)
    network = create_network(name, **{**_TINY, **settings})
    assert isinstance(network, SpikingNetwork)
    for module in network.modules():
        if isinstance(module, DualSpikeSelfAttention):
            module.f_x.fill_(0.1)
            module.f_attn.fill_(0.2)
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(50.0)  # heads begin so small that a wrong logit would pass for a right one
    return lively(network)


def _counts(network: Any, n_bins: int, n_streams: int) -> Tensor:
    width, height = network.configuration.size
    rate = torch.full((n_bins, n_streams, 2, height, width), 0.6, dtype=torch.float64)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(1))


def test_every_network_is_held_to_the_interface() -> None:
    assert {name for name, _ in SMALL.values()} == set(NETWORKS)


@pytest.mark.parametrize("case", SMALL)
def test_mean_of_steps_from_rest_equals_the_whole_window(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = _network(case, lively)
    x = _counts(network, 5, 2)
    with torch.no_grad():
        state, logits = None, []
        for x_t in x:
            logits_t, state = network.step(x_t, state)
            logits.append(logits_t)
        torch.testing.assert_close(torch.stack(logits).mean(0), network(x), rtol=0, atol=1e-6)
        assert torch.stack(logits).std(dim=0).max() > 0.01  # bins differ


@pytest.mark.parametrize("case", SMALL)
def test_a_saved_state_goes_on_where_the_stream_was(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = _network(case, lively)
    x = _counts(network, 6, 2)
    with torch.no_grad():
        whole, _ = network.run(x)
        _, state = network.run(x[:4])
        restored = load(save({name: value.contiguous() for name, value in state.items()}))
        rest, _ = network.run(x[4:], restored)
        from_rest, _ = network.run(x[4:])
    torch.testing.assert_close(rest, whole[4:], rtol=0, atol=1e-9)
    assert (from_rest - whole[4:]).abs().max() > 1e-3  # the state matters


@pytest.mark.parametrize("case", SMALL)
def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = _network(case, lively)
    x = _counts(network, 4, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", SMALL)
def test_a_gradient_reaches_every_parameter(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = _network(case, lively)
    network(_counts(network, 4, 2)).square().sum().backward()
    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert silent == []
