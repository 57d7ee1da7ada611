"""Names of networks, and how a name with a configuration becomes a network."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from torch import Tensor, nn

from models.neuron import State
from models.zoo.qkformer import QKFormer, QKFormerConfiguration
from models.zoo.sdt import SDTConfiguration, SpikeDrivenTransformer
from models.zoo.spikformer import Spikformer, SpikformerConfiguration
from models.zoo.spikingresformer import SpikingResformer, SpikingResformerConfiguration
from models.zoo.tim import TIMConfiguration, TIMSpikformer
from pipeline.schema.errors import ConfigurationError


class Network(Protocol):
    """What every network of the zoo can do (design 5). T bins, B streams, K classes, event counts (2, H, W)."""

    configuration: Any

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (B, K), mean over bins from rest, of counts (T, B, 2, H, W)."""
        ...

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (T, B, K) and state of counts (T, B, 2, H, W) from a state."""
        ...

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (B, K) and state of one bin of counts (B, 2, H, W) from a state."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkEntry:
    """One network of the zoo: its classes, its paper, and what has been checked against what."""

    configuration: type[Any]
    build: Callable[[Any], nn.Module]
    paper: str
    verified_by: str


NETWORKS: Mapping[str, NetworkEntry] = types.MappingProxyType(
    {
        "spikformer": NetworkEntry(
            SpikformerConfiguration,
            Spikformer,
            "Zhou et al., Spikformer: When Spiking Neural Network Meets Transformer, ICLR 2023",
            "golden vectors of stem, attention and block (float64); parameter counts 10, 11, 101 classes",
        ),
        "tim": NetworkEntry(
            TIMConfiguration,
            TIMSpikformer,
            "Shen et al., TIM: An Efficient Temporal Interaction Module for Spiking Transformer, IJCAI 2024",
            "golden vectors of module, attention and block (float64); parameter counts 10, 11 classes",
        ),
        "qkformer": NetworkEntry(
            QKFormerConfiguration,
            QKFormer,
            "Zhou et al., QKFormer: Hierarchical Spiking Transformer using Q-K Attention, NeurIPS 2024",
            "golden vectors of stem, stage embedding, token attention and self-attention (float64); channel attention against "
            "the paper's formula, no code of it was released; parameter counts 10, 11, 101 classes; operations of a bin",
        ),
        "spikingresformer": NetworkEntry(
            SpikingResformerConfiguration,
            SpikingResformer,
            "Shi et al., SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks, CVPR 2024",
            "golden vectors of attention, firing rates and feed-forward (float64); parameter counts 10, 11, 101 classes; "
            "operations of a bin",
        ),
        "sdt": NetworkEntry(
            SDTConfiguration,
            SpikeDrivenTransformer,
            "Yao et al., Spike-driven Transformer, NeurIPS 2023",
            "golden vectors of the block, without and with pools (float64); parameter counts 10, 11, 101 classes; operations "
            "of a bin",
        ),
    }
)


def create_network(name: str, **settings: Any) -> nn.Module:
    """Fresh network `name`; `settings` are fields of its configuration (dim, depth, n_heads, n_classes, size, ...)."""
    entry = NETWORKS.get(name)
    if entry is None:
        raise ConfigurationError(f"no network called {name!r}; there are: {', '.join(NETWORKS)}")
    return entry.build(read_configuration(entry.configuration, name, settings))


def read_configuration(kind: type[Any], name: str, settings: Mapping[str, Any]) -> Any:
    """Configuration dataclass `kind` from plain values, as JSON gives them; unknown words and wrong types are refused."""
    known = typing.get_type_hints(kind)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigurationError(f"{name} has no setting {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    try:
        configuration = msgspec.convert(dict(settings), kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"setting of {name} does not fit: {error}") from error
    configuration.check(name)
    return configuration
