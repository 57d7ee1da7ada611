"""SEMM (NeurIPS 2024): a mixture of experts in which experts and router both fire; nothing is ranked, every spike counts.

    EMSA: y = SN(BN(W_p sum over i of r_i * SN(s Q_i K^T V)))        attention heads are the experts, K and V are shared
    EMSP: y = SN(BN(fc2(SN(BN(DWConv(a))) * g))),  (a, g) = SN(BN(fc1 x))        g routes, channel by channel

No code of the authors was found: this follows a reimplementation of others (STEP), with its defects mended - a router whose
tokens and experts were mixed up, a fixed token map and a fixed T, batch norms of K and V that were built and not called.
Shapes as in `spikformer`; the experts are E = n_heads, each of D = expert_dim channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import ResidualBlock, SpikeSum, SpikingPatchSplitting, TokenNeuron, classifier, folded
from pipeline.schema.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SEMMConfiguration:
    """Spikformer with EMSA and EMSP. The default is our event variant; the papers' sizes are for images.

    `n_heads` is the number of experts, `expert_dim` the channels of queries and keys, `value_dim` those of the values,
    dim where it is 0. The MLP is `hidden` channels wide, mlp_ratio times dim where it is 0. `qkv_bias` and `depthwise_bias`
    tell the two published layouts apart.
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 4
    expert_dim: int = 64
    value_dim: int = 0
    mlp_ratio: int = 4
    hidden: int = 0
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "1111"
    scale: float = 0.125
    qkv_bias: bool = True
    depthwise_bias: bool = False
    lif: LIFParameters = field(default_factory=LIFParameters)

    @property
    def width(self) -> int:
        """Channels between the layers of the MLP."""
        return self.hidden or self.mlp_ratio * self.dim

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, 1, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_heads=self.n_heads, expert_dim=self.expert_dim, mlp_ratio=self.mlp_ratio)
        check_counts(name, n_classes=self.n_classes, in_channels=self.in_channels)
        check_counts(name, hidden=self.width, value_dim=self.value_dim or self.dim)
        if self.width % 2:
            raise ConfigurationError(f"{name}: hidden {self.width} must be even, for one half of it gates the other")
        check_lif(name, self.lif)


class ExpertAttention(nn.Module):
    """EMSA: one query an expert against shared keys and values; the router lets each token's experts through, or not."""

    def __init__(self, configuration: SEMMConfiguration) -> None:
        super().__init__()
        dim, D, lif, bias = configuration.dim, configuration.expert_dim, configuration.lif, configuration.qkv_bias
        self.scale = configuration.scale
        self.q = nn.ModuleList(TokenNeuron(dim, D, lif, bias=bias) for _ in range(configuration.n_heads))
        self.k = TokenNeuron(dim, D, lif, bias=bias)
        self.v = TokenNeuron(dim, configuration.value_dim or dim, lif, bias=bias)
        self.router = TokenNeuron(dim, configuration.n_heads, lif, bias=True)
        self.product = KeyValueProduct()  # keys times values once, for all experts
        self.lif = LIF(lif)  # at the threshold of all others, not at the half of SSA
        self.sum = SpikeSum(dim=2)
        self.proj = TokenNeuron(configuration.value_dim or dim, dim, lif, bias=True)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W) of spike counts of that shape."""
        tokens = x.flatten(3)  # (T, B, C, N)
        q = torch.stack([layer(tokens, memory) for layer in self.q], dim=2).transpose(-1, -2)  # (T, B, E, N, D)
        k, v = (layer(tokens, memory).unsqueeze(2).transpose(-1, -2) for layer in (self.k, self.v))  # (T, B, 1, N, D or C)
        experts = self.lif(self.product(q, k, v) * self.scale, memory)  # (T, B, E, N, C)
        r = self.router(tokens, memory).unsqueeze(-1)  # (T, B, E, N, 1)
        mixed = self.sum(r * experts).squeeze(2).transpose(-1, -2)  # (T, B, C, N), counts 0 .. E
        spikes: Tensor = self.proj(mixed, memory)
        return spikes.view_as(x)


class DepthwiseNeuron(nn.Module):
    """3x3 convolution of each channel by itself, BN, LIF: (T, B, C, H, W) to spikes of that shape."""

    def __init__(self, dim: int, lif: LIFParameters, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim, bias=bias)
        self.bn = nn.BatchNorm2d(dim)
        self.lif = LIF(lif)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W)."""
        spikes: Tensor = self.lif(folded(lambda y: self.bn(self.conv(y)), x), memory)
        return spikes


class ExpertMLP(nn.Module):
    """EMSP: half of the hidden channels look around themselves on the map, the other half lets them through."""

    def __init__(self, configuration: SEMMConfiguration) -> None:
        super().__init__()
        dim, width, lif = configuration.dim, configuration.width, configuration.lif
        self.fc1 = TokenNeuron(dim, width, lif, bias=True)
        self.dw = DepthwiseNeuron(width // 2, lif, bias=configuration.depthwise_bias)
        self.fc2 = TokenNeuron(width // 2, dim, lif, bias=True)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W) of spike counts of that shape."""
        hidden = self.fc1(x.flatten(3), memory).unflatten(3, x.shape[3:])
        a, g = hidden.chunk(2, dim=2)  # (T, B, width / 2, H, W) each
        gated = self.dw(a, memory) * g
        spikes: Tensor = self.fc2(gated.flatten(3), memory)
        return spikes.view_as(x)


class MapTransformer(SpikingNetwork):
    """Spikformer's stem, `blocks` on tokens that stay on their map (T, B, C, H', W'), and its head."""

    def __init__(self, stem: SpikingPatchSplitting, blocks: Iterable[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self.stem(x, memory, on_map=True)  # (T, B, C, H', W')
        for block in self.blocks:
            x = block(x, memory)
        return self.head(x.mean(dim=(3, 4))), memory.new


class SEMM(MapTransformer):
    """The whole network: blocks of EMSA and EMSP."""

    def __init__(self, configuration: SEMMConfiguration) -> None:
        super().__init__(
            SpikingPatchSplitting(configuration.in_channels, configuration.dim, configuration.pools, configuration.lif),
            (ResidualBlock(ExpertAttention(configuration), ExpertMLP(configuration)) for _ in range(configuration.depth)),
            classifier(configuration.dim, configuration.n_classes),
        )
        self.configuration = configuration
