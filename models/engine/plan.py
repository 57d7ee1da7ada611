"""From a network's graph to a plan: steps on tensors that stay where they are, with everything constant worked out beforehand.

Maps lie channels last. What only looks at a tensor differently (views) is worked out once and costs nothing in a bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.engine import sparse
from models.engine.folding import Convolution, fold
from models.engine.graph import Call, Graph, NotCapturedError, Value
from models.engine.layout import Ground
from models.engine.steps import (
    Arrival,
    Convolve,
    Copy,
    Dense,
    Fire,
    Multiply,
    Pool,
    Scan,
    Step,
    constants_of,
    flat,
    geometry_of,
    is_filled,
)
from models.neuron import LIF
from models.zoo.spikformer import SpikingProduct

_POOL = ("input", "kernel_size", "stride", "padding", "dilation")
# What stands between a convolution and its neurons without changing the order of its items.
RESHAPES = {"view", "view_as", "flatten", "unflatten", "unsqueeze", "squeeze", "reshape"}


@dataclass(slots=True)
class Memories:
    """What all plans of a network share: membranes and other tensors kept from bin to bin, by key; weights, by their origin.

    `states` are both kinds as the network's own state has them.
    """

    membranes: dict[str, Tensor] = field(default_factory=dict)
    others: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[int, sparse.Weights] = field(default_factory=dict)
    states: dict[str, Tensor] = field(default_factory=dict)

    def membrane(self, key: str, like: Tensor) -> Tensor:
        """The membranes of `key`, shaped and laid out as `like`, at rest when they are new."""
        found = self.membranes.get(key)
        if found is None:
            found = self.membranes[key] = torch.empty_strided(like.shape, like.stride(), device=like.device).zero_()
        if found.shape != like.shape or found.stride() != like.stride():
            raise NotCapturedError(f"membranes of {key} change their shape from bin to bin")
        return found

    def other(self, key: str, like: Tensor) -> Tensor:
        """The tensor kept as `key`, of the shape of `like`."""
        found = self.others.get(key)
        if found is None:
            found = self.others[key] = self.states[key] = torch.zeros_like(like)
        if found.shape != like.shape or found.dtype != like.dtype:
            raise NotCapturedError(f"what it remembers as {key} changes its shape from bin to bin")
        return found


@dataclass(slots=True)
class Plan:
    """Steps of one bin; where its frame goes in and its logits come out; spikes and what was counted, by layer."""

    steps: list[Step]
    frame: Tensor
    arrival: Arrival
    logits: Tensor
    spikes: dict[str, Tensor]
    firing: dict[str, Convolve | Fire]
    scans: dict[str, tuple[Scan, int]]
    products: dict[str, Multiply]
    values: dict[Value, Tensor]


class Planner(Ground):
    """Works out the plan of one graph; `memories` are shared by all plans of a network."""

    def __init__(self, graph: Graph, memories: Memories) -> None:
        super().__init__()
        self._graph, self._memories = graph, memories
        self._calls: Sequence[Call | Convolution] = fold(graph)
        self._uses = graph.uses()
        self._readers: dict[Value, Call] = {value: call for call in graph.calls for value in call.inputs()}
        self._fused: set[int] = set()
        self._convolved: dict[Value, Convolve] = {}
        self._multiplied: dict[Value, Multiply] = {}
        self._fired: dict[Value, Convolve | Fire] = {}

    def plan(self) -> Plan:
        """The plan; NotCapturedError where a part of the graph cannot be laid out."""
        graph = self._graph
        B, C, H, W = graph.tensors[graph.frame].shape
        self._tensors[graph.frame] = frame = torch.zeros(B, H, W, C).permute(0, 3, 1, 2)
        arrival = Arrival()
        self._know(frame, arrival)
        for key, value in graph.old.items():
            if key not in graph.membranes:
                self._tensors[value] = self._memories.other(key, graph.tensors[value])
        for call in self._calls:
            if isinstance(call, Convolution):
                self._convolve(call)
            elif id(call) not in self._fused:
                self._call(call)
        self._keep_state()
        assert graph.logits is not None  # a graph without an answer is not finished
        return Plan(
            steps=self._steps,
            frame=frame,
            arrival=arrival,
            logits=self._tensors[graph.logits],
            spikes={name: self._tensors[value] for name, value in graph.neurons.items()},
            firing={name: self._fired[value] for name, value in graph.neurons.items()},
            scans=self._counted_scans(),
            products={m.name: self._multiplied[m.output] for m in graph.marks if m.output in self._multiplied},
            values=self._tensors,
        )

    def _keep_state(self) -> None:
        """What else is remembered goes to its place when all is done, for the bin may have read it until then."""
        for key, value in self._graph.new.items():
            source = self._tensors[value]
            self._steps.append(Copy(source, self._memories.other(key, source)))
        for key, fixed in self._graph.fixed.items():
            self._steps.append(Copy(fixed, self._memories.other(key, fixed)))

    def _counted_scans(self) -> dict[str, tuple[Scan, int]]:
        """Of each marked convolution its scan, and how many outputs each place that a spike reaches has."""
        counted = {}
        for mark in self._graph.marks:
            convolve = self._convolved.get(mark.output)
            if convolve is not None:
                counted[mark.name] = (convolve.scan, int(convolve.geometry[6, 1]))
        return counted

    def _call(self, call: Call) -> None:
        if isinstance(call.layer, LIF):
            self._fire(call, call.layer)
        elif call.layer is not None and self._can_multiply(call):
            self._multiply(call)
        elif call.name == "max_pool2d" and self._pool(call):
            return
        else:
            self._plain(call)

    def _convolve(self, call: Convolution) -> None:
        """A convolution, with the neurons behind it where nobody else sees its currents."""
        x = self._tensors[call.x]
        x = x.unsqueeze(2) if x.dim() == 3 else x  # (B, C, 1, N)
        is_line = self._tensors[call.x].dim() == 3
        x = self._channels_last(x)
        shape = self._graph.tensors[call.raw].shape
        B, n_out = shape[:2]
        out_map = (1, shape[2]) if is_line else (shape[2], shape[3])
        currents = torch.empty(B, *out_map, n_out).permute(0, 3, 1, 2)
        n_in, n_groups = x.shape[1], call.n_groups
        if n_out * x.shape[3] * n_in * call.weight.shape[2] * call.weight.shape[3] >= np.iinfo(np.int32).max:
            raise NotCapturedError("a map is too large for its kernels")
        kernel = (call.weight.shape[2], call.weight.shape[3])
        spacing = (call.stride, call.padding, call.dilation)
        geometry = geometry_of((x.shape[2], x.shape[3]), out_map, kernel, spacing, (n_groups, n_out // n_groups))
        scan = self._scan(x, geometry)
        seen = currents.squeeze(2) if is_line else currents
        neurons = self._neurons_behind(call, seen)
        firing = sparse.Firing(np.empty(0, np.float32), flat(currents), np.zeros(6, np.float32))
        if neurons is not None:
            firing = self._fuse(neurons, seen)
        else:
            self._tensors[call.output] = seen
        dense = Dense(x, call, currents, flat(currents))
        weights = self._memories.weights.setdefault(call.origin, weights_of(call))
        step = Convolve(scan, weights, geometry, firing, dense)
        if neurons is not None:
            self._fired[neurons[-1].outputs[0]] = step
            self._know(self._tensors[neurons[-1].outputs[0]], step)
        self._convolved[call.raw] = step
        self._steps.append(step)

    def _neurons_behind(self, call: Convolution, seen: Tensor) -> list[Call] | None:
        """The calls from a convolution's output to its neurons, where all they do is to look at it differently."""
        path, value = [], call.output
        while self._uses[value] == 1 and value in self._readers:
            reader = self._readers[value]
            if isinstance(reader.layer, LIF):
                path.append(reader)
                return path if _is_same(self._look(path[:-1], seen), seen) else None
            if reader.layer is not None or reader.name not in RESHAPES or reader.arguments[0] != value:
                return None
            path.append(reader)
            value = reader.outputs[0]
        return None

    def _fuse(self, path: list[Call], seen: Tensor) -> sparse.Firing:
        """Neurons that take their currents straight from a convolution; the calls between are done with."""
        layer = path[-1].layer
        assert isinstance(layer, LIF)  # that is where the path ends
        self._fused.update(id(call) for call in path)
        spikes = torch.empty_strided(seen.shape, seen.stride()).zero_()
        self._tensors[path[-1].outputs[0]] = self._look(path[:-1], spikes)
        membrane = self._memories.membrane(layer.key, seen)
        self._memories.states[layer.key] = self._look(path[:-1], membrane)[0]
        return sparse.Firing(flat(membrane), flat(spikes), constants_of(layer))

    def _fire(self, call: Call, layer: LIF) -> None:
        x = self._tensors[call.arguments[0]]
        if not is_filled(x) or x.dtype is not torch.float32:
            ordered = torch.empty(x.shape)
            self._steps.append(Copy(x, ordered))
            x = ordered
        spikes = torch.empty_strided(x.shape, x.stride()).zero_()
        membrane = self._memories.membrane(layer.key, x)
        self._memories.states[layer.key] = membrane[0]
        step = Fire(flat(x), sparse.Firing(flat(membrane), flat(spikes), constants_of(layer)))
        self._steps.append(step)
        self._fired[call.outputs[0]] = step
        self._know(spikes, step)
        self._tensors[call.outputs[0]] = spikes

    def _pool(self, call: Call) -> bool:
        """A max-pool over a map whose channels lie last; False for any other."""
        named = {**dict(zip(_POOL, call.arguments, strict=False)), **call.options}
        x = self._tensors[named["input"]]
        window, stride, padding = (_both(named.get(name) or 0) for name in _POOL[1:4])
        plain = _both(named.get("dilation", 1)) == (1, 1) and not named.get("ceil_mode") and not named.get("return_indices")
        if not plain or x.dim() != 4 or not x.permute(0, 2, 3, 1).is_contiguous() or x.dtype is not torch.float32:
            return False
        B, C, H, W = self._graph.tensors[call.outputs[0]].shape
        out = torch.zeros(B, H, W, C).permute(0, 3, 1, 2)
        spacing = (stride if any(stride) else window, padding, (1, 1))
        geometry = geometry_of((x.shape[2], x.shape[3]), (H, W), window, spacing, (1, C))
        step = Pool(flat(x), flat(out), geometry, self._source_of(x))
        self._know(out, step)
        self._steps.append(step)
        self._tensors[call.outputs[0]] = out
        return True

    def _can_multiply(self, call: Call) -> bool:
        """Whether a product of spikes is of one bin and has queries, keys and values of one shape."""
        shapes = {self._tensors[value].shape for value in call.inputs()}
        return len(call.arguments) == 3 and len(shapes) == 1 and len(next(iter(shapes))) == 5 and next(iter(shapes))[0] == 1

    def _multiply(self, call: Call) -> None:
        q, k, v = (self._tensors[argument][0] for argument in call.arguments)
        B, n_heads, N, D = q.shape
        out = torch.zeros(B, N, n_heads, D).permute(0, 2, 1, 3)  # heads side by side, as the next layer reads them
        is_query_key = type(call.layer) is SpikingProduct and N <= D
        step = Multiply(q.numpy(), k.numpy(), v.numpy(), out.numpy(), np.zeros(5), is_query_key)
        self._steps.append(step)
        self._multiplied[call.outputs[0]] = step
        self._tensors[call.outputs[0]] = out.unsqueeze(0)


def weights_of(call: Convolution) -> sparse.Weights:
    """Weights and bias as `sparse.Weights` lays them out, where vectors find them aligned."""
    share = call.weight.shape[0] // call.n_groups
    grouped = call.weight.view(call.n_groups, share, *call.weight.shape[1:])  # (groups, C' / groups, C / groups, ky, kx)
    table = grouped.permute(3, 4, 0, 2, 1)  # (ky, kx, groups, C / groups, C' / groups)
    width = sparse.BLOCK if call.n_groups == 1 else share
    blocks = [block.flatten() for block in torch.split(table, width, dim=-1)]
    return sparse.Weights(torch.cat(blocks).numpy(), call.bias.contiguous().numpy())


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether `a` is all of `b`, looked at differently."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() and a.numel() == b.numel()


def _both(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
