"""Names of networks, and how a name with a configuration becomes a network."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from torch import Tensor, nn

from models.neuron import State
from models.zoo.autospikformer import AutoSpikformer, AutoSpikformerConfiguration
from models.zoo.autost import AutoST, AutoSTConfiguration
from models.zoo.bestformer import BESTformer, BESTformerConfiguration
from models.zoo.qkformer import QKFormer, QKFormerConfiguration
from models.zoo.saformer import SAFormer, SAFormerConfiguration
from models.zoo.sdt import SDTConfiguration, SpikeDrivenTransformer
from models.zoo.semm import SEMM, SEMMConfiguration
from models.zoo.spikformer import Spikformer, SpikformerConfiguration
from models.zoo.spikformer_v2 import SpikformerV2, SpikformerV2Configuration
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
    """One network of the zoo: its classes, its paper, its idea in a line, and what has been checked against what.

    `configuration` is a frozen dataclass with `n_classes`, `size`, `in_channels` and `check(name)`; `build` makes the network.
    """

    configuration: type[Any]
    build: Callable[[Any], nn.Module]
    paper: str
    verified_by: str
    idea: str = ""


_networks: dict[str, NetworkEntry] = {
    "spikformer": NetworkEntry(
        SpikformerConfiguration,
        Spikformer,
        "Zhou et al., Spikformer: When Spiking Neural Network Meets Transformer, ICLR 2023",
        "golden vectors of stem, attention and block (float64); parameter counts 10, 11, 101 classes",
        "self-attention of spikes alone, without softmax; residuals are sums of spikes",
    ),
    "tim": NetworkEntry(
        TIMConfiguration,
        TIMSpikformer,
        "Shen et al., TIM: An Efficient Temporal Interaction Module for Spiking Transformer, IJCAI 2024",
        "golden vectors of module, attention and block (float64); parameter counts 10, 11 classes",
        "Spikformer whose queries also remember their own past, through one convolution for each block",
    ),
    "qkformer": NetworkEntry(
        QKFormerConfiguration,
        QKFormer,
        "Zhou et al., QKFormer: Hierarchical Spiking Transformer using Q-K Attention, NeurIPS 2024",
        "golden vectors of stem, stage embedding, token attention and self-attention (float64); channel attention against "
        "the paper's formula, no code of it was released; parameter counts 10, 11, 101 classes; operations of a bin",
        "attention of linear cost, one bit fired for each token and head, in stages of growing width",
    ),
    "spikingresformer": NetworkEntry(
        SpikingResformerConfiguration,
        SpikingResformer,
        "Shi et al., SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks, CVPR 2024",
        "golden vectors of attention, firing rates and feed-forward (float64); parameter counts 10, 11, 101 classes; "
        "operations of a bin",
        "a ResNet's stages with dual spike self-attention, scaled by measured firing rates",
    ),
    "sdt": NetworkEntry(
        SDTConfiguration,
        SpikeDrivenTransformer,
        "Yao et al., Spike-driven Transformer, NeurIPS 2023",
        "golden vectors of the block, without and with pools, and of E-SpikeFormer's neuron and attention (float64); "
        "parameter counts 10, 11, 101 classes; operations of a bin",
        "attention by masks and sums alone; residuals are currents, so that every layer sees spikes",
    ),
    "autost": NetworkEntry(
        AutoSTConfiguration,
        AutoST,
        "Wang et al., AutoST: Training-free Neural Architecture Search for Spiking Transformers, arXiv 2307.00293",
        "golden vectors of the block (float64); parameter count of the released network and of the extremes of its spaces; "
        "operations of a bin in closed form",
        "candidates ranked by operations, without training; neurons learn their leak",
    ),
    "autospikformer": NetworkEntry(
        AutoSpikformerConfiguration,
        AutoSpikformer,
        "Che et al., Auto-Spikformer: Spikformer Architecture Search, Frontiers in Neuroscience 2024",
        "parameter counts of five released subnets; subnets of the supernet against networks with its slices",
        "Spikformer searched in a supernet of shared weights, thresholds and time constants included",
    ),
    "bestformer": NetworkEntry(
        BESTformerConfiguration,
        BESTformer,
        "Cao et al., BESTformer: Binary Event-Driven Spiking Transformer, IJCAI 2025",
        "golden vectors of binary convolution with gradients, attention with both maps and reversible block (float64); "
        "parameter counts of CIFAR, ImageNet and event networks and of their one-bit weights; blocks inverted",
        "weights and attention maps of one bit, in blocks that can be inverted",
    ),
    "spikformer_v2": NetworkEntry(
        SpikformerV2Configuration,
        SpikformerV2,
        "Zhou et al., Spikformer V2: Join the High Accuracy Club on ImageNet with an SNN Ticket, arXiv 2401.02020",
        "parameter counts of three published sizes; no code was released: the order of neurons and residuals in the stem, "
        "the event variant and the masked pre-training are our own design",
        "Spikformer with a stem of strided and widening convolutions in place of pools, for masked pre-training",
    ),
    "saformer": NetworkEntry(
        SAFormerConfiguration,
        SAFormer,
        "SAFormer: spike aggregation transformer, arXiv 2412.13553",
        "attention against a loop over tokens; operations of a bin in closed form; neither code nor text of the paper was "
        "at hand: the formulas are our own design",
        "attention from spikes of queries and keys alone, with a depthwise convolution for what is near",
    ),
    "semm": NetworkEntry(
        SEMMConfiguration,
        SEMM,
        "Spiking Transformer with Experts Mixture, NeurIPS 2024",
        "vectors of a reimplementation of attention and MLP (float64), no code of the authors was found; parameter counts "
        "of its CIFAR and ImageNet networks; operations of a bin in closed form",
        "heads are experts with shared keys and values; a router of spikes lets them through",
    ),
}

# Every network there is, by name; `register_network` adds to it.
NETWORKS: Mapping[str, NetworkEntry] = types.MappingProxyType(_networks)


def register_network(name: str, entry: NetworkEntry) -> None:
    """Add a network to the zoo: from here on it is listed, trained, saved and loaded by `name` (docs/add-a-network.md)."""
    if name in _networks:
        raise ConfigurationError(f"there is a network called {name!r} already; take another name")
    if not name.isidentifier():
        raise ConfigurationError(f"network name {name!r}: expected letters, digits and underscores")
    if not (dataclasses.is_dataclass(entry.configuration) and hasattr(entry.configuration, "check")):
        raise ConfigurationError(f"{name}: its configuration must be a dataclass with a method check(name)")
    if any(entry.configuration is known.configuration for known in _networks.values()):
        raise ConfigurationError(f"{name}: its configuration tells another network's checkpoints apart; give it its own class")
    _networks[name] = entry


def name_of(network: nn.Module) -> str:
    """Name of a network of the zoo, by the class of its configuration; ConfigurationError for any other module."""
    kind = type(getattr(network, "configuration", None))
    name = next((name for name, entry in _networks.items() if entry.configuration is kind), None)
    if name is None:
        raise ConfigurationError(
            f"{type(network).__name__} is no network of this zoo; models.registry.register_network adds one"
        )
    return name


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
