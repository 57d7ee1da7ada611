"""Spikformer (Zhou et al., ICLR 2023): spiking patch splitting, spiking self-attention, residual sums of spikes.

Shapes: T time bins, B batch (independent streams), C channels, H x W map, N = H W tokens, D = C / n_heads.
Convolutions and batch norms act on the folded batch T B; only LIF layers see the time axis.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, Neuron, SpikingNetwork, State, name_memories, neuron_layer
from models.operations import NumberLinear, Operations, total
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from pipeline.schema.errors import ConfigurationError

Attention = Literal["ssa", "token", "channel", "lidiff"]

# Builds what stands between the Q neurons and the product (models/zoo/tim.py): (T, B, n_heads, N, D) to the same shape.
Interaction = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class SpikformerConfiguration:
    """Spikformer for event frames. `size` is (width, height); `pools` marks the stem stages that halve the map.

    The published DVS network is dim 256, depth 2, 16 heads, pools 1111 (stride 16), scale 0.25. The image networks have
    scale 0.125; those for CIFAR pools 0011 and `qkv_bias`. Attention other than `ssa` is borrowed (models/zoo/qkformer.py), and
    has neither scale nor biases of queries and keys.
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 16
    mlp_ratio: int = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "1111"
    attention: Attention = "ssa"
    scale: float = 0.25
    attention_threshold: float = 0.5
    qkv_bias: bool = False
    projection_bias: bool = True
    lif: LIFParameters = field(default_factory=LIFParameters)

    @property
    def token_map(self) -> tuple[int, int]:
        """Width and height of the token map: a pool 3x3, stride 2, padding 1 halves and rounds up."""
        width, height = self.size
        for pool in self.pools:
            if pool == "1":
                width, height = (width + 1) // 2, (height + 1) // 2
        return width, height

    @property
    def n_tokens(self) -> int:
        """Number of tokens N."""
        width, height = self.token_map
        return width * height

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        check_lif(name, self.lif)
        if self.attention != "ssa" and self.qkv_bias:
            raise ConfigurationError(f"{name}: attention {self.attention} has no biases of queries and keys; drop qkv_bias")


def classifier(dim: int, n_classes: int, kind: type[nn.Linear] = NumberLinear) -> nn.Linear:
    """Linear head as all networks of this family begin with it: truncated normal weights of 0.02, bias 0.

    It sees means of spikes or currents, hence numbers; `kind` is a plain `nn.Linear` where it sees spikes.
    """
    head = kind(dim, n_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def folded(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer without memory to (T, B, ...) as one batch of T B."""
    T, B = x.shape[:2]
    y = layer(x.flatten(0, 1))
    return y.view(T, B, *y.shape[1:])


class ConvolutionNeuron(nn.Module):
    """3x3 convolution without bias, BN, neuron, and a max-pool where asked: (T, B, C, H, W) to (T, B, C', H', W')."""

    def __init__(self, in_channels: int, out_channels: int, lif: LIFParameters, *, pool: bool, neuron: Neuron = "lif") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.lif = neuron_layer(neuron, lif)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pool else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C', H', W')."""
        s = self.lif(folded(lambda y: self.bn(self.conv(y)), x), memory)
        return s if self.pool is None else folded(self.pool, s)


class TokenNeuron(nn.Module):
    """1x1 convolution over tokens, BN, LIF: (T, B, C, N) to spikes (T, B, C', N)."""

    def __init__(self, in_channels: int, out_channels: int, lif: LIFParameters, *, bias: bool) -> None:
        super().__init__()
        self.lin = nn.Conv1d(in_channels, out_channels, kernel_size=1, bias=bias)
        self.bn = nn.BatchNorm1d(out_channels)
        self.lif = LIF(lif)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C', N)."""
        spikes: Tensor = self.lif(folded(lambda y: self.bn(self.lin(y)), x), memory)
        return spikes


class SpikingPatchSplitting(nn.Module):
    """Stem (paper section 3.3): four convolution stages, then a relative position embedding added as spikes.

    The first three stages go by `stem_dim` where it is given (models/zoo/autospikformer.py).
    """

    def __init__(self, in_channels: int, dim: int, pools: str, lif: LIFParameters, *, stem_dim: int | None = None) -> None:
        super().__init__()
        full = dim if stem_dim is None else stem_dim
        widths = [in_channels, full // 8, full // 4, full // 2, dim]
        self.stages = nn.ModuleList(
            ConvolutionNeuron(widths[i], widths[i + 1], lif, pool=pools[i] == "1") for i in range(len(pools))
        )
        self.rpe = ConvolutionNeuron(dim, dim, lif, pool=False)

    def forward(self, x: Tensor, memory: Memory, *, on_map: bool = False) -> Tensor:
        """Spike counts 0..2, (T, B, C, N), of event counts (T, B, 2, H, W); with `on_map`, (T, B, C, H', W')."""
        for stage in self.stages:
            x = stage(x, memory)  # (T, B, C_i, H_i, W_i)
        x = x + self.rpe(x, memory)
        return x if on_map else x.flatten(3)


class SpikingProduct(nn.Module):
    """Q K^T V of spikes (T, B, n_heads, N, D): a layer of its own, so that what flows in can be counted.

    All three are integers, so the order of the product changes the cost and not the value: the cheaper one is taken.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Integers (T, B, n_heads, N, D)."""
        N, D = q.shape[-2:]
        return (q @ k.transpose(-1, -2)) @ v if N <= D else q @ (k.transpose(-1, -2) @ v)

    def operations(self, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> Operations:
        """Additions of the order taken; multiply-accumulates of the paper's, queries and keys first."""
        q, k, v = (x.detach() for x in inputs)
        N, D = q.shape[-2:]
        sops = query_key_sops(q, k, v) if N <= D else key_value_sops(q, k, v)
        return product_operations(2 * output.numel() * N, sops, (q, k, v))


def query_key_sops(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Additions of (q k^T) v, (T, B, n_heads, N, D): matches of query and key, then a column of N for each value spike."""
    return total(q.sum(dim=-2) * k.sum(dim=-2)) + total(v) * q.shape[-2]


def key_value_sops(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Additions of q (k^T v), (T, B, n_heads, N, D): pairs of key and value, then a row of values for each query spike."""
    return total(k.sum(dim=-1) * v.sum(dim=-1)) + total(q) * v.shape[-1]


def product_operations(macs: int, sops: int, inputs: tuple[Tensor, ...]) -> Operations:
    """Operations of a product of spikes, with the density of all its `inputs`."""
    return Operations(macs, sops, sum(total(x) for x in inputs), sum(x.numel() for x in inputs), is_product=True)


class SpikeSum(nn.Module):
    """Sum of spikes over one axis, which stays with length 1: a layer of its own, so that its additions can be counted."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, s: Tensor) -> Tensor:
        """Counts, of spikes of any shape."""
        return s.sum(dim=self.dim, keepdim=True)

    def operations(self, inputs: tuple[Tensor], _: Tensor) -> Operations:
        """One addition a spike; the mask that follows is a gate and adds nothing."""
        n_spikes = total(inputs[0].detach())
        return Operations(0, n_spikes, n_spikes, inputs[0].numel())


class SpikingSelfAttention(nn.Module):
    """SSA (paper eq. 7-9): softmax-free product of spike-form Q, K, V, scaled and fired again."""

    def __init__(self, configuration: SpikformerConfiguration, interaction: Interaction | None = None) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads, self.scale = configuration.n_heads, configuration.scale
        self.q = TokenNeuron(dim, dim, lif, bias=configuration.qkv_bias)
        self.k = TokenNeuron(dim, dim, lif, bias=configuration.qkv_bias)
        self.v = TokenNeuron(dim, dim, lif, bias=configuration.qkv_bias)
        self.tim = None if interaction is None else interaction()
        self.product = SpikingProduct()
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = TokenNeuron(dim, dim, lif, bias=configuration.projection_bias)

    def _heads(self, x: Tensor) -> Tensor:
        T, B, C, N = x.shape
        return x.view(T, B, self.n_heads, C // self.n_heads, N).transpose(-1, -2)  # (T, B, n_heads, N, D)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, N) of spike counts (T, B, C, N)."""
        q, k, v = (self._heads(layer(x, memory)) for layer in (self.q, self.k, self.v))
        if self.tim is not None:
            q = self.tim(q, memory)
        o = (self.product(q, k, v) * self.scale).transpose(-1, -2).flatten(2, 3)  # (T, B, C, N), head index major
        spikes: Tensor = self.proj(self.lif(o, memory), memory)
        return spikes


class SpikingMLP(nn.Module):
    """Two token layers, C to mlp_ratio C to C, each followed by LIF (paper section 3.2)."""

    def __init__(self, dim: int, mlp_ratio: float, lif: LIFParameters) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.fc1 = TokenNeuron(dim, hidden, lif, bias=True)
        self.fc2 = TokenNeuron(hidden, dim, lif, bias=True)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, C, N)."""
        spikes: Tensor = self.fc2(self.fc1(x, memory), memory)
        return spikes


class ResidualBlock(nn.Module):
    """x + attention(x), then x + MLP(x): sums of spikes or of currents, as the two parts give them."""

    def __init__(self, attn: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attn, self.mlp = attn, mlp

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Same shape as `x`, bins first; two more spikes at most than `x` holds where the parts give spikes."""
        x = x + self.attn(x, memory)
        out: Tensor = x + self.mlp(x, memory)
        return out


def attention_of(configuration: SpikformerConfiguration, interaction: Interaction | None) -> nn.Module:
    """The attention that `configuration` names."""
    if configuration.attention == "ssa":
        return SpikingSelfAttention(configuration, interaction)
    from models.zoo.qkformer import query_key_attention  # late: it builds on the layers above

    return query_key_attention(configuration, configuration.attention)


class Block(ResidualBlock):
    """Encoder block (paper eq. 5-6): SSA, then MLP, on integer spike counts (T, B, C, N)."""

    def __init__(self, configuration: SpikformerConfiguration, interaction: Interaction | None = None) -> None:
        super().__init__(
            attention_of(configuration, interaction),
            SpikingMLP(configuration.dim, configuration.mlp_ratio, configuration.lif),
        )


class TokenTransformer(SpikingNetwork):
    """A stem, `blocks` on tokens (T, B, C, N), and a head on their mean."""

    def __init__(self, stem: nn.Module, blocks: list[ResidualBlock], head: nn.Linear) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        x = self.stem(x, memory)  # (T, B, C, N)
        for block in self.blocks:
            x = block(x, memory)
        return self.head(x.mean(dim=3)), memory.new


class Spikformer(TokenTransformer):
    """The whole network; `interaction` builds what stands between Q and the product in each block (none here, TIM in `tim`)."""

    def __init__(self, configuration: SpikformerConfiguration, interaction: Interaction | None = None) -> None:
        super().__init__(
            SpikingPatchSplitting(configuration.in_channels, configuration.dim, configuration.pools, configuration.lif),
            [Block(configuration, interaction) for _ in range(configuration.depth)],
            classifier(configuration.dim, configuration.n_classes),
        )
        self.configuration = configuration
