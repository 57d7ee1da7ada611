"""Binary layers (BESTformer): convolutions whose weights are -1 or +1, learned through real ones that stand behind them."""

from typing import Any

import torch
from torch import Tensor, nn


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return torch.where(x >= 0.0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(_: Any, *grad_outputs: Any) -> Tensor:
        return grad_outputs[0]  # type: ignore[no-any-return]  # torch leaves backward untyped


def binary_weight(weight: Tensor) -> Tensor:
    """-1 or +1 for each of `weight` (out, ...): the sign of what is left when the mean of its output channel is taken away.

    Backward: the sign passes gradients as they are, the scaling of each output channel to mean 0 and deviation 1 does not.
    """
    axes = tuple(range(1, weight.dim()))
    centred = weight - weight.mean(dim=axes, keepdim=True)
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return _Sign.forward(None, centred)
    return _Sign.apply(centred / weight.std(dim=axes, keepdim=True))  # type: ignore[no-any-return, no-untyped-call]  # torch leaves apply untyped


class BinaryConvolution(nn.Conv2d):
    """Convolution with one bit for each weight and no scale: a batch norm follows and has one.

    Without gradients, the bits of weights that did not change are kept from call to call.
    """

    _kept: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`, with the binary of its weights."""
        out: Tensor = self._conv_forward(x, self._bits(), self.bias)
        return out

    def _bits(self) -> Tensor:
        weight = self.weight
        if weight.is_meta or weight.is_inference() or (weight.requires_grad and torch.is_grad_enabled()):
            return binary_weight(weight)
        changes = weight._version  # noqa: SLF001  # torch's own count of changes in place
        seen = (weight.device, weight.data_ptr(), weight.dtype, changes, torch.is_inference_mode_enabled())
        if self._kept is None or self._kept[0] != seen:
            self._kept = (seen, binary_weight(weight))
        return self._kept[1]


def n_binary_weights(network: nn.Module) -> int:
    """How many weights of `network` are one bit each."""
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, BinaryConvolution))


def stored_bytes(network: nn.Module) -> float:
    """Size of the parameters with one bit for a binary weight and 32 for every other."""
    bits = n_binary_weights(network)
    rest = sum(parameter.numel() for parameter in network.parameters()) - bits
    return bits / 8 + 4 * rest
