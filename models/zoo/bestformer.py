"""BESTformer (Cao et al., IJCAI 2025; arXiv 2501.05904): weights of one bit, attention maps of one bit, reversible blocks.

    S = SN(X),  Q, K, V = SN(BN(Wb S))
    M = SN(Q K^T),  O = SN(lambda M V)        map of tokens, map_order "qk"
    M = SN(K^T V),  O = SN(lambda Q M)        map of channels, map_order "kv"

    x2 = Attn(x1) + (x0 + x1) / 2,   x3 = MLP(x2) + (x1 + x2) / 2,   the first block has no x0: x2 = Attn(x1) + x1

M's neuron resets softly. Lambda is learned for each bin and head. Residuals are currents. Each of the two streams x2 and x3
has a head of its own: one learns the labels, the other what a teacher says; they answer with their mean.
Shapes: T time bins, B streams, C channels, H x W map, N = H W tokens, D = C / n_heads.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from models.operations import Operations, total
from models.zoo.binary import BinaryConvolution
from models.zoo.configuration import check_counts, check_dim, check_lif, check_pools, check_size
from models.zoo.sdt import ChannelNeuron, CurrentMLP, Pointwise, Projection, split_heads
from models.zoo.spikformer import classifier, folded, product_operations


@dataclass(frozen=True, slots=True)
class BESTformerConfiguration:
    """BESTformer; `pools` marks the four binary stages of the stem that halve the map before they convolve.

    Published for images alone, T = 4 and 8 heads: CIFAR 4-384 with pools 0011, map_order qk; ImageNet 8-512 with pools 1111,
    map_order kv. The event-camera default is ours. `n_time_bins`: T of lambda; later bins use the last one's. `is_binary`
    False is the full-precision twin, a teacher.
    """

    dim: int = 256
    depth: int = 2
    n_heads: int = 16
    mlp_ratio: int = 4
    n_classes: int = 11
    in_channels: int = 2
    size: tuple[int, int] = (128, 128)
    pools: str = "1111"
    map_order: Literal["qk", "kv"] = "kv"
    n_time_bins: int = 16
    scale: float = 0.125
    attention_threshold: float = 0.5
    is_binary: bool = True
    lif: LIFParameters = field(default_factory=LIFParameters)

    def check(self, name: str) -> None:
        """ConfigurationError where network `name` cannot be built like this; the stem begins with dim / 8 channels."""
        check_dim(name, self.dim, self.n_heads, 8)
        check_size(name, self.size)
        check_pools(name, self.pools)
        check_counts(name, depth=self.depth, n_classes=self.n_classes, in_channels=self.in_channels, mlp_ratio=self.mlp_ratio)
        check_counts(name, n_time_bins=self.n_time_bins)
        check_lif(name, self.lif)

    @property
    def convolution(self) -> type[nn.Conv2d]:
        """What all layers but the first and the heads are made of."""
        return BinaryConvolution if self.is_binary else nn.Conv2d

    @property
    def pointwise(self) -> Pointwise:
        """Its 1x1 form, without bias."""
        return partial(self.convolution, kernel_size=1, bias=False)


class SpikeProduct(nn.Module):
    """Product of spikes (..., I, K) and spikes (..., K, J): a layer of its own, so that it can be counted where both fire."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Counts (..., I, J)."""
        return a @ b

    def operations(self, inputs: tuple[Tensor, Tensor], output: Tensor) -> Operations:
        """One addition wherever both fire."""
        a, b = (x.detach() for x in inputs)
        sops = total(a.sum(dim=-2) * b.sum(dim=-1))
        return product_operations(output.numel() * a.shape[-1], sops, (a, b))


class FiringStage(nn.Module):
    """Fire, halve the map where asked, convolve 3x3, BN: a current in, a current out."""

    def __init__(self, conv: nn.Conv2d, lif: LIFParameters, *, pool: bool) -> None:
        super().__init__()
        self.lif = LIF(lif)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pool else nn.Identity()
        self.proj = Projection(conv)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C', H', W') of a current (T, B, C, H, W)."""
        current: Tensor = self.proj(folded(self.pool, self.lif(x, memory)))
        return current


class BinaryStem(nn.Module):
    """A full-precision convolution of the counts, then four binary stages; no neuron and no position branch at the end."""

    def __init__(self, configuration: BESTformerConfiguration) -> None:
        super().__init__()
        dim = configuration.dim
        widths = [dim // 8, dim // 4, dim // 2, dim, dim]
        self.first = Projection(nn.Conv2d(configuration.in_channels, widths[0], kernel_size=3, padding=1, bias=False))
        self.stages = nn.ModuleList(
            FiringStage(
                configuration.convolution(widths[i], widths[i + 1], kernel_size=3, padding=1, bias=False),
                configuration.lif,
                pool=pool == "1",
            )
            for i, pool in enumerate(configuration.pools)
        )

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H', W') of event counts (T, B, 2, H, W)."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(x, memory)
        return x


class BinaryAttention(nn.Module):
    """Attention whose map is fired to one bit before it is used; remembers how many bins its stream has seen, for lambda."""

    def __init__(self, configuration: BESTformerConfiguration) -> None:
        super().__init__()
        dim, lif = configuration.dim, configuration.lif
        self.n_heads, self.scale, self.map_order = configuration.n_heads, configuration.scale, configuration.map_order
        self.in_lif = LIF(lif)
        self.q, self.k, self.v = (ChannelNeuron(configuration.pointwise(dim, dim), LIF(lif)) for _ in range(3))
        self.map_product = SpikeProduct()
        self.map_lif = LIF(replace(lif, v_reset=None))
        self.product = SpikeProduct()
        self.lam = nn.Parameter(torch.ones(configuration.n_time_bins, 1, self.n_heads, 1, 1))
        self.lif = LIF(replace(lif, v_threshold=configuration.attention_threshold))
        self.proj = Projection(configuration.pointwise(dim, dim))
        self.key = ""

    def _lam(self, x: Tensor, memory: Memory) -> Tensor:
        """Lambda (T, B, n_heads, 1, 1) of the bins `x` (T, B, ...) of each stream."""
        T, B = x.shape[:2]
        seen = memory.old.get(self.key)
        if seen is None:
            seen = torch.zeros(B, dtype=torch.int64, device=self.lam.device)
        memory.new[self.key] = seen + T
        bins = seen + torch.arange(T, device=self.lam.device).unsqueeze(1)  # (T, B)
        return self.lam[bins.clamp(max=len(self.lam) - 1), 0]

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Current (T, B, C, H, W) of a current of that shape."""
        s = self.in_lif(x, memory)
        q, k, v = (split_heads(layer(s, memory), self.n_heads) for layer in (self.q, self.k, self.v))
        k = k.transpose(-1, -2)
        if self.map_order == "qk":
            o = self.product(self.map_lif(self.map_product(q, k), memory), v)  # through a map (T, B, n_heads, N, N)
        else:
            o = self.product(q, self.map_lif(self.map_product(k, v), memory))  # through a map (T, B, n_heads, D, D)
        o = self.scale * self._lam(x, memory) * o
        o = self.lif(o.transpose(-1, -2).reshape(x.shape), memory)
        current: Tensor = self.proj(o)
        return current


class ReversibleBlock(nn.Module):
    """Attention and MLP on two streams, none of which loses what it holds: `invert` gives back what went in."""

    def __init__(self, configuration: BESTformerConfiguration) -> None:
        super().__init__()
        self.attn = BinaryAttention(configuration)
        self.mlp = CurrentMLP(configuration.dim, configuration.mlp_ratio, configuration.lif, pointwise=configuration.pointwise)

    def forward(self, x0: Tensor | None, x1: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The next two streams; all currents (T, B, C, H, W). `x0` is None in the first block."""
        x2 = self.attn(x1, memory) + (x1 if x0 is None else (x0 + x1) / 2)
        x3 = self.mlp(x2, memory) + (x1 + x2) / 2
        return x2, x3

    def invert(self, x2: Tensor, x3: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """(x0, x1) of what `forward` gave from the same old memory, in evaluation; the first block's x0 says nothing."""
        x1 = 2 * (x3 - self.mlp(x2, memory)) - x2
        x0 = 2 * (x2 - self.attn(x1, memory)) - x1
        return x0, x1


class BESTformer(SpikingNetwork):
    """The whole network; each head sees the mean current of its stream's channels, unfired."""

    def __init__(self, configuration: BESTformerConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        self.stem = BinaryStem(configuration)
        self.blocks = nn.ModuleList(ReversibleBlock(configuration) for _ in range(configuration.depth))
        self.head_a = classifier(configuration.dim, configuration.n_classes)
        self.head_b = classifier(configuration.dim, configuration.n_classes)
        name_memories(self)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state)."""
        logits_a, logits_b, state = self.run_heads(x, state)
        return (logits_a + logits_b) / 2, state

    def run_heads(self, x: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """As `run`, with the logits (T, B, K) of both heads apart: that of the labels, that of the teacher."""
        memory = Memory(state)
        x0, x1 = None, self.stem(x, memory)  # (T, B, C, H', W')
        for block in self.blocks:
            x0, x1 = block(x0, x1, memory)
        assert x0 is not None  # depth is at least one
        return self.head_a(x0.mean(dim=(3, 4))), self.head_b(x1.mean(dim=(3, 4))), memory.new


def distillation_loss(logits_a: Tensor, logits_b: Tensor, labels: Tensor, teacher_logits: Tensor) -> Tensor:
    """Half the cross-entropy of head a with the labels, half that of head b with the teacher's choice; logits (B, K).

    `labels`: classes (B,) or soft labels (B, K). The released teacher is an image network; for events it is a twin that is not
    binary, our own choice.
    """
    return 0.5 * cross_entropy(logits_a, labels) + 0.5 * cross_entropy(logits_b, teacher_logits.argmax(dim=1))
