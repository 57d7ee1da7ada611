"""Surrogate gradients: the backward stand-in for the step `s = 1 if u >= 0 else 0`, named by paper.

`u` is the membrane above threshold, H - v_threshold. Every function gives ds/du, same shape and dtype as `u`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def sigmoid(u: Tensor, alpha: float) -> Tensor:
    """Derivative of sigmoid(alpha u): alpha sig (1 - sig). Spikformer (Zhou 2023) and TIM use alpha = 4."""
    sig = torch.sigmoid(alpha * u)
    return alpha * sig * (1.0 - sig)


def atan(u: Tensor, alpha: float) -> Tensor:
    """Derivative of atan(pi/2 alpha u) / pi: alpha/2 / (1 + (pi/2 alpha u)^2). PLIF (Fang 2021), alpha = 2."""
    return (alpha / 2.0) / (1.0 + (math.pi / 2.0 * alpha * u) ** 2)


def triangle(u: Tensor, alpha: float) -> Tensor:
    """Triangle of half-width 1/alpha and area 1: alpha max(0, 1 - alpha |u|). STBP (Wu 2018), Bellec 2018."""
    return alpha * torch.clamp(1.0 - alpha * u.abs(), min=0.0)


SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {"sigmoid": sigmoid, "atan": atan, "triangle": triangle}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, name: str, alpha: float) -> Tensor:  # torch's protocol for ctx has no type
        ctx.save_for_backward(u)
        ctx.name, ctx.alpha = name, alpha
        return (u >= 0.0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * SURROGATES[ctx.name](u, ctx.alpha), None, None


def spike(u: Tensor, name: str, alpha: float) -> Tensor:
    """Spikes 1 where `u >= 0`, else 0, in `u`'s shape and dtype; backward is the surrogate called `name`."""
    if not (u.requires_grad and torch.is_grad_enabled()):
        return (u >= 0.0).to(u.dtype)
    return _Spike.apply(u, name, alpha)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves apply untyped


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, n_levels: int, is_half_up: bool) -> Tensor:  # torch passes by position
        ctx.save_for_backward((x > 0.0) & (x < n_levels) if is_half_up else (x >= 0.0) & (x <= n_levels))
        clipped = x.clamp(0, n_levels)
        return torch.floor(clipped + 0.5) if is_half_up else clipped.round()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad_outputs[0] * inside, None, None


def count(x: Tensor, n_levels: int, *, is_half_up: bool = False) -> Tensor:
    """Whole numbers 0 .. `n_levels` nearest to `x` (half to even), same shape and dtype; backward is 1 inside, ends too.

    With `is_half_up` it is the neuron of QSD-Transformer: halves go up, and the ends pass no gradient.
    """
    return _Count.apply(x, n_levels, is_half_up)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves apply untyped


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.delta = delta
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (gradient,), (x,) = grad_outputs, ctx.saved_tensors
        if ctx.delta:
            gradient = gradient * (1.0 + ctx.delta * gradient.sign() * (x - x.round()))
        return gradient, None


def round_through(x: Tensor, delta: float = 0.0) -> Tensor:
    """Whole numbers nearest to `x` (half to even), same shape and dtype; backward is 1 (straight through).

    With `delta` it is EWGS (Lee 2021): the gradient g becomes g (1 + delta sign(g) (x - round(x))).
    """
    return _Round.apply(x, delta)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves apply untyped
