"""Spike-driven Transformer (Yao et al., NeurIPS 2023): currents add up before the neurons, so every layer sees spikes alone.

    SDSA: g = SN(sum over tokens of K * V),  X = Q * g       one bit for each channel masks the queries: no product, no scale

Residuals are currents: each branch fires first and ends in a batch norm. Shapes: T time bins, B streams, C channels, H x W map.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, Neuron, SpikingNetwork, State, name_memories, neuron_layer
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import ConvolutionNeuron, ResidualBlock, SpikeSum, classifier, folded
from pipeline.schema.errors import ConfigurationError

Attention = Literal["sdsa", "linear"]
SpikingNeuron = Literal["lif", "sfa"]
# Makes a 1x1 convolution of so many channels in and out.
Pointwise = Callable[[int, int], nn.Conv2d]


@dataclass(frozen=True, slots=True)
class SDTConfiguration:
    """Spike-driven Transformer for event frames. `pools` marks the stem stages that halve the map.

    Published: DVS128 Gesture at 128 x 128 with pools 0111; CIFAR10-DVS at 64 x 64 with pools 0011 and `attention_pool`, which
    lets a spike of keys, values and masks spread to its neighbours (max-pools 3x3 that keep the size).

    Attention `linear` is that of E-SpikeFormer, with values `value_ratio` times as wide; neuron `sfa` its neuron, for the whole
    network: counts 0 .. lif.n_levels in a bin, which bits of `sdsa` cannot mask.
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 8
    mlp_ratio: int = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "0111"
    attention: Attention = "sdsa"
    value_ratio: int = 1
    neuron: SpikingNeuron = "lif"
    attention_pool: bool = False
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        check_counts(name, value_ratio=self.value_ratio)
        check_lif(name, self.lif)
        if self.attention == "sdsa" and (self.neuron == "sfa" or self.value_ratio != 1):
            raise ConfigurationError(
                f"{name}: neuron {self.neuron} and value_ratio {self.value_ratio} do not fit attention sdsa, which masks "
                "spikes of equal width; take attention linear"
            )
        if self.attention == "linear" and self.attention_pool:
            raise ConfigurationError(f"{name}: attention_pool spreads the masks of attention sdsa; linear has none")


class Projection(nn.Module):
    """A convolution and BN, not fired: spikes (T, B, C, H, W) to a current (T, B, C', H', W')."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)

    def forward(self, s: Tensor) -> Tensor:
        """Current (T, B, C', H', W')."""
        return folded(lambda y: self.bn(self.conv(y)), s)


class Stem(nn.Module):
    """Three stages that fire, one that does not, and a position branch added to its current."""

    def __init__(self, in_channels: int, dim: int, pools: str, lif: LIFParameters, neuron: Neuron = "lif") -> None:
        super().__init__()
        widths = [in_channels, dim // 8, dim // 4, dim // 2]
        self.stages = nn.ModuleList(
            ConvolutionNeuron(widths[i], widths[i + 1], lif, pool=pools[i] == "1", neuron=neuron) for i in range(3)
        )
        self.last = Projection(nn.Conv2d(dim // 2, dim, kernel_size=3, padding=1, bias=False))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pools[3] == "1" else nn.Identity()
        self.lif = neuron_layer(neuron, lif)
        self.position = Projection(nn.Conv2d(dim, dim, kernel_size=3, padding=1, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H', W') of event counts (T, B, 2, H, W)."""
        for stage in self.stages:
            x = stage(x, memory)
        z = folded(self.pool, self.last(x))
        out: Tensor = z + self.position(self.lif(z, memory))
        return out


class ChannelNeuron(nn.Module):
    """1x1 convolution `conv`, BN, `lif`: spikes (T, B, C, H, W) to spikes of that shape."""

    def __init__(self, conv: nn.Conv2d, lif: LIF) -> None:
        super().__init__()
        self.proj = Projection(conv)
        self.lif = lif

    def forward(self, s: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W)."""
        spikes: Tensor = self.lif(self.proj(s), memory)
        return spikes


def split_heads(s: Tensor, n_heads: int) -> Tensor:
    """(T, B, n_heads, N, D) of (T, B, C, H, W): a head is C / n_heads neighbouring channels."""
    T, B, C = s.shape[:3]
    return s.view(T, B, n_heads, C // n_heads, -1).transpose(-1, -2)


class SpikeDrivenSelfAttention(nn.Module):
    """SDSA: linear in tokens and channels, additions and gates alone."""

    def __init__(self, configuration: SDTConfiguration) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads = configuration.n_heads
        self.in_lif = LIF(lif)
        self.q, self.k, self.v = (ChannelNeuron(nn.Conv2d(dim, dim, kernel_size=1, bias=False), LIF(lif)) for _ in range(3))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1) if configuration.attention_pool else nn.Identity()
        self.sum = SpikeSum(dim=3)
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = Projection(nn.Conv2d(dim, dim, kernel_size=1))

    def _spread(self, s: Tensor) -> Tensor:
        """Pool over the last two axes: the map, or, as the released layout has it, tokens and channels of a head."""
        return folded(self.pool, s)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        s = self.in_lif(x, memory)
        q = split_heads(self.q(s, memory), self.n_heads)
        k, v = (split_heads(self._spread(layer(s, memory)), self.n_heads) for layer in (self.k, self.v))
        bit = self.lif(self.sum(self._spread(k * v)), memory)  # (T, B, n_heads, 1, D)
        o = self._spread(q * bit).transpose(-1, -2)
        current: Tensor = self.proj(o.reshape(x.shape))
        return current


class CountProjection(Projection):
    """A projection of counts 0 .. D, which stand for 0 .. 1: what is divided is the sum, so that the layer itself only adds."""

    def __init__(self, conv: nn.Conv2d, n_levels: int) -> None:
        super().__init__(conv)
        self.n_levels = n_levels

    def forward(self, s: Tensor) -> Tensor:
        """Current (T, B, C', H', W')."""
        return folded(lambda y: self.bn(self.conv(y) / self.n_levels), s)


class LinearSpikeAttention(nn.Module):
    """Self-attention on currents, of E-SpikeFormer (Yao et al., 2024, Spike-driven Transformer V3): no biases, wide values.

        s = SN(x),  Q, K, V = SN(BN(W s)),  out = BN(W_p SN(scale Q (K^T V)))

    With neuron `sfa`, spikes are counts 0 .. D that stand for their D-th parts; V has `value_ratio` times the channels of Q.
    `out` are the parameters of the last neuron, `lif` of all others.
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        scale: float,
        lif: LIFParameters,
        *,
        out: LIFParameters | None = None,
        neuron: Neuron = "lif",
        value_ratio: int = 1,
    ) -> None:
        super().__init__()
        self.n_heads, self.levels, wide = n_heads, lif.n_levels if neuron == "sfa" else 1, value_ratio * dim
        self.scale = scale / self.levels**3  # of three counts
        self.in_lif = neuron_layer(neuron, lif)
        self.q, self.k, self.v = (self._projection(dim, width) for width in (dim, dim, wide))
        self.q_lif, self.k_lif, self.v_lif = (neuron_layer(neuron, lif) for _ in range(3))
        self.product = KeyValueProduct()
        self.lif = neuron_layer(neuron, out or lif)
        self.proj = self._projection(wide, dim)

    def _projection(self, in_channels: int, out_channels: int) -> CountProjection:
        return CountProjection(nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False), self.levels)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        s = self.in_lif(x, memory)
        layers = ((self.q, self.q_lif), (self.k, self.k_lif), (self.v, self.v_lif))
        q, k, v = (split_heads(lif(layer(s), memory), self.n_heads) for layer, lif in layers)
        o = (self.product(q, k, v) * self.scale).transpose(-1, -2)  # (T, B, n_heads, value_ratio D, N)
        current: Tensor = self.proj(self.lif(o.flatten(2, 3).unflatten(3, x.shape[3:]), memory))
        return current


def pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution with bias, one weight for each pair of channels."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1)


class CurrentMLP(nn.Module):
    """Two layers that fire and then project, C to mlp_ratio C to C, current in and out."""

    def __init__(
        self,
        dim: int,
        mlp_ratio: float,
        lif: LIFParameters,
        *,
        neuron: Neuron = "lif",
        pointwise: Pointwise = pointwise,
    ) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.lif1 = neuron_layer(neuron, lif)
        self.fc1 = Projection(pointwise(dim, hidden))
        self.lif2 = neuron_layer(neuron, lif)
        self.fc2 = Projection(pointwise(hidden, dim))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W)."""
        hidden = self.fc1(self.lif1(x, memory))
        current: Tensor = self.fc2(self.lif2(hidden, memory))
        return current


def attention_of(configuration: SDTConfiguration) -> nn.Module:
    """The attention that `configuration` names; the linear one is scaled by 2 / sqrt(D), as released."""
    if configuration.attention == "sdsa":
        return SpikeDrivenSelfAttention(configuration)
    scale = 2.0 * (configuration.dim / configuration.n_heads) ** -0.5
    return LinearSpikeAttention(
        configuration.dim,
        configuration.n_heads,
        scale,
        configuration.lif,
        out=replace(configuration.lif, v_threshold=configuration.attention_threshold),
        neuron=configuration.neuron,
        value_ratio=configuration.value_ratio,
    )


class SpikeDrivenTransformer(SpikingNetwork):
    """The whole network; what the head sees is fired from the mean current of each channel."""

    def __init__(self, configuration: SDTConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        dim, lif, neuron = configuration.dim, configuration.lif, configuration.neuron
        self.stem = Stem(configuration.in_channels, dim, configuration.pools, lif, neuron)
        self.blocks = nn.ModuleList(
            ResidualBlock(attention_of(configuration), CurrentMLP(dim, configuration.mlp_ratio, lif, neuron=neuron))
            for _ in range(configuration.depth)
        )
        self.lif = neuron_layer(neuron, lif)
        self.head = classifier(dim, configuration.n_classes, nn.Linear)  # it sees spikes
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self.stem(x, memory)  # (T, B, C, H', W')
        for block in self.blocks:
            x = block(x, memory)
        s = self.lif(x.mean(dim=(3, 4)), memory)  # (T, B, C)
        return self.head(s), memory.new
