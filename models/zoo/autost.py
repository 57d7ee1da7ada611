"""AutoST (Wang et al., ICASSP 2024; arXiv 2307.00293): a spiking transformer found without training.

Candidates differ in width, depth, and in heads and MLP ratio layer by layer; they are ranked by the operations of one bin, more
being better, among those whose parameters lie in a window. `AUTOST_SPACES` are the published spaces; `models.search` searches.

The network adds currents: each branch fires first and ends in a batch norm. Every neuron learns its leak (PLIF).
Shapes: T time bins, B streams, C channels, H x W map, N = H W tokens, D = C / n_heads.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import PLIF, Memory, SpikingNetwork, State, name_memories
from models.operations import NumberConvolution
from models.search import Candidate, Evolution, SearchSpace, evolve
from models.zoo.configuration import PerLayer, check_counts, check_layers, check_lif, check_pools, check_size, layer_values
from models.zoo.sdt import ChannelNeuron, CurrentMLP, Projection, pointwise, split_heads
from models.zoo.spikformer import ConvolutionNeuron, ResidualBlock, SpikingProduct, classifier, folded
from pipeline.schema.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class AutoSTConfiguration:
    """One candidate of AutoST. `n_heads` and `mlp_ratio` are one number for all layers, or one for each.

    The released code knows images alone (pools 0011, scale 0.125); no searched architecture was published. The event-camera
    default is ours: width 256, two layers, at 64 x 64.
    """

    dim: int = 256
    depth: int = 2
    n_heads: PerLayer[int] = 8
    mlp_ratio: PerLayer[float] = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (64, 64)
    pools: str = "0011"
    scale: float = 0.125
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels)
        check_layers(name, self.dim, self.depth, self.n_heads, self.mlp_ratio)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_lif(name, self.lif)
        if self.lif.tau <= 1.0:
            raise ConfigurationError(f"{name}: neurons that learn their leak need tau above 1, not {self.lif.tau}")


# The published spaces (CIFAR): heads and MLP ratio of each layer, width and depth of the whole.
AUTOST_SPACES = {
    "tiny": SearchSpace(
        whole={"dim": (192, 256, 320, 384)}, depth=tuple(range(1, 11)), layer={"n_heads": (4, 8), "mlp_ratio": (3, 4, 5)}
    ),
    "small": SearchSpace(
        whole={"dim": (256, 320, 384, 448, 512)}, depth=tuple(range(2, 13)), layer={"n_heads": (4, 8), "mlp_ratio": (3, 4, 5)}
    ),
    "base": SearchSpace(
        whole={"dim": tuple(range(384, 769, 64))},
        depth=tuple(range(4, 16)),
        layer={"n_heads": (4, 8), "mlp_ratio": (3, 4, 5, 6)},
    ),
}


def flops_score(configuration: AutoSTConfiguration) -> int:
    """AutoST's training-free score: multiply-accumulates of one time bin in closed form, batch norms left out.

    The released score has a second term, activation patterns at initialisation, of weight 0; it is not defined and left out.
    For maps that every pool halves exactly. Heads change nothing.
    """
    C, (width, height) = configuration.dim, configuration.size
    channels = (configuration.in_channels, C // 8, C // 4, C // 2, C)
    places, macs = width * height, 0
    for i, pool in enumerate(configuration.pools):
        macs += places * 9 * channels[i] * channels[i + 1]
        places //= 4 if pool == "1" else 1
    N = places
    macs += N * 9 * C**2
    for ratio in layer_values(configuration.mlp_ratio, configuration.depth):
        macs += N * 4 * C**2 + 2 * N**2 * C + 2 * N * C * int(C * ratio)
    return macs + C * configuration.n_classes


def n_parameters(configuration: AutoSTConfiguration) -> int:
    """Parameters of the candidate's network in closed form, norms, biases and leaks included."""
    C, K = configuration.dim, configuration.n_classes
    channels = (configuration.in_channels, C // 8, C // 4, C // 2, C, C)
    count = sum(9 * before * after + 2 * after for before, after in pairwise(channels)) + 3
    for ratio in layer_values(configuration.mlp_ratio, configuration.depth):
        hidden = int(C * ratio)
        count += 4 * (C * C + 3 * C) + 2 * C * hidden + 3 * (hidden + C) + 7
    return count + C * K + K


def search_autost(
    space: SearchSpace, window: tuple[int, int], evolution: Evolution, **settings: Any
) -> list[AutoSTConfiguration]:
    """The candidates with most operations whose parameters lie in `window` (both ends included), best first.

    `settings` are those that the space does not choose (n_classes, in_channels, size, ...). Published window: 11 to 12 million.
    """

    def configuration(candidate: Candidate) -> AutoSTConfiguration:
        return AutoSTConfiguration(**settings, **space.settings(candidate))

    found = evolve(
        space,
        lambda candidate: flops_score(configuration(candidate)),
        lambda candidate: window[0] <= n_parameters(configuration(candidate)) <= window[1],
        evolution,
    )
    return [configuration(candidate) for _, candidate in found]


class CurrentStem(nn.Module):
    """Three convolutions that fire, one that does not, and a position branch on its current."""

    def __init__(self, in_channels: int, dim: int, pools: str, lif: LIFParameters) -> None:
        super().__init__()
        widths = [in_channels, dim // 8, dim // 4, dim // 2]
        self.stages = nn.ModuleList(
            ConvolutionNeuron(widths[i], widths[i + 1], lif, pool=pools[i] == "1", neuron="plif") for i in range(3)
        )
        self.last = Projection(nn.Conv2d(dim // 2, dim, kernel_size=3, padding=1, bias=False))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pools[3] == "1" else nn.Identity()
        self.rpe = Projection(NumberConvolution(dim, dim, kernel_size=3, padding=1, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H', W') of event counts (T, B, 2, H, W)."""
        for stage in self.stages:
            x = stage(x, memory)
        y = folded(self.pool, self.last(x))
        out: Tensor = y + self.rpe(y)
        return out


class CurrentSelfAttention(nn.Module):
    """Spikformer's self-attention with the neurons before the layers: currents in and out, all four layers with bias."""

    def __init__(self, configuration: AutoSTConfiguration, n_heads: int) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads, self.scale = n_heads, configuration.scale
        self.in_lif = PLIF(lif)
        self.q, self.k, self.v = (ChannelNeuron(pointwise(dim, dim), PLIF(lif)) for _ in range(3))
        self.product = SpikingProduct()
        self.lif = PLIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = Projection(pointwise(dim, dim))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        s = self.in_lif(x, memory)
        q, k, v = (split_heads(layer(s, memory), self.n_heads) for layer in (self.q, self.k, self.v))
        o = (self.product(q, k, v) * self.scale).transpose(-1, -2).reshape(x.shape)
        current: Tensor = self.proj(self.lif(o, memory))
        return current


class AutoST(SpikingNetwork):
    """One candidate as a network; the head sees the mean current of each channel, unfired."""

    def __init__(self, configuration: AutoSTConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        dim, depth, lif = configuration.dim, configuration.depth, configuration.lif
        heads, ratios = layer_values(configuration.n_heads, depth), layer_values(configuration.mlp_ratio, depth)
        self.stem = CurrentStem(configuration.in_channels, dim, configuration.pools, lif)
        self.blocks = nn.ModuleList(
            ResidualBlock(CurrentSelfAttention(configuration, n_heads), CurrentMLP(dim, ratio, lif, neuron="plif"))
            for n_heads, ratio in zip(heads, ratios, strict=True)
        )
        self.head = classifier(dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self.stem(x, memory)  # (T, B, C, H', W')
        for block in self.blocks:
            x = block(x, memory)
        return self.head(x.mean(dim=(3, 4))), memory.new
