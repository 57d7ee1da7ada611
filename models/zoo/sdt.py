"""Spike-driven Transformer (Yao et al., NeurIPS 2023): currents add up before the neurons, so every layer sees spikes alone.

    SDSA: g = SN(sum over tokens of K * V),  X = Q * g       one bit for each channel masks the queries: no product, no scale

Residuals are currents: each branch fires first and ends in a batch norm. Shapes: T time bins, B streams, C channels, H x W map.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from models.zoo.spikformer import ConvolutionNeuron, ResidualBlock, SpikeSum, classifier, folded


@dataclass(frozen=True, slots=True)
class SDTConfiguration:
    """Spike-driven Transformer for event frames. `pools` marks the stem stages that halve the map.

    Published: DVS128 Gesture at 128 x 128 with pools 0111; CIFAR10-DVS at 64 x 64 with pools 0011 and `attention_pool`, which
    lets a spike of keys, values and masks spread to its neighbours (max-pools 3x3 that keep the size).
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 8
    mlp_ratio: int = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "0111"
    attention_pool: bool = False
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        check_lif(name, self.lif)


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

    def __init__(self, in_channels: int, dim: int, pools: str, lif: LIFParameters) -> None:
        super().__init__()
        widths = [in_channels, dim // 8, dim // 4, dim // 2]
        self.stages = nn.ModuleList(ConvolutionNeuron(widths[i], widths[i + 1], lif, pool=pools[i] == "1") for i in range(3))
        self.last = Projection(nn.Conv2d(dim // 2, dim, kernel_size=3, padding=1, bias=False))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pools[3] == "1" else nn.Identity()
        self.lif = LIF(lif)
        self.position = Projection(nn.Conv2d(dim, dim, kernel_size=3, padding=1, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H', W') of event counts (T, B, 2, H, W)."""
        for stage in self.stages:
            x = stage(x, memory)
        z = folded(self.pool, self.last(x))
        out: Tensor = z + self.position(self.lif(z, memory))
        return out


class ChannelNeuron(nn.Module):
    """1x1 convolution without bias, BN, LIF: spikes (T, B, C, H, W) to spikes of that shape."""

    def __init__(self, dim: int, lif: LIFParameters) -> None:
        super().__init__()
        self.proj = Projection(nn.Conv2d(dim, dim, kernel_size=1, bias=False))
        self.lif = LIF(lif)

    def forward(self, s: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W)."""
        spikes: Tensor = self.lif(self.proj(s), memory)
        return spikes


class SpikeDrivenSelfAttention(nn.Module):
    """SDSA: linear in tokens and channels, additions and gates alone."""

    def __init__(self, configuration: SDTConfiguration) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads = configuration.n_heads
        self.in_lif = LIF(lif)
        self.q = ChannelNeuron(dim, lif)
        self.k = ChannelNeuron(dim, lif)
        self.v = ChannelNeuron(dim, lif)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1) if configuration.attention_pool else nn.Identity()
        self.sum = SpikeSum(dim=3)
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = Projection(nn.Conv2d(dim, dim, kernel_size=1))

    def _spread(self, s: Tensor) -> Tensor:
        """Pool over the last two axes: the map, or, as the released layout has it, tokens and channels of a head."""
        return folded(self.pool, s)

    def _heads(self, s: Tensor) -> Tensor:
        T, B, C, H, W = s.shape
        return s.view(T, B, self.n_heads, C // self.n_heads, H * W).transpose(-1, -2)  # (T, B, n_heads, N, D)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        s = self.in_lif(x, memory)
        q = self._heads(self.q(s, memory))
        k, v = (self._heads(self._spread(layer(s, memory))) for layer in (self.k, self.v))
        bit = self.lif(self.sum(self._spread(k * v)), memory)  # (T, B, n_heads, 1, D)
        o = self._spread(q * bit).transpose(-1, -2)
        current: Tensor = self.proj(o.reshape(x.shape))
        return current


class CurrentMLP(nn.Module):
    """Two layers that fire and then project, C to mlp_ratio C to C, current in and out."""

    def __init__(self, dim: int, mlp_ratio: int, lif: LIFParameters) -> None:
        super().__init__()
        self.lif1 = LIF(lif)
        self.fc1 = Projection(nn.Conv2d(dim, dim * mlp_ratio, kernel_size=1))
        self.lif2 = LIF(lif)
        self.fc2 = Projection(nn.Conv2d(dim * mlp_ratio, dim, kernel_size=1))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W)."""
        hidden = self.fc1(self.lif1(x, memory))
        current: Tensor = self.fc2(self.lif2(hidden, memory))
        return current


class SpikeDrivenTransformer(SpikingNetwork):
    """The whole network; what the head sees is fired from the mean current of each channel."""

    def __init__(self, configuration: SDTConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        dim, lif = configuration.dim, configuration.lif
        self.stem = Stem(configuration.in_channels, dim, configuration.pools, lif)
        self.blocks = nn.ModuleList(
            ResidualBlock(SpikeDrivenSelfAttention(configuration), CurrentMLP(dim, configuration.mlp_ratio, lif))
            for _ in range(configuration.depth)
        )
        self.lif = LIF(lif)
        self.head = classifier(dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self.stem(x, memory)  # (T, B, C, H', W')
        for block in self.blocks:
            x = block(x, memory)
        s = self.lif(x.mean(dim=(3, 4)), memory)  # (T, B, C)
        return self.head(s), memory.new
