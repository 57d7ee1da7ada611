"""Batch norms folded into the convolutions before them: y = bn(conv(x)) becomes one convolution with a bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from models.engine.graph import Call, Graph, Value

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_CONVOLUTIONS = {"conv1d": 1, "conv2d": 2}
_EPSILON = 1e-5  # of torch's batch norms, where a call leaves it out

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution over (B, C, H, W), or over (B, C, N) taken as (B, C, 1, N), its batch norm folded in where it had one.

    `weight` (C', C / groups, ky, kx) and `bias` (C',) are float32. `raw` is the output of the convolution alone, `output`
    what follows here in its place. `origin` is where the layer's own weight lies: the same for the same layer.
    """

    x: Value
    weight: Tensor
    bias: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    n_groups: int
    raw: Value
    output: Value
    origin: int


def fold(graph: Graph) -> list[Call | Convolution]:
    """The calls of `graph` with convolutions written as such, batch norms within them where none else reads between."""
    uses = graph.uses()
    made_by: dict[Value, int] = {}
    folded: list[Call | Convolution] = []
    for call in graph.calls:
        step: Call | Convolution = call
        if call.name in _CONVOLUTIONS and call.layer is None:
            step = _convolution(call) or call
        elif call.name == "batch_norm":
            source = call.arguments[0]
            before = folded[made_by[source]] if source in made_by else None
            if isinstance(before, Convolution) and uses[source] == 1:
                merged = _with_norm(before, call)
                if merged is not None:
                    folded[made_by[source]] = merged
                    made_by[merged.output] = made_by[source]
                    continue
        folded.append(step)
        outputs = (step.output,) if isinstance(step, Convolution) else step.outputs
        made_by.update(dict.fromkeys(outputs, len(folded) - 1))
    return folded


def _named(names: tuple[str, ...], call: Call) -> dict[str, Any]:
    return {**dict(zip(names, call.arguments, strict=False)), **call.options}


def _convolution(call: Call) -> Convolution | None:
    """The convolution that `call` is; None where its weights are no constants, or it pads by a word."""
    named = _named(_CONVOLUTION, call)
    x, weight, bias = named["input"], named["weight"], named.get("bias")
    padding = named.get("padding", 0)
    if isinstance(weight, Value) or isinstance(bias, Value) or isinstance(padding, str) or not isinstance(x, Value):
        return None
    n_axes = _CONVOLUTIONS[call.name]
    weight = weight.detach().float()
    return Convolution(
        x=x,
        weight=weight.unsqueeze(2) if n_axes == 1 else weight,
        bias=weight.new_zeros(len(weight)) if bias is None else bias.detach().float(),
        stride=_pair(named.get("stride", 1), 1, n_axes),
        padding=_pair(padding, 0, n_axes),
        dilation=_pair(named.get("dilation", 1), 1, n_axes),
        n_groups=int(named.get("groups", 1)),
        raw=call.outputs[0],
        output=call.outputs[0],
        origin=named["weight"].data_ptr(),
    )


def _pair(given: int | tuple[int, ...], missing: int, n_axes: int) -> Pair:
    """Along y and x; `missing` along the y of a map that is one pixel high."""
    sizes = (given,) * n_axes if isinstance(given, int) else tuple(given)
    return (missing, sizes[0]) if n_axes == 1 else (sizes[0], sizes[1])


def _with_norm(convolution: Convolution, call: Call) -> Convolution | None:
    """The convolution followed by the batch norm of `call`; None where that one takes its statistics from the batch."""
    named = _named(_NORM, call)
    mean, variance = named["running_mean"], named["running_var"]
    if named.get("training") or mean is None or variance is None or isinstance(mean, Value):
        return None
    weight, bias = named.get("weight"), named.get("bias")
    # in float64, so that folding adds no more than one rounding
    scale = (variance.detach().double() + named.get("eps", _EPSILON)).rsqrt()
    if weight is not None:
        scale = scale * weight.detach().double()
    shift = -mean.detach().double() * scale if bias is None else bias.detach().double() - mean.detach().double() * scale
    return replace(
        convolution,
        weight=(convolution.weight.double() * scale.view(-1, 1, 1, 1)).float(),
        bias=(convolution.bias.double() * scale + shift).float(),
        output=call.outputs[0],
    )
