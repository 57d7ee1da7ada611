"""One small network of each name of the registry, whose layers all fire: what every test of all networks runs over."""

from typing import Any

import torch
from golden import Lively
from torch import Tensor, nn

from models.neuron import SpikingNetwork
from models.registry import NETWORKS, create_network
from models.zoo.spikingresformer import DualSpikeSelfAttention

TINY: dict[str, Any] = {"n_classes": 5, "size": (32, 32)}
# One small network of each name, and of each option that changes what is remembered between bins.
_SMALL: dict[str, tuple[str, dict[str, Any]]] = {
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
# A network that was only registered is tested at the settings it begins with.
CASES: dict[str, tuple[str, dict[str, Any]]] = {**{name: (name, {}) for name in NETWORKS}, **_SMALL}


def small_network(case: str, lively: Lively[SpikingNetwork]) -> SpikingNetwork:
    """The network of `case`, float64, eval."""
    name, settings = CASES[case]
    torch.manual_seed(0)
    network = create_network(name, **{**TINY, **settings})
    assert isinstance(network, SpikingNetwork)
    for module in network.modules():
        if isinstance(module, DualSpikeSelfAttention):
            module.f_x.fill_(0.1)
            module.f_attn.fill_(0.2)
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(50.0)  # heads begin so small that a wrong logit would pass for a right one
    return lively(network)


def counts(network: Any, n_bins: int, n_streams: int) -> Tensor:
    """Event counts (T, B, 2, H, W), drawn anew alike at each call."""
    width, height = network.configuration.size
    rate = torch.full((n_bins, n_streams, 2, height, width), 0.6, dtype=torch.float64)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(1))
