"""Neuron layers: a name, frozen parameters, and a call to the pure step. What they remember goes in and comes out.

`Memory` carries the remembered tensors of one run: layers read the old value under their own key and leave the new one.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from models import functional
from models.functional import LIFParameters

State = Mapping[str, Tensor]
Backend = Literal["auto", "plain", "numba"]
Neuron = Literal["lif", "plif", "sfa"]

# Below this many neurons times bins, starting numba's threads costs more than the plain loop takes. A single bin has no loop to
# fuse, so a stream stays plain and never waits for numba to load.
_NUMBA_PAYS_FROM = 16_384

_forced: list[Backend] = ["auto"]


class Memory:
    """Membranes and histories of one run, by layer name: `old` as given, `new` as left behind."""

    def __init__(self, old: State | None) -> None:
        self.old: State = {} if old is None else old
        self.new: dict[str, Tensor] = {}


def force_backend(backend: Backend) -> None:
    """Choose the LIF implementation for this process: `auto` (numba on a GPU, and for large float32), `plain`, or `numba`."""
    _forced[0] = backend


class _Twin(Protocol):
    """A module with neurons over T bins: the plain ones, or the kernels."""

    def lif(self, x: Tensor, v: Tensor | None, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
        """As `functional.lif`."""

    def plif(self, x: Tensor, v: Tensor | None, w: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
        """As `functional.plif`."""


def _choose(x: Tensor) -> _Twin:
    if _forced[0] == "plain" or not _fits(x):
        return functional
    from models.kernels import operators

    return operators if x.device.type == "cpu" or operators.has_gpu_kernels() else functional


def _fits(x: Tensor) -> bool:
    if x.device.type == "cuda":
        return x.dtype in (torch.float32, torch.bfloat16, torch.float16)
    pays = x.shape[0] > 1 and x.numel() >= _NUMBA_PAYS_FROM
    return x.dtype == torch.float32 and x.device.type == "cpu" and (pays or _forced[0] == "numba")


class LIF(nn.Module):
    """Leaky integrate-and-fire layer over time: (T, B, ...) current to (T, B, ...) spikes, membrane kept in the memory."""

    def __init__(self, parameters: LIFParameters) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.key = ""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, ...) for the current `x` (T, B, ...)."""
        spikes, v = _choose(x).lif(x, memory.old.get(self.key), self.parameters_)
        memory.new[self.key] = v
        return spikes

    def extra_repr(self) -> str:
        """Threshold and time constant, for printing a network."""
        return f"v_threshold={self.parameters_.v_threshold}, tau={self.parameters_.tau}"


class PLIF(LIF):
    """LIF layer that learns its leak, 1/tau = sigmoid(w), one `w` for the layer, beginning at the parameters' tau (over 1)."""

    def __init__(self, parameters: LIFParameters) -> None:
        super().__init__(parameters)
        # + 0.0: no minus sign before the zero of tau 2
        self.w = nn.Parameter(torch.tensor(-math.log(parameters.tau - 1.0) + 0.0))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Spikes (T, B, ...) for the current `x` (T, B, ...)."""
        spikes, memory.new[self.key] = _choose(x).plif(x, memory.old.get(self.key), self.w, self.parameters_)
        return spikes


class SFA(LIF):
    """Spike firing approximation: currents to counts 0 .. `n_levels` of spikes, what is left stays on the membrane."""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Counts (T, B, ...) for the current `x` (T, B, ...)."""
        counts, memory.new[self.key] = functional.sfa(x, memory.old.get(self.key), self.parameters_)
        return counts

    def extra_repr(self) -> str:
        """Most spikes in a bin, for printing a network."""
        return f"n_levels={self.parameters_.n_levels}"


_LAYERS: dict[Neuron, type[LIF]] = {"lif": LIF, "plif": PLIF, "sfa": SFA}


def neuron_layer(neuron: Neuron, parameters: LIFParameters) -> LIF:
    """Layer of neurons whose leak is fixed (`lif`) or learned (`plif`), or which fire whole numbers of spikes (`sfa`)."""
    return _LAYERS[neuron](parameters)


class SpikingNetwork(nn.Module):
    """A recogniser's network: `run` is its own, `forward` and `step` are `run` from rest and `run` with one bin."""

    @abstractmethod
    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """T bins of B streams: event counts (T, B, 2, H, W) and state to (logits (T, B, K), new state); None is rest."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K), the mean over T bins from rest, of event counts (T, B, 2, H, W)."""
        return self.run(x)[0].mean(dim=0)

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """One bin: event counts (B, 2, H, W) and state to (logits of this bin (B, K), new state); None is rest."""
        logits, state = self.run(x_t.unsqueeze(0), state)
        return logits[0], dict(state)


def name_memories(network: nn.Module) -> None:
    """Give each remembering layer of `network` its own key: its place in the module tree."""
    for name, module in network.named_modules():
        if hasattr(module, "key"):
            module.key = name
