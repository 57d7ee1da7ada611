"""SpikingResformer (Shi et al., CVPR 2024): dual spike self-attention and group-wise feed-forward, in three stages.

    S = SN(x),  (Y1, Y2) = BN(conv_p(S)),  M = SN(Y1^T S / sqrt(f_x D)),  O = SN(Y2 M / sqrt(f_attn N'))

Each product has a current on its left and spikes on its right, so it is additions. f_x and f_attn are the firing rates of S and
M for each head, followed in training and kept. Residuals are currents: each branch fires first and ends in a batch norm.
Shapes: T bins, B streams, C channels, H x W map, N = H W tokens, N' = N / p^2 patches, D = C / n_heads.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import Memory, Neuron, SpikingNetwork, State, name_memories, neuron_layer
from models.operations import NumberLinear, Operations, total
from models.zoo.configuration import check_counts, check_dim, check_lif, check_size
from models.zoo.sdt import Projection
from models.zoo.spikformer import ResidualBlock, folded
from pipeline.schema.errors import ConfigurationError

Three = tuple[int, int, int]

# How much of a firing rate is kept when a new batch is seen (the released code's value).
_MOMENTUM = 0.999


@dataclass(frozen=True, slots=True)
class SpikingResformerConfiguration:
    """SpikingResformer; `dim`, `depth`, `n_heads` and `patch` have one number for each stage.

    The default is the published DVS128 Gesture network (2.71 M parameters); Ti* for CIFAR10-DVS has dim 64, 192, 384, neuron
    lif and group_size 64. `in_channels` are those of the frames; for events, the network adds their sum as one more
    (`sum_channel`), unless they bring it. `prologue` `image` quarters the map before the first stage. `group_size` is the
    number of channels that a group of the feed-forward's 3x3 convolution sees.
    """

    dim: Three = (32, 96, 192)
    depth: Three = (1, 2, 3)
    n_heads: Three = (1, 3, 6)
    patch: Three = (4, 2, 1)
    mlp_ratio: int = 4
    group_size: int = 32
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (64, 64)
    sum_channel: bool = True
    prologue: Literal["plain", "image"] = "plain"
    neuron: Neuron = "plif"
    lif: LIFParameters = field(default_factory=lambda: LIFParameters(surrogate="atan", alpha=2.0))

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each stage's map: as the prologue leaves them, then halved and rounded up."""
        width, height = self.size
        first = 4 if self.prologue == "image" else 1
        return tuple((-(-width // n), -(-height // n)) for n in (first, 2 * first, 4 * first))

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this."""
        check_size(name, self.size)
        check_counts(
            name,
            n_classes=self.n_classes,
            in_channels=self.in_channels,
            mlp_ratio=self.mlp_ratio,
            group_size=self.group_size,
        )
        for dim, depth, n_heads, patch, (width, height) in zip(
            self.dim, self.depth, self.n_heads, self.patch, self.maps, strict=True
        ):
            check_dim(name, dim, n_heads, 1)
            check_counts(name, depth=depth, patch=patch)
            if dim * self.mlp_ratio % self.group_size:
                raise ConfigurationError(f"{name}: group_size {self.group_size} must divide {dim} * mlp_ratio {self.mlp_ratio}")
            if width % patch or height % patch:
                raise ConfigurationError(f"{name}: patch {patch} must divide the stage's map of {width} x {height}")
        check_lif(name, self.lif)
        if self.neuron == "plif" and self.lif.tau <= 1.0:
            raise ConfigurationError(f"{name}: neuron plif needs tau above 1, not {self.lif.tau}")


class CurrentProduct(nn.Module):
    """Product of a current (..., I, K) and spikes (..., K, J): a layer of its own, so that its additions can be counted."""

    def forward(self, current: Tensor, s: Tensor) -> Tensor:
        """Current (..., I, J)."""
        return current @ s

    def operations(self, inputs: tuple[Tensor, Tensor], output: Tensor) -> Operations:
        """Each spike adds a column of the current."""
        current, s = (x.detach() for x in inputs)
        n_spikes = total(s)
        macs = output.numel() * s.shape[-2]
        return Operations(macs, n_spikes * current.shape[-2], n_spikes, s.numel(), is_product=True)


class DualSpikeSelfAttention(nn.Module):
    """DSSA: two transforms, each of a current by spikes, scaled by the firing rate of those spikes.

    In training, the rates of a call's bins and streams are followed in `f_x` and `f_attn` (1, 1, n_heads, 1, 1); in evaluation
    the stored ones count, so that a stream does not depend on its neighbours. A head that never fired is scaled as if it
    always did: the released code divides by zero.
    """

    f_x: Tensor
    f_attn: Tensor

    def __init__(self, dim: int, n_heads: int, patch: int, neuron: Neuron, lif: LIFParameters) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.in_lif = neuron_layer(neuron, lif)
        self.dst = Projection(nn.Conv2d(dim, 2 * dim, kernel_size=patch, stride=patch, bias=False))
        self.product1 = CurrentProduct()
        self.attn_lif = neuron_layer(neuron, lif)
        self.product2 = CurrentProduct()
        self.out_lif = neuron_layer(neuron, lif)
        self.proj = Projection(nn.Conv2d(dim, dim, kernel_size=1, bias=False))
        self.register_buffer("f_x", torch.zeros(1, 1, n_heads, 1, 1))
        self.register_buffer("f_attn", torch.zeros(1, 1, n_heads, 1, 1))

    def _scale(self, rate: Tensor, s: Tensor) -> Tensor:
        """1 / sqrt(firing rate times length) for each head, of the spikes (T, B, n_heads, length, N) that are summed over."""
        if self.training:
            seen = s.detach().mean(dim=(0, 1, 3, 4), keepdim=True)
            if not rate.any():
                rate.copy_(seen)
            rate.mul_(_MOMENTUM).add_((1.0 - _MOMENTUM) * seen)
        fired = torch.where(rate > 0.0, rate, torch.ones_like(rate))
        return (fired * s.shape[3]).rsqrt()

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        T, B, C, H, W = x.shape
        D = C // self.n_heads
        spikes = self.in_lif(x, memory)
        y1, y2 = self.dst(spikes).reshape(T, B, self.n_heads, 2 * D, -1).split(D, dim=3)  # (T, B, n_heads, D, N')
        s = spikes.view(T, B, self.n_heads, D, H * W)
        m = self.product1(y1.transpose(-1, -2), s) * self._scale(self.f_x, s)
        m = self.attn_lif(m, memory)  # (T, B, n_heads, N', N)
        o = self.product2(y2, m) * self._scale(self.f_attn, m)
        o = self.out_lif(o, memory)  # (T, B, n_heads, D, N)
        current: Tensor = self.proj(o.view(T, B, C, H, W))
        return current


class GroupWiseFeedForward(nn.Module):
    """GWFFN: up, a 3x3 convolution in groups with a residual of its own, down."""

    def __init__(self, dim: int, mlp_ratio: int, group_size: int, neuron: Neuron, lif: LIFParameters) -> None:
        super().__init__()
        hidden = dim * mlp_ratio
        self.up_lif = neuron_layer(neuron, lif)
        self.up = Projection(nn.Conv2d(dim, hidden, kernel_size=1, bias=False))
        self.group_lif = neuron_layer(neuron, lif)
        self.group = Projection(nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden // group_size, bias=False))
        self.down_lif = neuron_layer(neuron, lif)
        self.down = Projection(nn.Conv2d(hidden, dim, kernel_size=1, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        u = self.up(self.up_lif(x, memory))  # (T, B, mlp_ratio C, H, W)
        g = self.group(self.group_lif(u, memory)) + u
        current: Tensor = self.down(self.down_lif(g, memory))
        return current


class Downsample(nn.Module):
    """Between stages: fire, then a 3x3 convolution of stride 2 and BN, with no shortcut."""

    def __init__(self, in_channels: int, dim: int, neuron: Neuron, lif: LIFParameters) -> None:
        super().__init__()
        self.lif = neuron_layer(neuron, lif)
        self.proj = Projection(nn.Conv2d(in_channels, dim, kernel_size=3, stride=2, padding=1, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C', H/2, W/2), rounded up, of a current (T, B, C, H, W)."""
        current: Tensor = self.proj(self.lif(x, memory))
        return current


class Stage(nn.Module):
    """Stage `i` of three: a downsampling before all but the first, then pairs of attention and feed-forward."""

    def __init__(self, configuration: SpikingResformerConfiguration, i: int) -> None:
        super().__init__()
        dim, neuron, lif = configuration.dim[i], configuration.neuron, configuration.lif
        self.down = Downsample(configuration.dim[i - 1], dim, neuron, lif) if i > 0 else None
        self.blocks = nn.ModuleList(
            ResidualBlock(
                DualSpikeSelfAttention(dim, configuration.n_heads[i], configuration.patch[i], neuron, lif),
                GroupWiseFeedForward(dim, configuration.mlp_ratio, configuration.group_size, neuron, lif),
            )
            for _ in range(configuration.depth[i])
        )

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C_i, H_i, W_i) of the current of the stage before."""
        if self.down is not None:
            x = self.down(x, memory)
        for block in self.blocks:
            x = block(x, memory)
        return x


class SpikingResformer(SpikingNetwork):
    """The whole network; the head sees the mean current of each channel, unfired, and has no bias."""

    def __init__(self, configuration: SpikingResformerConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        dim = configuration.dim
        self.sum_channel, is_image = configuration.sum_channel, configuration.prologue == "image"
        kernel, stride = (7, 2) if is_image else (3, 1)
        self.prologue = Projection(
            nn.Conv2d(
                configuration.in_channels + int(self.sum_channel),
                dim[0],
                kernel,
                stride=stride,
                padding=kernel // 2,
                bias=False,
            )
        )
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if is_image else nn.Identity()
        self.stages = nn.ModuleList(Stage(configuration, i) for i in range(len(dim)))
        self.head = NumberLinear(dim[-1], configuration.n_classes, bias=False)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        if self.sum_channel and x.shape[2] == self.configuration.in_channels:  # frames that bring their sum stay as they are
            x = torch.cat([x, x.sum(dim=2, keepdim=True)], dim=2)  # OFF, ON and their sum
        x = folded(self.pool, self.prologue(x))
        for stage in self.stages:
            x = stage(x, memory)
        return self.head(x.mean(dim=(3, 4))), memory.new
