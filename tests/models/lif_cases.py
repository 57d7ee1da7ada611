"""Neurons to hold the kernels against `models.functional` with, and how: spikes, membranes and all gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models import functional
from models.functional import LIFParameters

CASES = [
    LIFParameters(),
    LIFParameters(v_threshold=0.5, surrogate="atan", alpha=2.0),
    LIFParameters(v_reset=None, detach_reset=False),
    LIFParameters(detach_reset=False, surrogate="triangle", alpha=1.0),
    LIFParameters(decay_input=False, tau=1.5, v_reset=0.1),
    LIFParameters(detach_membrane=True),
]

Lif = Callable[..., tuple[Tensor, Tensor]]


def make_currents(*shape: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Seeded currents (T, ...), membranes (...) and gradients of spikes (T, ...)."""
    generator = torch.Generator().manual_seed(0)
    x = 1.2 * torch.randn(*shape, generator=generator) + 0.5
    v = 0.3 * torch.randn(*shape[1:], generator=generator)
    upstream = torch.randn(*shape, generator=generator)
    return x.to(device), v.to(device), upstream.to(device)


def results_of(lif: Lif, tensors: tuple[Tensor, Tensor, Tensor], parameters: LIFParameters, w: float | None) -> list[Tensor]:
    """Spikes, membranes and the gradients to currents, membranes and, of a learned leak, `w`."""
    x, v, upstream = tensors
    x_, v_, w_ = (
        x.clone().requires_grad_(),
        v.clone().requires_grad_(),
        torch.tensor(w or 0.0, device=x.device).requires_grad_(),
    )
    spikes, membrane = lif(x_, v_, parameters) if w is None else lif(x_, v_, w_, parameters)
    ((spikes * upstream).sum() + (membrane * upstream[0]).sum()).backward()
    gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in (x_, v_, w_)]
    return [spikes, membrane, *gradients]


def check_agreement(
    kernels: Any, tensors: tuple[Tensor, Tensor, Tensor], parameters: LIFParameters, names: tuple[str, ...] = ("lif", "plif")
) -> None:
    """Fixed and learned leak of `kernels` (with `lif` and `plif`) against the plain ones."""
    for name in names:
        w = 0.3 if name == "plif" else None
        plain = results_of(getattr(functional, name), tensors, parameters, w)
        fast = results_of(getattr(kernels, name), tensors, parameters, w)
        assert torch.equal(fast[0], plain[0])
        for found, wanted in zip(fast[1:], plain[1:], strict=True):
            # gradients to 1e-5 of the largest: a sum over all neurons rounds as its largest terms do
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(wanted.detach().abs().max())))


def apply_affine(x: Tensor, scale: Tensor, shift: Tensor, inner: int) -> Tensor:
    """`x` (T, n) times and plus what belongs to each neuron's channel."""
    channel = torch.arange(x.shape[1]) // inner % scale.numel()
    return x * scale[channel] + shift[channel]
