"""One bin of a written-down network as calls on tensors of one device, fit to be recorded: nothing in it waits for a value.

Batch norms are folded, membranes change in place through the LIF kernel, which also adds the bias of the convolution before it.
Knows no CUDA: what records it is `models.engine.cuda_graph`, and on a CPU it runs as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from models import functional
from models.engine.folding import Convolution, fold
from models.engine.graph import Call, Graph, NotCapturedError, Value
from models.engine.plan import RESHAPES, Memories
from models.engine.steps import is_filled
from models.functional import LIFParameters
from models.kernels import operators
from models.kernels.affine import Affine
from models.neuron import LIF, PLIF, SFA
from models.operations import Operations

# In what convolutions multiply; neurons and all else stay in float32. tf32 is float32 with weights of ten bits, on a GPU.
Precision = Literal["float32", "tf32", "bfloat16"]


class _Weights(NamedTuple):
    """Of a convolution, in the type in which it multiplies; `ones` (C',) float32."""

    weight: Tensor
    bias: Tensor
    ones: Tensor


class _Currents(NamedTuple):
    """What neurons get from the convolution before them: where it lies, and the bias that is still to be added."""

    address: int
    affine: Affine


class Program:
    """The bin of one `graph`; `memories` are shared by all programs of a network and filled at the first run.

    With `keeps_values`, `values` has all tensors of the last run, to be counted afterwards.
    """

    def __init__(
        self, graph: Graph, memories: Memories, precision: Precision = "float32", *, keeps_values: bool = False
    ) -> None:
        self.values: dict[Value, Tensor] = {}
        self._graph, self._memories, self._precision = graph, memories, precision
        self._calls = fold(graph)
        self._behind = _neurons_behind(graph, self._calls)
        self._currents: dict[int, _Currents] = {}
        self._olds = {
            value: memories.other(key, graph.tensors[value]) for key, value in graph.old.items() if key not in graph.membranes
        }
        self._parameters = {call.layer.key: _parameters_of(call.layer) for call in graph.calls if isinstance(call.layer, LIF)}
        self._weights = {id(c): _weights_of(c, precision) for c in self._calls if isinstance(c, Convolution)}
        self._keeps_values = keeps_values
        self._done_with = {} if keeps_values else _done_with(graph, self._calls)

    @property
    def n_calls(self) -> int:
        """Of how many calls a bin is made."""
        return len(self._calls)

    def run(self, frame: Tensor) -> Tensor:
        """Logits (S, K) after the bin of counts `frame` (S, 2, H, W) of any type; what is remembered changes in place."""
        values = self.values
        values[self._graph.frame] = frame.float().contiguous(memory_format=torch.channels_last)
        values.update(self._olds)
        with multiplying_in(self._precision, frame.device):
            for i, call in enumerate(self._calls):
                if isinstance(call, Convolution):
                    self._convolve(call)
                elif isinstance(call.layer, LIF):
                    values[call.outputs[0]] = self._fire(call, call.layer, values[call.arguments[0]])
                else:
                    self._call(call)
                for value in self._done_with.get(i, ()):
                    values.pop(value, None)
        self._remember()
        assert self._graph.logits is not None  # a graph without an answer is not finished
        return values[self._graph.logits].float()

    def operations(self) -> dict[str, Operations]:
        """What each counted layer did in the last run, by name; only where values are kept. Waits for the device."""
        layers: dict[str, Operations] = {}
        for mark in self._graph.marks:
            seen = mark.seen
            if not (seen.is_dense and not seen.n_inputs):
                inputs = tuple(self.values.get(value, value) for value in mark.inputs)
                found = mark.counter(inputs, self.values[mark.output])
                seen = replace(found, is_dense=seen.is_dense)
            layers.setdefault(mark.name, Operations()).add(seen)
        return layers

    def spikes(self) -> dict[str, Tensor]:
        """Spikes (1, S, ...) of each layer in the last run, in the order in which they fire; where values are kept."""
        return {name: self.values[value] for name, value in self._graph.neurons.items()}

    def _convolve(self, call: Convolution) -> None:
        x = self.values[call.x]
        is_line = x.dim() == 3
        weights, neurons = self._weights[id(call)], self._behind.get(id(call))
        y = torch.conv2d(
            (x.unsqueeze(2) if is_line else x).to(weights.weight.dtype),
            weights.weight,
            weights.bias if neurons is None else None,
            call.stride,
            call.padding,
            call.dilation,
            call.n_groups,
        )
        if neurons is None:
            y = y.float()
        else:
            # a stride of an axis of length one means nothing
            affine = Affine(weights.ones, call.bias, y.stride(1) if y.shape[1] > 1 else 1)
            self._currents[neurons] = _Currents(y.untyped_storage().data_ptr(), affine)
        self.values[call.output] = y.squeeze(2) if is_line else y
        if self._keeps_values:
            self.values[call.raw] = self.values[call.output]  # only its size is asked for

    def _fire(self, call: Call, layer: LIF, x: Tensor) -> Tensor:
        """Spikes float32 of currents `x` (1, S, ...), the membranes changed in place."""
        affine = None
        if (currents := self._currents.get(id(call))) is not None:
            affine = currents.affine
            if x.untyped_storage().data_ptr() != currents.address:
                raise NotCapturedError("currents are put into another order between a convolution and its neurons")
        elif not is_filled(x):
            x = x.contiguous()
        v = self._memories.membrane(layer.key, x)
        self._memories.states[layer.key] = v[0]
        if type(layer) is SFA or not _has_kernel(x):
            spikes, after = _plain_step(layer, x.float() if affine is None else _biased(x, affine), v)
            v.copy_(after)
            return spikes
        spikes = torch.empty_strided(x.shape, x.stride(), device=x.device)
        operators.lif_step_(_items(x), _items(v), _items(spikes), self._parameters[layer.key], affine)
        return spikes

    def _call(self, call: Call) -> None:
        arguments = tuple(self._resolve(argument) for argument in call.arguments)
        given = call.function(*arguments, **{key: self._resolve(value) for key, value in call.options.items()})
        outputs = given if isinstance(given, (tuple, list)) else (given,)
        self.values.update(zip(call.outputs, (out for out in outputs if isinstance(out, Tensor)), strict=True))

    def _remember(self) -> None:
        """What else is remembered goes to its place when all is done, for the bin may have read it until then."""
        for key, value in self._graph.new.items():
            self._memories.other(key, self.values[value]).copy_(self.values[value])
        for key, fixed in self._graph.fixed.items():
            self._memories.other(key, fixed).copy_(fixed)

    def _resolve(self, argument: Any) -> Any:
        if isinstance(argument, Value):
            return self.values[argument]
        if isinstance(argument, (tuple, list)):
            return type(argument)(self._resolve(item) for item in argument)
        return argument


def _weights_of(call: Convolution, precision: Precision) -> _Weights:
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    weight = call.weight.to(dtype).contiguous(memory_format=torch.channels_last)
    return _Weights(weight, call.bias.to(dtype), torch.ones_like(call.bias))


def _parameters_of(layer: LIF) -> LIFParameters:
    """Constants of a layer of neurons, a learned leak worked out."""
    if isinstance(layer, PLIF):
        return replace(layer.parameters_, tau=1.0 / torch.sigmoid(layer.w.detach().float()).item())
    return layer.parameters_


def _plain_step(layer: LIF, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and membranes after, by the plain functions."""
    if type(layer) is SFA:
        return functional.sfa_step(x, v, layer.parameters_)
    if isinstance(layer, PLIF):
        return functional.plif_step(x, v, layer.w.detach().float(), layer.parameters_)
    return functional.lif_step(x, v, layer.parameters_)


def _neurons_behind(graph: Graph, calls: Sequence[Call | Convolution]) -> dict[int, int]:
    """By the id of a convolution, that of the call of its neurons: where nobody else sees its currents."""
    uses = graph.uses()
    readers = {value: call for call in graph.calls for value in call.inputs()}
    found = {}
    for convolution in calls:
        if not isinstance(convolution, Convolution):
            continue
        value = convolution.output
        while uses[value] == 1 and value in readers:
            reader = readers[value]
            if isinstance(reader.layer, LIF):
                found[id(convolution)] = id(reader)
                break
            if reader.layer is not None or reader.name not in RESHAPES or reader.arguments[0] != value:
                break
            value = reader.outputs[0]
    return found


def _done_with(graph: Graph, calls: Sequence[Call | Convolution]) -> dict[int, list[Value]]:
    """After which call which values are read no more; the answer and what is remembered are kept."""
    last: dict[Value, int] = {}
    for i, call in enumerate(calls):
        inputs = (call.x,) if isinstance(call, Convolution) else call.inputs()
        last.update(dict.fromkeys(inputs, i))
    kept = {graph.logits, *graph.new.values()}
    done: dict[int, list[Value]] = {}
    for value, i in last.items():
        if value not in kept:
            done.setdefault(i, []).append(value)
    return done


def _has_kernel(x: Tensor) -> bool:
    return x.device.type == "cpu" or operators.has_gpu_kernels()


def _items(tensor: Tensor) -> Tensor:
    """The items (n,) of a tensor that fills its memory, in the order in which they lie there."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _biased(x: Tensor, affine: Affine) -> Tensor:
    """Currents float32 with the bias of their channels, laid out as `x`."""
    items = _items(x).view(-1, affine.shift.numel(), affine.inner) + affine.shift.view(-1, 1)
    return items.as_strided(x.shape, x.stride())


@contextmanager
def multiplying_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let a GPU's convolutions round float32 to ten bits only where that is asked for, and try which way is the quickest."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=precision == "tf32"):
        yield
