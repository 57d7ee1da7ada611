"""The ground that a plan is laid out on: which tensor stands for which value, who fills it, and the steps so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.engine import sparse
from models.engine.graph import Call, NotCapturedError, Value
from models.engine.steps import Copy, Plain, Scan, Source, Step, flat
from models.operations import reach_of_map

# Functions of torch that can write their outcome where they are told.
_OUT: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "matmul": torch.matmul,
    "mean": torch.mean,
    "sum": torch.sum,
    "stack": torch.stack,
    "cat": torch.cat,
}
_ARITHMETIC = {"add", "sub", "mul", "div"}


class Ground:
    """Tensors by value, steps in their order, scans and sources by what they look at."""

    def __init__(self) -> None:
        self._tensors: dict[Value, Tensor] = {}
        self._steps: list[Step] = []
        self._sources: dict[int, Source] = {}
        self._scans: dict[tuple[Any, ...], Scan] = {}

    def _know(self, spikes: Tensor, source: Source) -> None:
        """Note who fills the memory of `spikes`."""
        self._sources[spikes.untyped_storage().data_ptr()] = source

    def _source_of(self, x: Tensor) -> Source | None:
        """Who fills all the memory that `x` looks at."""
        return self._sources.get(x.untyped_storage().data_ptr())

    def _plain(self, call: Call) -> None:
        """Run it once: a view is done with; the rest becomes a step, in the layout that torch chose."""
        arguments = tuple(self._resolve(argument) for argument in call.arguments)
        if call.name == "stack" and len(arguments[0]) == 1:  # of one tensor: only looked at differently
            dim = call.options.get("dim", arguments[1] if len(arguments) > 1 else 0)
            self._tensors[call.outputs[0]] = arguments[0][0].unsqueeze(dim)
            return
        options = {key: self._resolve(value) for key, value in call.options.items()}
        with torch.no_grad():
            given = call.function(*arguments, **options)
        outputs = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        outputs = tuple(tensor for tensor in outputs if isinstance(tensor, Tensor))
        homes = {self._tensors[value].untyped_storage().data_ptr() for value in call.inputs()}
        if all(tensor.untyped_storage().data_ptr() in homes for tensor in outputs):
            self._tensors.update(zip(call.outputs, outputs, strict=True))
            return
        if len(outputs) != 1:
            raise NotCapturedError(f"{call.name} gives several tensors")
        function = _OUT.get(call.name, call.function)
        if call.name in _ARITHMETIC:  # torch would make a tensor of a number in every bin
            arguments = tuple(torch.tensor(a, dtype=outputs[0].dtype) if isinstance(a, float) else a for a in arguments)
        out = outputs[0].clone(memory_format=torch.preserve_format)
        self._steps.append(Plain(function, arguments, options, out, _can_write(function, arguments, options, out)))
        self._tensors[call.outputs[0]] = out

    def _resolve(self, argument: Any) -> Any:
        if isinstance(argument, Value):
            return self._tensors[argument]
        if isinstance(argument, (tuple, list)):
            return type(argument)(self._resolve(item) for item in argument)
        return argument

    def _channels_last(self, x: Tensor) -> Tensor:
        """`x` (B, C, H, W) itself where its channels lie last, else a copy that a step fills."""
        if x.permute(0, 2, 3, 1).is_contiguous() and x.dtype is torch.float32:
            return x
        B, C, H, W = x.shape
        ordered = torch.empty(B, H, W, C).permute(0, 3, 1, 2)
        self._steps.append(Copy(x, ordered))
        return ordered

    def _scan(self, x: Tensor, geometry: sparse.Geometry) -> Scan:
        """The scan of a map for convolutions of this kernel; convolutions of the same kind share it."""
        key = (x.data_ptr(), x.shape, geometry[0].tobytes(), geometry[2:6].tobytes())
        if key not in self._scans:
            B, C, H, W = x.shape
            axes = geometry[[0, 2, 3, 4, 5]].T.tolist()  # length, kernel, stride, padding, dilation along y and along x
            lists = sparse.Lists(
                np.zeros((B * H, W + 1), np.int64), np.zeros(B * C * H * W, np.int32), np.zeros(B * C * H * W, np.float32)
            )
            self._scans[key] = Scan(flat(x), reach_of_map(axes), lists, self._source_of(x))
            self._steps.append(self._scans[key])
        return self._scans[key]

    def _look(self, path: list[Call], tensor: Tensor) -> Tensor:
        """`tensor` as the calls of `path`, one behind the other, look at it."""
        for call in path:
            others = tuple(self._resolve(argument) for argument in call.arguments[1:])
            tensor = call.function(tensor, *others, **{key: self._resolve(value) for key, value in call.options.items()})
        return tensor


def _can_write(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], out: Tensor) -> bool:
    try:
        with torch.no_grad():
            function(*arguments, **options, out=out)
    except (TypeError, RuntimeError):
        return False
    return True
