"""A network's step written down as a list of calls on named values, by running it once and watching.

Shapes, weights and Python's own control flow become constants; what depends on the frame or on the state stays a value. Neurons
and products of spikes are kept whole. A step that looks at values to decide what to do cannot be written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.neuron import LIF, PLIF, SFA, Memory, State
from models.operations import Counter, Operations, counter_of
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import SpikingProduct

_NEURONS = (LIF, PLIF, SFA)
_PRODUCTS = (SpikingProduct, KeyValueProduct)
# Functions that give Python a value of a tensor; shapes, types and places are not among them.
_LOOKS = {"item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "__contains__", "nonzero", "__array__"}


class NotCapturedError(Exception):
    """A network's step cannot be written down; the text says why, in words that follow "runs plainly:"."""


@dataclass(frozen=True, slots=True)
class Value:
    """Stands for a tensor that depends on the frame or the state."""

    index: int


@dataclass(slots=True)
class Call:
    """`function(*arguments, **options)` gives `outputs`; `layer` where a whole neuron or product is meant."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    outputs: tuple[Value, ...]
    layer: nn.Module | None = None

    @property
    def name(self) -> str:
        """The function's own name."""
        return str(getattr(self.function, "__name__", ""))

    def inputs(self) -> Iterator[Value]:
        """Values that this call reads."""
        for argument in (*self.arguments, *self.options.values()):
            yield from _values(argument)


@dataclass(frozen=True, slots=True)
class Mark:
    """A counted layer: what it saw and what it gave, and what it cost when it was watched."""

    name: str
    counter: Counter
    inputs: tuple[Any, ...]
    output: Any
    seen: Operations


@dataclass(slots=True)
class Graph:
    """One step: `frame` and the values of `old` in; `logits`, `new` and `fixed` out. `tensors` are the watched run's.

    `neurons` are the spikes of each layer by its name; `membranes` the keys of states that belong to a layer alone.
    """

    frame: Value
    old: dict[str, Value]
    logits: Value | None = None
    new: dict[str, Value] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    fixed: dict[str, Tensor] = field(default_factory=dict)
    neurons: dict[str, Value] = field(default_factory=dict)
    membranes: set[str] = field(default_factory=set)
    tensors: dict[Value, Tensor] = field(default_factory=dict)

    def forget(self) -> None:
        """Let go of the tensors of the watched run."""
        self.tensors.clear()

    def uses(self) -> dict[Value, int]:
        """How often each value is read by a call, kept as state, or given as the answer."""
        counts = dict.fromkeys(self.tensors, 0)
        for call in self.calls:
            for value in call.inputs():
                counts[value] += 1
        for kept in (*self.new.values(), self.logits):
            if kept is not None:
                counts[kept] += 1
        return counts


def capture(network: nn.Module, frame: Tensor, state: State | None) -> tuple[Graph, State]:
    """Write down `network.step(frame, state)`; the graph, and the state after it. NotCapturedError where that cannot be."""
    recorder = _Recorder(frame, state)
    with torch.no_grad(), _watched(network, recorder), recorder:
        logits, new = network.step(frame, state)  # type: ignore[operator]  # every network of the zoo has step
    return recorder.finish(logits, new), new


class _Recorder(TorchFunctionMode):
    """Notes every torch function that is called on a tensor which depends on the frame or the state."""

    def __init__(self, frame: Tensor, state: State | None) -> None:
        super().__init__()
        self._known: dict[int, Value] = {}
        self._paused = False
        self.graph = Graph(Value(0), {})
        self._keep(frame)
        self.graph.old = {key: self._keep(value) for key, value in (state or {}).items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function, and note it where its outcome depends on the frame or the state."""
        options = dict(kwargs or {})
        if self._paused:
            return func(*args, **options)
        if getattr(func, "__name__", "") == "__iter__" and self._known.get(id(args[0])):
            return iter(torch.Tensor.unbind(args[0], 0))
        arguments, named = self._replace(args), {key: self._replace(value) for key, value in options.items()}
        touched = [value for argument in (arguments, *named.values()) for value in _values(argument)]
        versions = [self.graph.tensors[value]._version for value in touched]  # noqa: SLF001  # torch's only way to ask
        out = func(*args, **options)
        if not touched:
            return out
        name = getattr(func, "__name__", str(func))
        if name in _LOOKS:
            raise NotCapturedError(f"it decides by values ({name})")
        if versions != [self.graph.tensors[value]._version for value in touched]:  # noqa: SLF001
            raise NotCapturedError(f"it writes into what it computed ({name})")
        tensors = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, Tensor)]
        if tensors and not all(id(t) in self._known for t in tensors):
            self._note(func, arguments, named, tensors)
        return out

    def keep_layer(self, layer: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Tensor]) -> Tensor:
        """Run a layer unwatched, and note it as one call."""
        arguments = self._replace(inputs)
        if not any(True for _ in _values(arguments)):
            raise NotCapturedError("a layer of neurons sees no value of the frame")
        self._paused = True
        out = run()
        self._paused = False
        self._note(partial(type(layer).forward, layer), arguments, {}, [out], layer)
        return out

    def mark(self, name: str, counter: Counter, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Note what a counted layer saw and gave."""
        self._paused = True
        seen = counter(inputs, output)
        self._paused = False
        seen.is_dense |= not self.graph.marks  # the first layer sees event counts
        self.graph.marks.append(Mark(name, counter, self._replace(inputs), self._replace(output), seen))

    def value_of(self, tensor: Tensor) -> Value | None:
        """What stands for `tensor`; None for a constant."""
        return self._known.get(id(tensor))

    def finish(self, logits: Tensor, new: State) -> Graph:
        """The graph, once the step is over."""
        self.graph.logits = self.value_of(logits)
        if self.graph.logits is None:
            raise NotCapturedError("its answer does not depend on the frame")
        for key, tensor in new.items():
            value = self.value_of(tensor)
            if value is not None:
                self.graph.new[key] = value
            elif key not in self.graph.membranes:
                self.graph.fixed[key] = tensor
        return self.graph

    def _note(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        tensors: list[Tensor],
        layer: nn.Module | None = None,
    ) -> None:
        self.graph.calls.append(Call(function, arguments, options, tuple(self._keep(t) for t in tensors), layer))

    def _keep(self, tensor: Tensor) -> Value:
        value = Value(len(self.graph.tensors))
        self._known[id(tensor)] = value
        self.graph.tensors[value] = tensor  # held, so that no other tensor gets its id
        return value

    def _replace(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self._known.get(id(argument), argument)
        if isinstance(argument, (tuple, list)):
            replaced = [self._replace(item) for item in argument]
            return tuple(replaced) if isinstance(argument, tuple) else replaced
        return argument


@contextmanager
def _watched(network: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Let neurons, products and counted layers tell the recorder when they are called."""
    hooks, replaced = [], []
    for name, layer in network.named_modules():
        counter = counter_of(layer)
        if type(layer) in _NEURONS:
            layer.forward = _whole_neuron(name, layer, recorder)
            replaced.append(layer)
        elif type(layer) in _PRODUCTS:
            layer.forward = _whole_product(layer, recorder)
            replaced.append(layer)
        if counter is not None:
            hooks.append(layer.register_forward_hook(_marker(name, counter, recorder)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in replaced:
            del layer.forward


def _whole_neuron(name: str, layer: LIF, recorder: _Recorder) -> Callable[..., Tensor]:
    plain = layer.forward

    def forward(x: Tensor, memory: Memory) -> Tensor:
        old = memory.old.get(layer.key)
        if name in recorder.graph.neurons or x.shape[0] != 1:
            raise NotCapturedError(f"neurons of {name} are asked more than once in a bin")
        if old is not None and recorder.value_of(old) != recorder.graph.old.get(layer.key):
            raise NotCapturedError(f"membranes of {name} are changed before they are used")
        spikes = recorder.keep_layer(layer, (x,), lambda: plain(x, memory))
        value = recorder.value_of(spikes)
        assert value is not None  # it was just kept
        recorder.graph.neurons[name] = value
        recorder.graph.membranes.add(layer.key)
        return spikes

    return forward


def _whole_product(layer: nn.Module, recorder: _Recorder) -> Callable[..., Tensor]:
    plain = layer.forward

    def forward(*inputs: Tensor) -> Tensor:
        return recorder.keep_layer(layer, inputs, lambda: plain(*inputs))

    return forward


def _marker(name: str, counter: Counter, recorder: _Recorder) -> Callable[..., None]:
    def mark(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        recorder.mark(name, counter, inputs, output)

    return mark


def _values(argument: Any) -> Iterator[Value]:
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for item in argument:
            yield from _values(item)
