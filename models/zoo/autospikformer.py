"""Auto-Spikformer (Che et al., Frontiers in Neuroscience 2024; arXiv 2306.00807): Spikformer found by search in a supernet.

Width is chosen for the whole network; MLP ratio, heads, and the neurons' threshold and time constant layer by layer. One
supernet (`models.zoo.supernet`) is trained once, its subnets share its weights and are judged by accuracy and energy. The stem
keeps the supernet's widths but for its last two convolutions.

Layers, residuals and shapes are Spikformer's.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from models.functional import LIFParameters
from models.neuron import LIF
from models.search import SearchSpace
from models.zoo.configuration import (
    PerLayer,
    check_counts,
    check_layers,
    check_length,
    check_lif,
    check_pools,
    check_size,
    layer_values,
)
from models.zoo.spikformer import (
    ResidualBlock,
    SpikformerConfiguration,
    SpikingMLP,
    SpikingPatchSplitting,
    SpikingSelfAttention,
    TokenTransformer,
    classifier,
)
from pipeline.schema.errors import ConfigurationError

# Published space (file small_model_5_3tsmall_new of the released code). T is searched too, but is no setting of a network.
AUTOSPIKFORMER_SPACE = SearchSpace(
    whole={"dim": (192, 240, 336, 384), "n_time_bins": (2, 3, 4, 5, 6)},
    depth=(2, 3, 4),
    layer={
        "mlp_ratio": (3, 3.5, 4),
        "n_heads": (6, 12),
        "v_threshold": (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
        "tau": (1.25, 2, 10),
    },
)

# Exponent of energy in the fitness: our own choice, the paper's formula was not to be had.
_ENERGY_EXPONENT = -0.07


@dataclass(frozen=True, slots=True)
class AutoSpikformerConfiguration:
    """One subnet of Auto-Spikformer. `n_heads`, `mlp_ratio`, `v_threshold` and `tau` are one number, or one for each layer.

    `stem_dim`: width that the first three stages of the stem go by, that of the supernet; None is `dim`. `threshold_scope`: all
    neurons of a layer but the attention's, or, as the released code has it, the first of the MLP alone (the others stay at 1).
    The published subnets are for CIFAR (pools 0011); the event-camera default is ours, Spikformer's with four pools.
    """

    dim: int = 256
    depth: int = 2
    n_heads: PerLayer[int] = 8
    mlp_ratio: PerLayer[float] = 4
    v_threshold: PerLayer[float] = 1.0
    tau: PerLayer[float] = 2.0
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    stem_dim: int | None = None
    pools: str = "1111"
    scale: float = 0.125
    attention_threshold: float = 0.5
    threshold_scope: Literal["layer", "fc1"] = "layer"
    lif: LIFParameters = field(default_factory=LIFParameters)

    def layer(self, i: int) -> SpikformerConfiguration:
        """What the attention of layer `i` is as one of Spikformer."""
        lif = replace(self.lif, tau=layer_values(self.tau, self.depth)[i])
        if self.threshold_scope == "layer":
            lif = replace(lif, v_threshold=self.threshold(i))
        return SpikformerConfiguration(
            dim=self.dim,
            n_heads=layer_values(self.n_heads, self.depth)[i],
            scale=self.scale,
            attention_threshold=self.attention_threshold,
            qkv_bias=True,
            lif=lif,
        )

    def threshold(self, i: int) -> float:
        """Threshold searched for layer `i`."""
        return layer_values(self.v_threshold, self.depth)[i]

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with an eighth of its width."""
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels)
        check_layers(name, self.dim, self.depth, self.n_heads, self.mlp_ratio)
        check_size(name, self.size)
        check_pools(name, self.pools)
        if self.stem_dim is not None:
            check_counts(name, stem_dim=self.stem_dim)
            if self.stem_dim % 8:
                raise ConfigurationError(f"{name}: stem_dim {self.stem_dim} must be a multiple of 8")
        for setting, values in {"v_threshold": self.v_threshold, "tau": self.tau}.items():
            check_length(name, self.depth, setting, values)
        for i in range(self.depth):
            check_lif(name, replace(self.layer(i).lif, v_threshold=self.threshold(i)))


def fitness(accuracy: float, energy_uj: float, reference_uj: float) -> float:
    """What a subnet is worth: accuracy (0 to 1) times (energy / reference)^-0.07, so that half the energy is worth 5 %.

    Our own balance of the two: the released search looks at accuracy alone.
    """
    return accuracy * float((energy_uj / reference_uj) ** _ENERGY_EXPONENT)


class AutoSpikformer(TokenTransformer):
    """One subnet as a network of its own."""

    def __init__(self, configuration: AutoSpikformerConfiguration) -> None:
        dim, stem_dim = configuration.dim, configuration.stem_dim
        super().__init__(
            SpikingPatchSplitting(configuration.in_channels, dim, configuration.pools, configuration.lif, stem_dim=stem_dim),
            [_block(configuration, i) for i in range(configuration.depth)],
            classifier(dim, configuration.n_classes),
        )
        self.configuration = configuration


def _block(configuration: AutoSpikformerConfiguration, i: int) -> ResidualBlock:
    layer = configuration.layer(i)
    mlp = SpikingMLP(configuration.dim, layer_values(configuration.mlp_ratio, configuration.depth)[i], layer.lif)
    mlp.fc1.lif = LIF(replace(layer.lif, v_threshold=configuration.threshold(i)))
    return ResidualBlock(SpikingSelfAttention(layer), mlp)
