"""Masked pre-training of Spikformer V2: hide most cells of a clip, let the network see the rest, rebuild what was hidden.

The paper says mask and reconstruct, and no more; this is our own design, after the spike masked auto-encoder of Spike-driven
Transformer V3 (Yao et al., 2024). A cell is the patch of pixels behind one token, hidden in all time bins alike. The blocks see
visible tokens alone; an ordinary transformer, dropped afterwards, rebuilds the event counts of each cell from their mean over
time. Shapes: T bins, B streams, C channels, N = H W / 256 cells, P values of a cell.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.neuron import Memory
from models.zoo.configuration import check_counts
from models.zoo.spikformer_v2 import CELL, SpikformerV2
from pipeline.schema.errors import ConfigurationError

# Cells whose counts hardly differ are not scaled: dividing by their spread would blow up a single event.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True)
class MaskingConfiguration:
    """`ratio` of the cells hidden; the decoder's `dim`, `depth` and `n_heads`; what is rebuilt, and how much empty cells count.

    `n_time_bins` is the T whose counts are rebuilt bin by bin; 0 rebuilds their mean over time.
    """

    ratio: float = 0.75
    dim: int = 256
    depth: int = 4
    n_heads: int = 4
    n_time_bins: int = 0
    empty_weight: float = 0.1

    def check(self, n_cells: int) -> None:
        """ConfigurationError where a clip of `n_cells` cells cannot be masked or rebuilt like this."""
        check_counts("pre-training", dim=self.dim, depth=self.depth, n_heads=self.n_heads, n_time_bins=max(self.n_time_bins, 1))
        if not 0 < self.n_hidden(n_cells) < n_cells:
            raise ConfigurationError(f"pre-training: ratio {self.ratio} must hide some of {n_cells} cells, and not all")
        if self.dim % 4 or self.dim % self.n_heads:
            raise ConfigurationError(f"pre-training: decoder dim {self.dim} must divide by 4 and by n_heads {self.n_heads}")
        if not self.empty_weight > 0.0:
            raise ConfigurationError(f"pre-training: empty_weight {self.empty_weight} must be above 0")

    def n_hidden(self, n_cells: int) -> int:
        """Number of cells hidden of `n_cells`."""
        return round(self.ratio * n_cells)


def draw_hidden(n_streams: int, n_cells: int, n_hidden: int, generator: torch.Generator) -> Tensor:
    """Which cells are hidden: bool (n_streams, n_cells), `n_hidden` true in each row, every choice alike likely."""
    order = torch.rand(n_streams, n_cells, generator=generator).argsort(dim=1)
    return order < n_hidden


def cut_cells(x: Tensor) -> Tensor:
    """Values of each cell, (B, N, T P), of counts (T, B, 2, H, W): cells row by row, each as (T, 2, 16, 16)."""
    T, B, C, H, W = x.shape
    cells = x.reshape(T, B, C, H // CELL, CELL, W // CELL, CELL).permute(1, 3, 5, 0, 2, 4, 6)
    return cells.reshape(B, (H // CELL) * (W // CELL), T * C * CELL * CELL)


def standardise(cells: Tensor) -> Tensor:
    """Each cell (B, N, P) less its mean, over its spread; one that hardly varies stays as it is."""
    variance, mean = torch.var_mean(cells, dim=2, keepdim=True)
    return torch.where(variance < _LEAST_VARIANCE, cells, (cells - mean) / (variance + _LEAST_VARIANCE).sqrt())


def place_codes(width: int, height: int, dim: int) -> Tensor:
    """Fixed sine and cosine codes (N, dim) of the cells of a map, row by row: half of the channels for y, half for x."""
    frequencies = torch.exp(torch.arange(dim // 4) * (-math.log(10_000.0) / (dim // 4)))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (rows, columns)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)


class MaskedAutoencoder(nn.Module):
    """`network` as the encoder of a masked auto-encoder: what it learns here, it keeps; everything else is dropped.

    In the stem, hidden cells are emptied before the first stage and after each; its batch norms see these empty places too,
    so their statistics move when fine-tuning begins.
    """

    codes: Tensor

    def __init__(self, network: SpikformerV2, configuration: MaskingConfiguration) -> None:
        super().__init__()
        own, dim = network.configuration, configuration.dim
        width, height = own.token_map
        configuration.check(width * height)
        self.network, self.configuration = network, configuration
        self.norm = nn.BatchNorm1d(own.dim)
        self.embed = nn.Linear(own.dim, dim)
        self.hidden_token = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.hidden_token, std=0.02)
        self.decoder = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, configuration.n_heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(configuration.depth)
        )
        self.head = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, max(configuration.n_time_bins, 1) * own.in_channels * CELL * CELL)
        )
        self.register_buffer("codes", place_codes(width, height, dim), persistent=False)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """What the cells are thought to hold, (B, N, P), of counts (T, B, 2, H, W) whose cells are `hidden` (B, N) or not."""
        features = self.norm(self.encode(x, hidden).mean(dim=0))  # (B, C, visible)
        tokens = self.hidden_token.expand(*hidden.shape, -1).clone()
        tokens[~hidden] = self.embed(features.transpose(1, 2)).flatten(0, 1)
        tokens = tokens + self.codes
        for block in self.decoder:
            tokens = block(tokens)
        rebuilt: Tensor = self.head(tokens)
        return rebuilt

    def encode(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Visible tokens (T, B, C, visible), in the order of their cells, after stem and blocks."""
        width, height = self.network.configuration.token_map
        visible = (~hidden).view(-1, 1, height, width).to(x.dtype)
        memory = Memory(None)
        x = x * visible.repeat_interleave(CELL, dim=2).repeat_interleave(CELL, dim=3)
        tokens = self.network.stem(x, memory, visible).flatten(3)  # (T, B, C, N)
        places = (~hidden).nonzero()[:, 1].view(len(hidden), -1)  # (B, visible)
        tokens = tokens.gather(3, places[None, :, None].expand(*tokens.shape[:3], -1))
        encoded: Tensor = self.network.encode(tokens, memory)
        return encoded

    def loss(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Mean square error of the `hidden` cells (B, N) of counts (T, B, 2, H, W), empty cells counting less; a scalar."""
        n_time_bins = self.configuration.n_time_bins
        if n_time_bins and len(x) != n_time_bins:
            raise ConfigurationError(f"pre-training: a decoder for {n_time_bins} time bins was given {len(x)}")
        counts = x if n_time_bins else x.mean(dim=0, keepdim=True)
        target = cut_cells(counts)
        errors = (self(x, hidden) - standardise(target)).square().mean(dim=2)  # (B, N)
        weights = hidden * torch.where(target.any(dim=2), 1.0, self.configuration.empty_weight)
        loss: Tensor = (errors * weights).sum() / weights.sum()
        return loss


def layer_groups(network: SpikformerV2, decay: float = 0.75) -> Iterator[dict[str, object]]:
    """Parameter groups for fine-tuning: `params` and `lr_scale`, 1 for the head and `decay` times less for each layer below."""
    layers: list[nn.Module] = [network.stem, *network.blocks, network.head]
    for depth, layer in enumerate(layers):
        yield {"params": list(layer.parameters()), "lr_scale": decay ** (len(layers) - 1 - depth)}
