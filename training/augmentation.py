"""Event-frame augmentations: pure functions of a batch of windows and a seeded generator, the same for all bins of a clip."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges drawn uniformly for each clip: `shift` in shares of a side, `scale` as factor, share of counts to `drop`."""

    shift: float = 0.08
    scale: float = 0.1
    rotation_deg: float = 8.0
    drop: float = 0.1


MILD = Augmentation()
NONE = Augmentation(shift=0.0, scale=0.0, rotation_deg=0.0, drop=0.0)


def augment(counts: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Moved, scaled, rotated and thinned copy of `counts` float32 (T, B, 2, H, W); values stay whole numbers.

    The picture is resampled at the nearest pixel, so counts are moved, never mixed; what leaves the picture is lost.
    """
    if settings == NONE:
        return counts
    T, B, C, H, W = counts.shape
    theta = _affine(B, settings, generator)
    grid = torch.nn.functional.affine_grid(theta, [B, C, H, W], align_corners=False)
    flat = counts.transpose(0, 1).reshape(B, T * C, H, W)
    moved = torch.nn.functional.grid_sample(flat, grid, mode="nearest", align_corners=False)
    moved = moved.view(B, T, C, H, W).transpose(0, 1)
    if settings.drop == 0.0:
        return moved
    keep = 1.0 - settings.drop * torch.rand(1, B, 1, 1, 1, generator=generator)
    # thinning a count of independent events: the exact law is binomial; rounding keep * n + u - 1/2 has its mean
    return torch.floor(moved * keep + torch.rand(moved.shape, generator=generator))


def _affine(B: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    def draw(limit: float) -> Tensor:
        return limit * (2.0 * torch.rand(B, generator=generator) - 1.0)

    angle = draw(math.radians(settings.rotation_deg))
    zoom = torch.exp(draw(math.log1p(settings.scale)))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = (torch.stack([cos, -sin, draw(2.0 * settings.shift)], 1), torch.stack([sin, cos, draw(2.0 * settings.shift)], 1))
    return torch.stack(rows, dim=1)  # (B, 2, 3)
