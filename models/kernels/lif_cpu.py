"""Numba CPU twin of `models.functional.lif` for float32: all T bins in one pass over memory, forward and backward.

Agreement with the plain step is tested; the gain is measured by `python benchmarks/neuron.py`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, prange
from torch import Tensor

from models.functional import LIFParameters

# Neurons handled together: membrane, input, H and spikes of one block stay in a core's 1-2 MiB L2 cache.
_BLOCK = 8192

Array = npt.NDArray[np.float32]


# (leak, gain, threshold, reset): H = leak v + gain x.
Constants = tuple[float, float, float, float]

# Codes of the surrogate gradients inside a kernel, and the bound beyond which the sigmoid's slope is below float32's sight.
_SURROGATES = {"sigmoid": 0, "atan": 1, "triangle": 2}
_SIGMOID_REACH = np.float32(32.0)


@njit(inline="always")
def _slope(u: np.float32, surrogate: int, alpha: np.float32) -> np.float32:
    """Surrogate gradient at `u` as in `models.surrogate`, in arithmetic alone so that the loop around it vectorises."""
    one = np.float32(1.0)
    if surrogate == 0:
        # exp(-z) = exp(-z / 32)^32: a polynomial of degree 7 on [0, 1], then five squarings; relative error below 5e-6
        z = min(abs(alpha * u), _SIGMOID_REACH) * np.float32(1.0 / 32.0)
        e = one - z * (one - z * np.float32(1 / 2) * (one - z * np.float32(1 / 3) * (one - z * np.float32(1 / 4) * (
            one - z * np.float32(1 / 5) * (one - z * np.float32(1 / 6) * (one - z * np.float32(1 / 7) * (
                one - z * np.float32(1 / 8) * (one - z * np.float32(1 / 9)))))))))  # fmt: skip
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        return alpha * e / ((one + e) * (one + e))
    if surrogate == 1:
        w = np.float32(math.pi / 2) * alpha * u
        return np.float32(0.5) * alpha / (one + w * w)
    return alpha * max(np.float32(0.0), one - alpha * abs(u))


@njit(cache=True, parallel=True, error_model="numpy")
def _forward(x: Array, v: Array, constants: Constants, is_hard: bool, h: Array, s: Array) -> None:
    """Fill spikes `s` and potentials `h` (T, n; left out if it has no rows) from currents `x` (T, n); updates `v` (n,)."""
    n_bins, n = x.shape
    leak, gain = np.float32(constants[0]), np.float32(constants[1])
    threshold, reset = np.float32(constants[2]), np.float32(constants[3])
    keep = h.shape[0] == n_bins
    for block in prange((n + _BLOCK - 1) // _BLOCK):
        start = block * _BLOCK
        stop = min(n, start + _BLOCK)
        membrane = v[start:stop]
        for t in range(n_bins):
            current, spikes = x[t, start:stop], s[t, start:stop]
            if keep:
                potentials = h[t, start:stop]
                for i in range(stop - start):
                    potentials[i] = membrane[i] * leak + current[i] * gain
            for i in range(stop - start):
                potential = membrane[i] * leak + current[i] * gain
                fired = np.float32(1.0) if potential >= threshold else np.float32(0.0)
                spikes[i] = fired
                after = reset if is_hard else potential - threshold
                membrane[i] = after if potential >= threshold else potential


@njit(cache=True, parallel=True, error_model="numpy")
def _backward(
    gradients: tuple[Array, Array, Array],
    h: Array,
    constants: Constants,
    flags: tuple[bool, bool, bool],
    surrogate: tuple[int, float],
) -> None:
    """From gradients of spikes (T, n) and last membrane (n,) to those of current (T, n) and, in place, first membrane."""
    grad_s, grad_v, grad_x = gradients
    is_hard, detach_reset, detach_membrane = flags
    kind, alpha = surrogate[0], np.float32(surrogate[1])
    n_bins, n = h.shape
    leak = np.float32(0.0) if detach_membrane else np.float32(constants[0])
    gain, threshold, reset = np.float32(constants[1]), np.float32(constants[2]), np.float32(constants[3])
    for block in prange((n + _BLOCK - 1) // _BLOCK):
        start = block * _BLOCK
        stop = min(n, start + _BLOCK)
        carried = grad_v[start:stop]
        for back in range(n_bins):
            t = n_bins - 1 - back
            potentials, upstream, out = h[t, start:stop], grad_s[t, start:stop], grad_x[t, start:stop]
            for i in range(stop - start):
                potential = potentials[i]
                slope = _slope(potential - threshold, kind, alpha)
                through = np.float32(0.0) if is_hard and potential >= threshold else np.float32(1.0)
                if not detach_reset:
                    through += (reset - potential if is_hard else -threshold) * slope
                grad_h = upstream[i] * slope + carried[i] * through
                out[i] = grad_h * gain
                carried[i] = grad_h * leak


def _constants(parameters: LIFParameters) -> Constants:
    leak = 1.0 - 1.0 / parameters.tau
    gain = 1.0 / parameters.tau if parameters.decay_input else 1.0
    reset = 0.0 if parameters.v_reset is None else parameters.v_reset
    return leak, gain, parameters.v_threshold, reset


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, parameters: LIFParameters
    ) -> tuple[Tensor, Tensor]:  # torch's protocol for ctx has no type
        current = x.contiguous().view(x.shape[0], -1)
        membrane = v.clone().contiguous()
        needs_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        h = torch.empty_like(current) if needs_gradient else current[:0]
        s = torch.empty_like(current)
        flat = membrane.view(-1).numpy()
        _forward(current.numpy(), flat, _constants(parameters), parameters.v_reset is not None, h.numpy(), s.numpy())
        ctx.save_for_backward(h)
        ctx.parameters, ctx.shape = parameters, x.shape
        return s.view(x.shape), membrane

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, None]:
        (h,) = ctx.saved_tensors
        parameters: LIFParameters = ctx.parameters
        grad_s = grad_outputs[0].contiguous().view(h.shape)
        grad_v = grad_outputs[1].clone().contiguous()
        grad_x = torch.empty_like(h)
        gradients = (grad_s.numpy(), grad_v.view(-1).numpy(), grad_x.numpy())
        flags = (parameters.v_reset is not None, parameters.detach_reset, parameters.detach_membrane)
        surrogate = (_SURROGATES[parameters.surrogate], parameters.alpha)
        _backward(gradients, h.numpy(), _constants(parameters), flags, surrogate)
        return grad_x.view(ctx.shape), grad_v, None


def lif(x: Tensor, v: Tensor | None, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """Twin of `models.functional.lif`: `x` float32 (T, ...) on the CPU, `v` (...) or None, to (spikes, membrane)."""
    membrane = torch.zeros_like(x[0]) if v is None else v
    return _LIF.apply(x, membrane, parameters)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves apply untyped
