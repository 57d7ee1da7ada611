"""QKFormer (Zhou et al., NeurIPS 2024): Q-K attention of linear cost, stages, deformed shortcuts in the patch embedding.

    A = SN(sum over channels of Q),  X = A * K        Q-K token attention: one bit for each token and head
    A = SN(sum over tokens of Q),    X = A * K        Q-K channel attention: one bit for each channel

Stage 1 works on many tokens with Q-K attention, stage 2 on a quarter of them with spiking self-attention. Convolutions pool
before the neuron fires. Every LIF runs over the bins of its own stream; the released code's last LIF of the self-attention
runs over bins and batch alike, and is not followed. Shapes as in `spikformer`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.operations import Operations
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
    key_value_sops,
    product_operations,
)
from pipeline.schema.errors import ConfigurationError

Attention = Literal["token", "channel", "lidiff"]


@dataclass(frozen=True, slots=True)
class QKFormerConfiguration:
    """QKFormer: `depth` blocks in each of two stages or three, `dim` channels in the last, half as many in the one before.

    The paper's network for DVS128 Gesture (1.50 M parameters) has mlp_ratio 1; the released gesture script takes 4 (2.00 M).
    Image networks have three stages, mlp_ratio 4 and stem `image` (ImageNet) or `cifar`, which keeps the map's size.
    `attention` is that of all stages but the last; `lidiff` is not of the paper (LateralInhibition).
    """

    dim: int = 256
    depth: tuple[int, ...] = (1, 1)
    n_heads: int = 16
    mlp_ratio: int = 1
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    stem: Literal["event", "image", "cifar"] = "event"
    attention: Attention = "token"
    scale: float = 0.125
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.dim // 2**i for i in reversed(range(len(self.depth))))

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
        """ConfigurationError where network `name` cannot be built like this; the first stage's dim must suit heads and stem."""
        if len(self.depth) not in (2, 3):
            raise ConfigurationError(f"{name}: depth {self.depth} must have a number for each of two stages, or of three")
        check_counts(name, n_heads=self.n_heads)
        share = 2 ** (len(self.depth) - 1)
        check_dim(name, self.dim, share * self.n_heads, share * (8 if self.stem == "event" else 2))
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


class ShortcutEmbedding(nn.Module):
    """SPEDS: `stages` of convolutions, and beside all but the first `n_before` of them a strided 1x1 shortcut."""

    def __init__(self, stages: list[EmbeddingNeuron], short: EmbeddingNeuron, n_before: int) -> None:
        super().__init__()
        self.n_before = n_before
        self.stages = nn.ModuleList(stages)
        self.short = short

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spike counts 0..2, (T, B, C', H', W'), of event or spike counts (T, B, C, H, W)."""
        for stage in self.stages[: self.n_before]:
            x = stage(x, memory)
        y = x
        for stage in self.stages[self.n_before :]:
            y = stage(y, memory)
        out: Tensor = y + self.short(x, memory)
        return out


class PatchEmbedding(ShortcutEmbedding):
    """SPEDS-1 for events, the stem: four convolutions, three pools, and a shortcut from the second to the end."""

    def __init__(self, in_channels: int, dim: int, lif: LIFParameters) -> None:
        stages = [
            EmbeddingNeuron(in_channels, dim // 8, lif),
            EmbeddingNeuron(dim // 8, dim // 4, lif, pool=True),
            EmbeddingNeuron(dim // 4, dim // 2, lif, pool=True),
            EmbeddingNeuron(dim // 2, dim, lif, pool=True),
        ]
        super().__init__(stages, EmbeddingNeuron(dim // 4, dim, lif, kernel=1, stride=4), n_before=2)


class ImageEmbedding(ShortcutEmbedding):
    """SPEDS-1 for images: two convolutions that pool and one that does not; small images keep their size and have two."""

    def __init__(self, in_channels: int, dim: int, lif: LIFParameters, *, is_small: bool) -> None:
        pool = not is_small
        stages = [EmbeddingNeuron(in_channels, dim // 2, lif, pool=pool), EmbeddingNeuron(dim // 2, dim, lif, pool=pool)]
        if not is_small:
            stages.append(EmbeddingNeuron(dim, dim, lif))
        super().__init__(stages, EmbeddingNeuron(dim // 2, dim, lif, kernel=1, stride=2 if pool else 1), n_before=1)


class StageEmbedding(ShortcutEmbedding):
    """SPEDS-2, between the stages: two convolutions and one pool, in the second for events and in the first for images."""

    def __init__(self, in_channels: int, dim: int, lif: LIFParameters, *, pool_first: bool = False) -> None:
        stages = [
            EmbeddingNeuron(in_channels, dim, lif, pool=pool_first),
            EmbeddingNeuron(dim, dim, lif, pool=not pool_first),
        ]
        super().__init__(stages, EmbeddingNeuron(in_channels, dim, lif, kernel=1, stride=2), n_before=0)


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
        k = self._heads(self.k, x, memory)
        bit = self.lif(self._excite(x, memory), memory)  # token: (T, B, n_heads, 1, N); channel: (T, B, n_heads, D, 1)
        spikes: Tensor = self.proj((bit * k).flatten(2, 3), memory)
        return spikes

    def _excite(self, x: Tensor, memory: Memory) -> Tensor:
        """What drives the bit."""
        counts: Tensor = self.sum(self._heads(self.q, x, memory))
        return counts

    def _heads(self, layer: nn.Module, x: Tensor, memory: Memory) -> Tensor:
        T, B, C, N = x.shape
        spikes: Tensor = layer(x, memory).view(T, B, self.n_heads, C // self.n_heads, N)
        return spikes


class LateralInhibition(QKAttention):
    """FF-LiDiff, after SpiLiFormer (ICCV 2025): a second query inhibits the bit of each token and head.

        A = SN(sum over channels of Q_e - lambda sum over channels of Q_i),  X = A * K

    No code of it is at hand: the formula is our reading of the paper's idea, with lambda learned for each head, from 0.5. Its
    absolute value counts, so that inhibition never turns into excitation.
    """

    def __init__(self, configuration: SpikformerConfiguration) -> None:
        super().__init__(configuration, "token")
        self.q_inhibit = TokenNeuron(configuration.dim, configuration.dim, configuration.lif, bias=False)
        self.inhibit_sum = SpikeSum(dim=3)
        self.inhibition = nn.Parameter(torch.full((configuration.n_heads, 1, 1), 0.5))

    def _excite(self, x: Tensor, memory: Memory) -> Tensor:
        inhibitory = self.inhibit_sum(self._heads(self.q_inhibit, x, memory))
        current: Tensor = super()._excite(x, memory) - self.inhibition.abs() * inhibitory
        return current


def query_key_attention(configuration: SpikformerConfiguration, attention: Attention) -> QKAttention:
    """The attention of that name, with the width, heads and neurons of `configuration`."""
    return LateralInhibition(configuration) if attention == "lidiff" else QKAttention(configuration, attention)


class KeyValueProduct(SpikingProduct):
    """Q (K^T V), always in this order: its cost grows with N D^2, not with N^2 D."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Integers (T, B, n_heads, N, D); keys and values may be shared by all heads, and values wider than queries."""
        return q @ (k.transpose(-1, -2) @ v)

    def operations(self, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> Operations:
        """Pairs of key and value, then a row of values for each query spike."""
        q, k, v = (x.detach() for x in inputs)  # k and v may have one head for all
        return product_operations((k.numel() + q.numel()) * v.shape[-1], key_value_sops(q, k, v), (q, k, v))


class LinearSelfAttention(SpikingSelfAttention):
    """Spikformer's SSA with keys and values multiplied first."""

    def __init__(self, configuration: SpikformerConfiguration) -> None:
        super().__init__(configuration)
        self.product = KeyValueProduct()


class QKFormer(SpikingNetwork):
    """The whole network: stem, stages of Q-K attention with an embedding between them, a stage of self-attention, head.

    For events at 1/8 and 1/16 of the map, for images at 1/4, 1/8 and 1/16, for small ones at 1, 1/2 and 1/4.
    """

    def __init__(self, configuration: QKFormerConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        lif, dims, is_image = configuration.lif, configuration.dims, configuration.stem != "event"
        if is_image:
            self.stem: ShortcutEmbedding = ImageEmbedding(
                configuration.in_channels, dims[0], lif, is_small=configuration.stem == "cifar"
            )
        else:
            self.stem = PatchEmbedding(configuration.in_channels, dims[0], lif)
        self.stage1 = _stage(configuration, 0)
        self.down = StageEmbedding(dims[0], dims[1], lif, pool_first=is_image)
        self.stage2 = _stage(configuration, 1)
        self.down2 = StageEmbedding(dims[1], dims[2], lif, pool_first=is_image) if len(dims) == 3 else None
        self.stage3 = _stage(configuration, 2) if len(dims) == 3 else None
        self.head = classifier(configuration.dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self._tokens(self.stem(x, memory), self.stage1, memory)  # events: (T, B, C/2, H/8, W/8)
        x = self._tokens(self.down(x, memory), self.stage2, memory)  # events: (T, B, C, H/16, W/16)
        if self.down2 is not None and self.stage3 is not None:
            x = self._tokens(self.down2(x, memory), self.stage3, memory)
        return self.head(x.mean(dim=(3, 4))), memory.new

    @staticmethod
    def _tokens(x: Tensor, blocks: nn.ModuleList, memory: Memory) -> Tensor:
        token_map = x.shape[3:]
        x = x.flatten(3)  # (T, B, C, N)
        for block in blocks:
            x = block(x, memory)
        return x.view(*x.shape[:3], *token_map)


def _stage(configuration: QKFormerConfiguration, i: int) -> nn.ModuleList:
    """Blocks of stage `i`: Q-K attention in all but the last, self-attention there."""
    stage = configuration.stage(configuration.dims[i])
    is_last = i == len(configuration.dims) - 1
    return nn.ModuleList(
        ResidualBlock(
            LinearSelfAttention(stage) if is_last else query_key_attention(stage, configuration.attention),
            SpikingMLP(stage.dim, stage.mlp_ratio, configuration.lif),
        )
        for _ in range(configuration.depth[i])
    )
