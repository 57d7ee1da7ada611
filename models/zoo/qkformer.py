"""QKFormer (Zhou et al., NeurIPS 2024): Q-K attention of linear cost, two stages, deformed shortcuts in the patch embedding.

    A = SN(sum over channels of Q),  X = A * K        Q-K token attention: one bit for each token and head
    A = SN(sum over tokens of Q),    X = A * K        Q-K channel attention: one bit for each channel

Stage 1 works on many tokens with Q-K attention, stage 2 on a quarter of them with spiking self-attention. Convolutions pool
before the neuron fires. Every LIF runs over the bins of its own stream; the released code's last LIF of the self-attention
runs over bins and batch alike, and is not followed. Shapes as in `spikformer`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.zoo.configuration import check_counts, check_dim, check_lif, check_size
from models.zoo.spikformer import (
    ResidualBlock,
    SpikeSum,
    SpikformerConfiguration,
    SpikingMLP,
    SpikingProduct,
    SpikingSelfAttention,
    TokenNeuron,
    classifier,
    folded,
)

Attention = Literal["token", "channel"]


@dataclass(frozen=True, slots=True)
class QKFormerConfiguration:
    """QKFormer for event frames: `dim` channels in stage 2, half as many in stage 1; `depth` blocks in each.

    The paper's network for DVS128 Gesture (1.50 M parameters) has mlp_ratio 1; the released gesture script takes 4 (2.00 M).
    """

    dim: int = 256
    depth: tuple[int, int] = (1, 1)
    n_heads: int = 16
    mlp_ratio: int = 1
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    attention: Attention = "token"
    scale: float = 0.125
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    def stage(self, dim: int) -> SpikformerConfiguration:
        """What a block of `dim` channels shares with Spikformer."""
        return SpikformerConfiguration(
            dim=dim,
            n_heads=self.n_heads,
            mlp_ratio=self.mlp_ratio,
            scale=self.scale,
            attention_threshold=self.attention_threshold,
            lif=self.lif,
        )

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; stem and heads begin with half of dim."""
        check_counts(name, n_heads=self.n_heads)
        check_dim(name, self.dim, 2 * self.n_heads, 16)
        check_size(name, self.size)
        check_counts(name, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        for depth in self.depth:
            check_counts(name, depth=depth)
        check_lif(name, self.lif)


class EmbeddingNeuron(nn.Module):
    """Convolution without bias, BN, a max-pool where asked, LIF: (T, B, C, H, W) to spikes (T, B, C', H', W')."""

    def __init__(
        self, in_channels: int, out_channels: int, lif: LIFParameters, *, kernel: int = 3, stride: int = 1, pool: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pool else nn.Identity()
        self.lif = LIF(lif)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C', H', W'); a pool or a stride of 2 halves the map and rounds up."""
        spikes: Tensor = self.lif(folded(lambda y: self.pool(self.bn(self.conv(y))), x), memory)
        return spikes


class PatchEmbedding(nn.Module):
    """SPEDS-1, the stem: four convolutions, three pools, and a 1x1 shortcut from the second to the end."""

    def __init__(self, in_channels: int, dim: int, lif: LIFParameters) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                EmbeddingNeuron(in_channels, dim // 8, lif),
                EmbeddingNeuron(dim // 8, dim // 4, lif, pool=True),
                EmbeddingNeuron(dim // 4, dim // 2, lif, pool=True),
                EmbeddingNeuron(dim // 2, dim, lif, pool=True),
            ]
        )
        self.short = EmbeddingNeuron(dim // 4, dim, lif, kernel=1, stride=4)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spike counts 0..2, (T, B, C, H/8, W/8), of event counts (T, B, 2, H, W)."""
        first, second, third, fourth = self.stages
        x = second(first(x, memory), memory)  # (T, B, C/4, H/2, W/2)
        out: Tensor = fourth(third(x, memory), memory) + self.short(x, memory)
        return out


class StageEmbedding(nn.Module):
    """SPEDS-2, between the stages: two convolutions and one pool, beside a 1x1 shortcut."""

    def __init__(self, in_channels: int, dim: int, lif: LIFParameters) -> None:
        super().__init__()
        self.stages = nn.ModuleList([EmbeddingNeuron(in_channels, dim, lif), EmbeddingNeuron(dim, dim, lif, pool=True)])
        self.short = EmbeddingNeuron(in_channels, dim, lif, kernel=1, stride=2)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spike counts 0..2, (T, B, C', H/2, W/2), of spike counts (T, B, C, H, W)."""
        first, second = self.stages
        out: Tensor = second(first(x, memory), memory) + self.short(x, memory)
        return out


class QKAttention(nn.Module):
    """Q-K token or channel attention: a bit fired from sums of Q masks K; no product, no scale."""

    def __init__(self, configuration: SpikformerConfiguration, attention: Attention) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads = configuration.n_heads
        self.q = TokenNeuron(dim, dim, lif, bias=False)
        self.k = TokenNeuron(dim, dim, lif, bias=False)
        # of (T, B, n_heads, D, N): over the D channels of a head, or over the N tokens
        self.sum = SpikeSum(dim=3 if attention == "token" else 4)
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = TokenNeuron(dim, dim, lif, bias=True)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, N) of spike counts (T, B, C, N)."""
        T, B, C, N = x.shape
        q, k = (layer(x, memory).view(T, B, self.n_heads, C // self.n_heads, N) for layer in (self.q, self.k))
        bit = self.lif(self.sum(q), memory)  # token: (T, B, n_heads, 1, N); channel: (T, B, n_heads, D, 1)
        spikes: Tensor = self.proj((bit * k).flatten(2, 3), memory)
        return spikes


class KeyValueProduct(SpikingProduct):
    """Q (K^T V), always in this order: its cost grows with N D^2, not with N^2 D."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Integers (T, B, n_heads, N, D)."""
        return q @ (k.transpose(-1, -2) @ v)


class LinearSelfAttention(SpikingSelfAttention):
    """Spikformer's SSA with keys and values multiplied first."""

    def __init__(self, configuration: SpikformerConfiguration) -> None:
        super().__init__(configuration)
        self.product = KeyValueProduct()


class QKFormer(SpikingNetwork):
    """The whole network: stem, Q-K attention on N = HW / 64 tokens, stage embedding, self-attention on N / 4 tokens, head."""

    def __init__(self, configuration: QKFormerConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        dim, lif, (depth1, depth2) = configuration.dim, configuration.lif, configuration.depth
        one, two = configuration.stage(dim // 2), configuration.stage(dim)
        self.stem = PatchEmbedding(configuration.in_channels, dim // 2, lif)
        self.stage1 = nn.ModuleList(
            ResidualBlock(QKAttention(one, configuration.attention), SpikingMLP(one.dim, one.mlp_ratio, lif))
            for _ in range(depth1)
        )
        self.down = StageEmbedding(dim // 2, dim, lif)
        self.stage2 = nn.ModuleList(
            ResidualBlock(LinearSelfAttention(two), SpikingMLP(dim, two.mlp_ratio, lif)) for _ in range(depth2)
        )
        self.head = classifier(dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self._tokens(self.stem(x, memory), self.stage1, memory)  # (T, B, C/2, H/8, W/8)
        x = self._tokens(self.down(x, memory), self.stage2, memory)  # (T, B, C, H/16, W/16)
        return self.head(x.mean(dim=(3, 4))), memory.new

    @staticmethod
    def _tokens(x: Tensor, blocks: nn.ModuleList, memory: Memory) -> Tensor:
        shape = x.shape
        x = x.flatten(3)  # (T, B, C, N)
        for block in blocks:
            x = block(x, memory)
        return x.view(shape)
