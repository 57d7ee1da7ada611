"""SAFormer (arXiv 2412.13553): attention from spikes of queries and keys alone, and a depthwise convolution for what is near.

Its text and code were not at hand: the paper names spike aggregated self-attention (SASA) that needs no values, and a depthwise
convolution module (DWC); the formulas are our own design, SASA-style, and linear in the tokens.

    w[n] = <Q[n], sum over tokens of K>,   a[n] = SN(beta w[n]),   y[n] = a[n] Q[n]        beta learned for each head
    z = y + SN(BN(DWConv3x3(y))),   out = SN(BN(W_o z))

Shapes as in `spikformer`, with the tokens on their map (H, W).
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from models.zoo.semm import DepthwiseNeuron, MapTransformer
from models.zoo.spikformer import (
    ResidualBlock,
    SpikeSum,
    SpikformerConfiguration,
    SpikingMLP,
    SpikingPatchSplitting,
    TokenNeuron,
    classifier,
)
from models.zoo.spikingresformer import CurrentProduct

# Beta begins at this over N D, the most that w can be: a token at rest fires its bit if w is four hundredths of that
# (H = beta w / 2 reaches the threshold of 0.5).
_FIRST_BETA = 25.0


@dataclass(frozen=True, slots=True)
class SAFormerConfiguration:
    """SASA-style network for event frames, in the size of Spikformer's; none was published at hand."""

    dim: int = 256
    depth: int = 2
    n_heads: int = 16
    mlp_ratio: int = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "1111"
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    @property
    def n_tokens(self) -> int:
        """Number of tokens N."""
        return SpikformerConfiguration(size=self.size, pools=self.pools).n_tokens

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        check_lif(name, self.lif)


class SpikeAggregatedAttention(nn.Module):
    """SASA and DWC: one bit for each token and head, fired from how much its query shares with all keys, masks the query."""

    def __init__(self, configuration: SAFormerConfiguration) -> None:
        super().__init__()
        dim, lif, self.n_heads = configuration.dim, configuration.lif, configuration.n_heads
        D = dim // self.n_heads
        self.q = TokenNeuron(dim, dim, lif, bias=False)
        self.k = TokenNeuron(dim, dim, lif, bias=False)
        self.sum = SpikeSum(dim=4)
        self.product = CurrentProduct()
        self.beta = nn.Parameter(torch.full((self.n_heads, 1, 1), _FIRST_BETA / (configuration.n_tokens * D)))
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.dw = DepthwiseNeuron(dim, lif)
        self.proj = TokenNeuron(dim, dim, lif, bias=False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W) of spike counts of that shape."""
        tokens = x.flatten(3)
        q, k = (layer(tokens, memory).unflatten(2, (self.n_heads, -1)) for layer in (self.q, self.k))  # (T, B, n_heads, D, N)
        w = self.product(self.sum(k).transpose(-1, -2), q)  # (T, B, n_heads, 1, N), whole numbers
        a = self.lif(self.beta * w, memory)
        y = (a * q).flatten(2, 3).view_as(x)
        z = y + self.dw(y, memory)
        spikes: Tensor = self.proj(z.flatten(3), memory)
        return spikes.view_as(x)


class MapMLP(SpikingMLP):
    """Spikformer's MLP, on tokens that lie on their map."""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, H, W)."""
        return super().forward(x.flatten(3), memory).view_as(x)


class SAFormer(MapTransformer):
    """The whole network: blocks of SASA with DWC, and MLP."""

    def __init__(self, configuration: SAFormerConfiguration) -> None:
        dim, lif = configuration.dim, configuration.lif
        super().__init__(
            SpikingPatchSplitting(configuration.in_channels, dim, configuration.pools, lif),
            (
                ResidualBlock(SpikeAggregatedAttention(configuration), MapMLP(dim, configuration.mlp_ratio, lif))
                for _ in range(configuration.depth)
            ),
            classifier(dim, configuration.n_classes),
        )
        self.configuration = configuration
