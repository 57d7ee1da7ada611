"""Weights of few levels: two published rules, put on the layers of any network, trained through, and baked in.

    DuQ (Soltaniyeh 2023, arXiv 2302.04174):  q = c round((L - 1) clip(w / a, -1, 1)) / (L - 1),   L = 2^(bits - 1)
    LSQ (Esser 2020, as in QSD-Transformer):  q = alpha round(clip(w / alpha, -2^(bits - 1), 2^(bits - 1) - 1))

2 bits of DuQ are ternary: -c, 0, c. Its a and c are learned, one of each a layer; LSQ's alpha is learned for each output
channel. Rounding is half to even and passes the gradient on. Spikes stay as they are: it is the weights that a chip stores.
Magnitude pruning (2302.04174) hides the smallest weights of all layers together.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.surrogate import round_through
from pipeline.schema.errors import ConfigurationError

Rule = Literal["duq", "lsq"]

# Standard deviations that DuQ's first range covers.
_DUQ_SIGMAS = 3.0


def duq(weight: Tensor, a: Tensor, c: Tensor, bits: int) -> Tensor:
    """DuQ of `weight`, any shape: 2^bits - 1 levels from -c to c; `a` and `c` are one number each, above 0."""
    steps = 2 ** (bits - 1) - 1
    levels: Tensor = c * round_through((weight / a).clamp(-1.0, 1.0) * steps) / steps
    return levels


def lsq(weight: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """LSQ of `weight` (out, ...): 2^bits levels, `alpha` (out,) apart.

    The gradient of alpha is scaled by 1 / sqrt(weights times the highest level), as its authors found steps to need.
    """
    highest = 2 ** (bits - 1) - 1
    scale = 1.0 / math.sqrt(weight.numel() * highest)
    step = _ScaledGradient.apply(alpha, scale).view(-1, *[1] * (weight.dim() - 1))  # type: ignore[no-untyped-call]
    levels: Tensor = round_through((weight / step).clamp(-highest - 1, highest)) * step
    return levels


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # torch's protocol for ctx has no type
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.scale, None


class DuQ(nn.Module):
    """DuQ as a parametrization of one layer's weight: its range `a` and its largest level `c` are learned."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        spread, mean = torch.std_mean(weight.detach(), correction=0)
        reach = torch.maximum((mean - _DUQ_SIGMAS * spread).abs(), (mean + _DUQ_SIGMAS * spread).abs())
        self.a, self.c = nn.Parameter(reach.clone()), nn.Parameter(reach.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Weights of 2^bits - 1 levels, in the weight's shape."""
        return duq(weight, self.a, self.c, self.bits)


class LSQ(nn.Module):
    """LSQ as a parametrization of one layer's weight: steps `alpha` (out,) learned, from 2 mean |w| / sqrt(highest level)."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        mean = weight.detach().abs().flatten(1).mean(dim=1)
        mean = torch.where(mean > 0.0, mean, mean.mean())  # a channel of zeros takes a step like the others'
        self.alpha = nn.Parameter(2.0 * mean / math.sqrt(2 ** (bits - 1) - 1))

    def forward(self, weight: Tensor) -> Tensor:
        """Weights of 2^bits levels, in the weight's shape."""
        return lsq(weight, self.alpha, self.bits)


class Mask(nn.Module):
    """A fixed mask of 0 and 1 over one layer's weight, as a parametrization."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        """The weights that are kept, 0 elsewhere."""
        return weight * self.kept


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How to quantise: the rule, and the bits of a weight, 2 to 8."""

    rule: Rule = "duq"
    bits: int = 2

    def check(self) -> None:
        """ConfigurationError for a rule or a number of bits that there is not."""
        if self.rule not in ("duq", "lsq") or not 2 <= self.bits <= 8:
            raise ConfigurationError(
                f"weights are quantised by duq or lsq with 2 to 8 bits, not by {self.rule} with {self.bits}"
            )


def weighted_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and layer of every convolution and linear layer of `network`; batch norms, biases and neurons are left alone."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            yield name, module


def quantise(network: nn.Module, quantisation: Quantisation, *, keep: Iterable[str] = ()) -> None:
    """Put `quantisation` on every weighted layer of `network` but those named in `keep`; training goes on through it.

    A layer whose weights are all zero has no range: ConfigurationError names it. One that was pruned bare is left.
    """
    quantisation.check()
    kept = set(keep)
    for name, layer in list(weighted_layers(network)):
        weight = layer.weight
        assert isinstance(weight, Tensor)
        is_bare = parametrize.is_parametrized(layer, "weight") and not weight.any()
        if name in kept or is_bare:
            continue
        if not weight.any():
            raise ConfigurationError(f"{name} has no weight but 0, and so no range to quantise; name it in keep")
        rule = DuQ(weight, quantisation.bits) if quantisation.rule == "duq" else LSQ(weight, quantisation.bits)
        parametrize.register_parametrization(layer, "weight", rule)


def prune(network: nn.Module, sparsity: float) -> None:
    """Hide the smallest weights of all layers together, a share of `sparsity` in 0 .. 1, for good.

    Before `quantise`, the weights that are left are quantised (sequential); after it, levels are masked (joint), and what is
    small is judged before the quantiser.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ConfigurationError(f"sparsity {sparsity} must be at least 0 and less than 1")
    layers = [layer for _, layer in weighted_layers(network)]
    sizes = [_original(layer).detach().abs() for layer in layers]
    n_hidden = round(sparsity * sum(size.numel() for size in sizes))
    order = torch.cat([size.flatten() for size in sizes]).argsort(stable=True)
    kept = torch.ones_like(order, dtype=sizes[0].dtype).index_fill(0, order[:n_hidden], 0.0)
    masks = torch.split(kept, [size.numel() for size in sizes])
    for layer, size, mask in zip(layers, sizes, masks, strict=True):
        parametrize.register_parametrization(layer, "weight", Mask(mask.view_as(size)))


def bake(network: nn.Module) -> None:
    """Replace every quantised or masked weight of `network` by its values: names and shapes are those of a plain network."""
    for _, layer in list(weighted_layers(network)):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _original(layer: nn.Module) -> Tensor:
    """The weight of `layer` beneath its parametrizations."""
    if parametrize.is_parametrized(layer, "weight"):
        original = layer.parametrizations.weight.original  # type: ignore[union-attr]  # torch types every attribute as a module
        assert isinstance(original, Tensor)
        return original
    assert isinstance(layer.weight, Tensor)
    return layer.weight
