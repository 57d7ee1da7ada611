"""A network compiled for streams on a CPU: one bin in, logits out, membranes kept in place, no memory asked for in a bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.engine.graph import Graph, Mark, NotCapturedError, capture
from models.engine.plan import Memories, Plan, Planner
from models.neuron import State
from models.operations import Operations

# Logits of the compiled network may differ by so much from the plain one's when it is tried.
TOLERANCE = 1e-3
_N_TRIALS = 3
# What torch and Python raise where a network of somebody's own does what no plan foresees; it then runs plainly.
UNFORESEEN = (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError)


class CompiledNetwork:
    """Plans of a network's first bin and of every other; `n_streams` streams go side by side.

    `step` overwrites what it gave before. Made by `compile_network`.
    """

    def __init__(self, graphs: list[Graph]) -> None:
        self._memories = Memories()
        self._graphs = graphs
        self._plans = [Planner(graph, self._memories).plan() for graph in graphs]
        self._frames: list[npt.NDArray[np.float32]] = [plan.frame.numpy() for plan in self._plans]
        self._is_fresh = True
        self._current = 0
        self.n_threads = 1

    @property
    def plans(self) -> list[Plan]:
        """The plan of the first bin and, where it is another, that of all later ones."""
        return self._plans

    @property
    def plan(self) -> Plan:
        """The plan of the bin that was taken last."""
        return self._plans[self._current]

    def step(self, counts: npt.NDArray[np.uint8]) -> Tensor:
        """Logits (B, K) after the next bin, event counts (B, 2, H, W)."""
        self._current = 0 if self._is_fresh else len(self._plans) - 1
        self._is_fresh = False
        np.copyto(self._frames[self._current], counts, casting="unsafe")  # counts are small whole numbers
        self.plan.arrival.n_spikes = int(counts.any())
        n_threads = self.n_threads
        with torch.inference_mode():
            for step in self._plans[self._current].steps:
                step.run(n_threads)
        return self._plans[self._current].logits

    def reset(self) -> None:
        """Put all membranes at rest; the next bin is a first one."""
        for membrane in self._memories.membranes.values():
            membrane.zero_()
        self._is_fresh = True

    def state(self) -> dict[str, Tensor]:
        """A copy of what is remembered, as `network.step` gives it."""
        return {key: value.clone() for key, value in self._memories.states.items()}

    def operations(self) -> dict[str, Operations]:
        """What each counted layer did in the last bin, by name."""
        layers: dict[str, Operations] = {}
        for mark in self._graphs[self._current].marks:
            layers.setdefault(mark.name, Operations()).add(self._operations_of(mark))
        return layers

    def _operations_of(self, mark: Mark) -> Operations:
        plan, seen = self.plan, mark.seen
        if seen.is_dense and not seen.n_inputs:
            return seen
        if mark.name in plan.scans:
            scan, fan_out = plan.scans[mark.name]
            counted = seen.macs, round(scan.additions) * fan_out, round(scan.n_spikes), seen.n_inputs
        elif mark.name in plan.products:
            n_q, n_k, n_v, query_key, key_value = plan.products[mark.name].counts.tolist()
            sops = query_key if plan.products[mark.name].is_query_key else key_value
            counted = seen.macs, round(sops), round(n_q + n_k + n_v), seen.n_inputs
        else:
            inputs = tuple(plan.values.get(value, value) for value in mark.inputs)
            found = mark.counter(inputs, plan.values[mark.output])
            counted = found.macs, found.sops, found.n_spikes, found.n_inputs
        return Operations(*counted, is_dense=seen.is_dense, is_product=seen.is_product)


def compile_network(network: nn.Module, n_streams: int = 1) -> CompiledNetwork:
    """Compile `network` for `n_streams` streams. NotCapturedError says why where that cannot be."""
    parameters = list(network.parameters())
    if any(p.dtype != torch.float32 for p in parameters):
        raise NotCapturedError("its weights are not float32")
    if any(p.device.type != "cpu" for p in parameters):
        raise NotCapturedError("its weights are not on the CPU")
    if network.training:
        raise NotCapturedError("it is in training")
    frames = trial_frames(network, n_streams)
    graphs = write_down(network, frames)
    try:
        compiled = CompiledNetwork(graphs)
        _try(compiled, network, frames)
    except UNFORESEEN as error:
        raise NotCapturedError(f"its step cannot be laid out ({type(error).__name__}: {error})") from error
    for graph in graphs:
        graph.forget()
    return compiled


def write_down(network: nn.Module, frames: Tensor) -> list[Graph]:
    """The graph of the first bin and, where it is another, that of all later ones, watched on `frames` (3, B, 2, H, W)."""
    first, state = capture(network, frames[0], None)
    if not (first.new or first.fixed):
        return [first]
    _, state = capture(network, frames[1], state)  # some neurons begin at the second bin, which finds them at rest
    later, after = capture(network, frames[2], state)
    if _layout(after) != _layout(state):
        raise NotCapturedError("what it remembers grows from bin to bin")
    return [first, later]


def trial_frames(network: nn.Module, n_streams: int) -> Tensor:
    """Seeded event counts (T, B, 2, H, W) to watch and to try the network with."""
    configuration: Any = network.configuration
    width, height = configuration.size
    rate = torch.full((_N_TRIALS, n_streams, configuration.in_channels, height, width), 0.3)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(0))


def _layout(state: State) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {key: (value.shape, value.dtype) for key, value in state.items()}


def _try(compiled: CompiledNetwork, network: nn.Module, frames: Tensor) -> None:
    """Hold the first bins against the plain network: what cannot answer alike is not used."""
    state: State | None = None
    for frame in frames:
        with torch.inference_mode():
            wanted, state = network.step(frame, state)  # type: ignore[operator]  # every network of the zoo has step
        found = compiled.step(frame.to(torch.uint8).numpy())
        error = (found - wanted).abs().max().item()
        if not error <= TOLERANCE * max(1.0, wanted.abs().max().item()):
            raise NotCapturedError(f"compiled, its answers differ by {error:.2g}")
    compiled.reset()
