"""Spikformer V2 (Zhou et al., arXiv 2401.02020): a stem of strided and widening convolutions in place of pools.

No code was released. The shapes of the stem (SCS) are those that give the published parameter counts to the printed digit; the
order of neurons and residuals in it is our own design. In each of its four stages, of widths C/8, C/4, C/2, C:

    u = SN(BN(conv2x2, stride 2 (x))),   w = SN(BN(conv3x3 (u))), `stem_ratio` times as wide,   x = u + SN(BN(conv3x3 (w)))

That is style `post`, sums of spikes as in Spikformer, whose blocks follow. In style `pre` currents are summed: each layer but
the first fires before it convolves, and every branch ends in its batch norm. Shapes as in `spikformer`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.zoo.configuration import check_counts, check_dim, check_lif, check_size
from models.zoo.sdt import CurrentMLP, LinearSpikeAttention, Projection
from models.zoo.spikformer import Block, ResidualBlock, SpikformerConfiguration, classifier
from pipeline.schema.errors import ConfigurationError

Style = Literal["post", "pre"]

N_STAGES = 4
# Pixels of a token along one side: every stage halves the map.
CELL = 2**N_STAGES


@dataclass(frozen=True, slots=True)
class SpikformerV2Configuration:
    """Spikformer V2. The default is our event variant, whose stem is narrow: the published `stem_ratio` is 4.

    Published, for 1000 classes of images: 8-384, 8-512 and 16-768 (depth and dim), in_channels 3.
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 16
    mlp_ratio: int = 4
    stem_ratio: int = 1
    style: Style = "post"
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    scale: float = 0.125
    attention_threshold: float = 0.5
    lif: LIFParameters = field(default_factory=LIFParameters)

    @property
    def block(self) -> SpikformerConfiguration:
        """What a block shares with Spikformer."""
        return SpikformerConfiguration(
            dim=self.dim,
            n_heads=self.n_heads,
            mlp_ratio=self.mlp_ratio,
            scale=self.scale,
            attention_threshold=self.attention_threshold,
            lif=self.lif,
        )

    @property
    def token_map(self) -> tuple[int, int]:
        """Width and height of the token map."""
        width, height = self.size
        return width // CELL, height // CELL

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_counts(name, depth=self.depth, mlp_ratio=self.mlp_ratio, stem_ratio=self.stem_ratio)
        check_counts(name, n_classes=self.n_classes, in_channels=self.in_channels)
        if self.size[0] % CELL or self.size[1] % CELL:
            raise ConfigurationError(f"{name}: size {self.size} must be multiples of {CELL}, for the stem halves it four times")
        check_lif(name, self.lif)


class StemStage(nn.Module):
    """One stage of SCS: half the map, `out_channels` wide, a residual branch that widens `ratio` times."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ratio: int,
        lif: LIFParameters,
        *,
        style: Style = "post",
        is_first: bool = False,
    ) -> None:
        super().__init__()
        wide = ratio * out_channels
        self.style: Style = style
        self.down = Projection(nn.Conv2d(in_channels, out_channels, kernel_size=2, stride=2, bias=False))
        self.up = Projection(nn.Conv2d(out_channels, wide, kernel_size=3, padding=1, bias=False))
        self.back = Projection(nn.Conv2d(wide, out_channels, kernel_size=3, padding=1, bias=False))
        # before the first convolution of style pre there is nothing to fire: it sees the event counts
        self.down_lif = None if style == "pre" and is_first else LIF(lif)
        self.up_lif, self.back_lif = LIF(lif), LIF(lif)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """(T, B, C, H, W) to (T, B, C', H/2, W/2): spike counts 0..2 in style post, a current in style pre."""
        if self.style == "pre":
            u = self.down(x if self.down_lif is None else self.down_lif(x, memory))
            w = self.up(self.up_lif(u, memory))
            current: Tensor = u + self.back(self.back_lif(w, memory))
            return current
        assert self.down_lif is not None  # style post always fires
        u = self.down_lif(self.down(x), memory)
        w = self.up_lif(self.up(u), memory)
        counts: Tensor = u + self.back_lif(self.back(w), memory)
        return counts


class SpikingConvolutionalStem(nn.Module):
    """SCS: four stages; where cells are hidden (models/pretraining.py), each stage's map is emptied there."""

    def __init__(self, configuration: SpikformerV2Configuration) -> None:
        super().__init__()
        dim, ratio, lif = configuration.dim, configuration.stem_ratio, configuration.lif
        widths = [configuration.in_channels, dim // 8, dim // 4, dim // 2, dim]
        self.stages = nn.ModuleList(
            StemStage(widths[i], widths[i + 1], ratio, lif, style=configuration.style, is_first=i == 0) for i in range(N_STAGES)
        )

    def forward(self, x: Tensor, memory: Memory, visible: Tensor | None = None) -> Tensor:
        """(T, B, C, H/16, W/16) of event counts (T, B, 2, H, W); `visible` (B, 1, H/16, W/16) is 0 where a cell is hidden."""
        for i, stage in enumerate(self.stages):
            x = stage(x, memory)  # (T, B, C_i, H_i, W_i)
            if visible is not None:
                repeats = 2 ** (N_STAGES - 1 - i)
                x = x * visible.repeat_interleave(repeats, dim=2).repeat_interleave(repeats, dim=3)
        return x


def encoder_block(configuration: SpikformerV2Configuration) -> nn.Module:
    """Spikformer's block in style post; in style pre the same with neurons before the layers and no biases in attention."""
    if configuration.style == "post":
        return Block(configuration.block)
    neurons = replace(configuration.lif, v_threshold=configuration.attention_threshold)
    return ResidualBlock(
        LinearSpikeAttention(configuration.dim, configuration.n_heads, configuration.scale, configuration.lif, out=neurons),
        CurrentMLP(configuration.dim, configuration.mlp_ratio, configuration.lif),
    )


class SpikformerV2(SpikingNetwork):
    """The whole network: SCS, blocks, head; no position embedding, for the stem's 3x3 convolutions know where they are."""

    def __init__(self, configuration: SpikformerV2Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        self.stem = SpikingConvolutionalStem(configuration)
        self.blocks = nn.ModuleList(encoder_block(configuration) for _ in range(configuration.depth))
        self.head = classifier(configuration.dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        memory = Memory(state)
        tokens = self.encode(self.stem(x, memory).flatten(3), memory)
        return self.head(tokens.mean(dim=3)), memory.new

    def encode(self, tokens: Tensor, memory: Memory) -> Tensor:
        """The blocks alone: tokens (T, B, C, N), all or those that are visible, to the same shape."""
        x = tokens if self.configuration.style == "post" else tokens.unsqueeze(-1)  # blocks of currents know maps: N x 1
        for block in self.blocks:
            x = block(x, memory)
        return x.flatten(3)
