"""What layers cost: dense multiply-accumulates, and the additions that the spikes which really flowed caused.

A layer says so itself, by a method `operations(inputs, output)`; convolutions and linear layers of torch are counted here.
A count of 2 costs two additions, as two spikes do. Batch norms are folded into the layer before, and cost nothing.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d

# Operations of one call of a layer, from the positional arguments of its forward and from its output.
Counter = Callable[[tuple[Any, ...], Tensor], "Operations"]


@dataclass(slots=True)
class Operations:
    """What a layer did: `sops` additions, `macs` multiply-accumulates as if every input were a number.

    `n_spikes` of `n_inputs` inputs came in (counts are several). `is_dense`: the layer sees numbers instead of spikes, and its
    multiply-accumulates are what it costs. `is_product`: it multiplies what flows in, and has no weights.
    """

    macs: int = 0
    sops: int = 0
    n_spikes: int = 0
    n_inputs: int = 0
    is_dense: bool = False
    is_product: bool = False

    @property
    def density(self) -> float:
        """Spikes an input, 0 to 1, above 1 where residuals or event counts add up; 0 for a layer that sees numbers."""
        return self.n_spikes / self.n_inputs if self.n_inputs else 0.0

    def add(self, other: "Operations") -> None:
        """Take in what the same layer did at another call."""
        self.macs += other.macs
        self.sops += other.sops
        self.n_spikes += other.n_spikes
        self.n_inputs += other.n_inputs
        self.is_dense |= other.is_dense
        self.is_product |= other.is_product


@runtime_checkable
class CountedLayer(Protocol):
    """A layer that says what one call of it cost."""

    def operations(self, inputs: tuple[Any, ...], output: Tensor) -> Operations:
        """Operations of the call that made `output` of `inputs`, the positional arguments of its `forward`."""
        ...


def total(spikes: Tensor) -> int:
    """Sum of spikes or counts of any shape, exact; 0 on the meta device, where there are none."""
    if spikes.is_meta:
        return 0
    # rows hold far fewer spikes than float32 counts exactly, the whole may not
    rows = spikes.sum(dim=-1, dtype=torch.promote_types(spikes.dtype, torch.float32))
    return round(rows.sum(dtype=torch.float64).item())


def counter_of(layer: nn.Module) -> Counter | None:
    """What tells the cost of a call of `layer` from its inputs and its output; None for a layer that costs nothing counted."""
    if isinstance(layer, CountedLayer):
        return layer.operations
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        return functools.partial(_convolution, layer)
    return functools.partial(_linear, layer) if isinstance(layer, nn.Linear) else None


def dense(layer: nn.Linear | Convolution, output: Tensor) -> Operations:
    """A call of a layer that sees numbers: real multiply-accumulates, no spikes."""
    if isinstance(layer, nn.Linear):
        return Operations(output.numel() * layer.in_features, is_dense=True)
    return Operations(output.numel() * _weights_of_an_output(layer), is_dense=True)


class NumberLinear(nn.Linear):
    """Linear layer that sees numbers instead of spikes (means, currents): charged by its multiply-accumulates."""

    def operations(self, _: tuple[Tensor], output: Tensor) -> Operations:
        """Multiply-accumulates alone."""
        return dense(self, output)


class NumberConvolution(nn.Conv2d):
    """Convolution that sees numbers instead of spikes (currents): charged by its multiply-accumulates."""

    def operations(self, _: tuple[Tensor], output: Tensor) -> Operations:
        """Multiply-accumulates alone."""
        return dense(self, output)


def _weights_of_an_output(layer: Convolution) -> int:
    kernel = 1
    for length in layer.kernel_size:
        kernel *= length
    return kernel * layer.in_channels // layer.groups


def _linear(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Operations:
    """Each spike costs an addition for each output."""
    x = inputs[0].detach()
    n_spikes = total(x)
    return Operations(output.numel() * layer.in_features, n_spikes * layer.out_features, n_spikes, x.numel())


def _convolution(layer: Convolution, inputs: tuple[Tensor], output: Tensor) -> Operations:
    """Input (B, C, ...): each spike costs an addition for each output place that it reaches, in each output channel."""
    x = inputs[0].detach()
    macs = output.numel() * _weights_of_an_output(layer)
    fan_out = layer.out_channels // layer.groups
    if x.is_meta:
        return Operations(macs, 0, 0, x.numel())
    if set(layer.kernel_size) == {1} and set(layer.stride) == {1}:
        n_spikes = total(x)
        return Operations(macs, n_spikes * fan_out, n_spikes, x.numel())
    places = x.sum(dim=(0, 1), dtype=torch.promote_types(x.dtype, torch.float32)).double()  # spikes of each place of the map
    additions = (places * _reach_of(layer, x)).sum()
    return Operations(macs, round(additions.item()) * fan_out, total(places), x.numel())


def _reach_of(layer: Convolution, x: Tensor) -> Tensor:
    """Output places that each input place feeds, shape of one map of `x`, float64: borders and strides feed fewer."""
    paddings = layer.padding
    assert not isinstance(paddings, str)  # the zoo pads by numbers
    axes = zip(x.shape[2:], layer.kernel_size, layer.stride, paddings, layer.dilation, strict=True)
    return _reach(tuple(axes), x.device)


def reach_of_map(axes: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Pairs of output and tap that touch each place of a map; an axis is length, kernel, stride, padding, dilation."""
    lines = [np.array(_reach_of_axis(*axis), np.int64) for axis in axes]
    return np.multiply.outer(lines[0], lines[1])


@functools.cache
def _reach(axes: tuple[tuple[int, int, int, int, int], ...], device: torch.device) -> Tensor:
    lines = [torch.tensor(_reach_of_axis(*axis), dtype=torch.float64, device=device) for axis in axes]
    return lines[0] if len(lines) == 1 else torch.outer(lines[0], lines[1])


def _reach_of_axis(length: int, kernel: int, stride: int, padding: int, dilation: int) -> list[int]:
    """Along one axis, how many pairs of an output and a tap of the kernel touch each of `length` inputs."""
    reach = [0] * length
    n_outputs = (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    for output in range(n_outputs):
        for tap in range(kernel):
            place = output * stride - padding + tap * dilation
            if 0 <= place < length:
                reach[place] += 1
    return reach
