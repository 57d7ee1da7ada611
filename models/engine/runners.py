"""How a recogniser runs its network, bin by bin: compiled, or plainly, module by module. Both tell the same of each bin."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.energy import Reading, SpikeMeter
from models.engine.graph import NotCapturedError
from models.neuron import State
from pipeline.schema.messages import RasterLayer

_LOG = logging.getLogger(__name__)

# Neurons shown of each layer: enough to see rhythm and rate, few enough for a screen.
_ROWS_PER_LAYER = 12
_RATE_DIGITS = 4

Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BinReading:
    """What one bin cost, and which of the neurons shown fired: `raster` has the rows of all `layers`, in their order."""

    sops: int
    macs: int
    layers: tuple[RasterLayer, ...]
    raster: npt.NDArray[np.uint8]


class Runner(Protocol):
    """One stream through one network: `step` for every bin, `reset` when the stream begins anew, `read` after a step."""

    @property
    def device(self) -> str:
        """Where it computes: cpu or cuda."""
        ...

    def step(self, counts: Counts) -> Tensor:
        """Logits (K,) of the next bin, on the CPU, event counts (2, H, W); the caller's to keep."""
        ...

    def reset(self) -> None:
        """Put all membranes at rest."""
        ...

    def read(self) -> BinReading:
        """What the last bin cost."""
        ...


class PlainRunner:
    """The network as it is, watched through hooks: the reference, on any device and in any precision."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._parameter = next(network.parameters())
        self._meter = SpikeMeter(network)
        self._state: State | None = None
        self._sizes = self._look_at_layers()

    @property
    def device(self) -> str:
        """Where the network lies."""
        return self._parameter.device.type

    def step(self, counts: Counts) -> Tensor:
        """Run the network's own step."""
        x = torch.from_numpy(counts.astype(np.float32)).unsqueeze(0)  # (1, 2, H, W)
        with torch.inference_mode():
            logits, self._state = self._network.step(x.to(self._parameter), self._state)  # type: ignore[operator]  # the zoo's
        return logits[0].cpu()  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Forget the state."""
        self._state = None

    def read(self) -> BinReading:
        """What the hooks saw."""
        reading: Reading = self._meter.read()
        layers, rows = [], []
        for name, n_neurons in self._sizes.items():
            spikes = reading.spikes.get(name)
            flat = torch.zeros(n_neurons) if spikes is None else spikes.flatten().cpu()
            sampled = flat[sample_of(n_neurons)]
            rows.append(sampled)
            layers.append(raster_layer(name, sampled.numel(), n_neurons, flat.mean().item()))
        raster = torch.cat(rows) if rows else torch.zeros(0)
        # a neuron that fires counts is lit like any other
        return BinReading(reading.sops, reading.first_macs, tuple(layers), (raster > 0).to(torch.uint8).numpy())

    def _look_at_layers(self) -> dict[str, int]:
        """Names and sizes of all spiking layers, in the order in which they fire: two bins, as some begin at the second."""
        configuration: Any = self._network.configuration
        width, height = configuration.size
        blank = np.zeros((configuration.in_channels, height, width), np.uint8)
        for _ in range(2):
            self._meter.read()
            self.step(blank)
        self.reset()
        return {name: spikes.numel() for name, spikes in self._meter.read().spikes.items()}


@dataclass(frozen=True, slots=True)
class _ShownLayer:
    """Neurons shown of one layer: where the layer's spikes lie, and which of them."""

    name: str
    n_neurons: int
    spikes: npt.NDArray[np.float32]
    places: npt.NDArray[np.int64]


class CompiledRunner:
    """The network compiled (`models.engine.compiled`)."""

    def __init__(self, network: nn.Module) -> None:
        from models.engine.compiled import compile_network
        from models.engine.steps import flat
        from models.engine.tuning import tune

        if _is_cold():
            _LOG.info("compiling what networks need for this processor: once, about half a minute")
        self._compiled = compile_network(network)
        tune(self._compiled)
        # the last plan knows all layers, as some begin at the second bin
        self._shown = [
            [_ShownLayer(name, spikes.numel(), flat(spikes), _places(spikes)) for name, spikes in plan.spikes.items()]
            for plan in self._compiled.plans
        ]

    @property
    def device(self) -> str:
        """The CPU."""
        return "cpu"

    def step(self, counts: Counts) -> Tensor:
        """Take the next bin."""
        return self._compiled.step(counts[None])[0].clone()

    def reset(self) -> None:
        """Membranes at rest."""
        self._compiled.reset()

    def read(self) -> BinReading:
        """What the steps counted."""
        plan = self._compiled.plan
        here = {layer.name: layer for layer in self._shown[self._compiled.plans.index(plan)]}
        layers, rows = [], []
        for layer in self._shown[-1]:
            asked = here.get(layer.name)
            row = np.zeros(layer.places.size, np.float32) if asked is None else asked.spikes[asked.places]
            n_spikes = 0 if asked is None else plan.firing[layer.name].n_spikes
            rows.append(row)
            layers.append(raster_layer(layer.name, layer.places.size, layer.n_neurons, n_spikes / layer.n_neurons))
        operations = self._compiled.operations().values()
        return BinReading(
            sops=sum(layer.sops for layer in operations if not layer.is_dense),
            macs=sum(layer.macs for layer in operations if layer.is_dense),
            layers=tuple(layers),
            raster=(np.concatenate(rows) > 0).astype(np.uint8),
        )


def choose_runner(network: nn.Module) -> Runner:
    """The network compiled, on a GPU recorded, where that can be; else the plain one, and why is logged."""
    try:
        if next(network.parameters()).is_cuda:
            from models.engine.cuda_runner import RecordedRunner

            return RecordedRunner(network)
        return CompiledRunner(network)
    except NotCapturedError as error:
        _LOG.info("the network runs plainly: %s", error)
        return PlainRunner(network)


def _is_cold() -> bool:
    """Whether numba keeps no compiled code of the engine yet."""
    from models.engine.sparse import gather_share

    folder = gather_share.stats.cache_path
    return folder is None or not any(Path(folder).glob("sparse.gather_share*.nbi"))


def raster_layer(name: str, n_rows: int, n_neurons: int, rate: float) -> RasterLayer:
    """What a reading says of a layer that fired at `rate`."""
    return RasterLayer(name=name, n_rows=n_rows, n_neurons=n_neurons, firing_rate=round(rate, _RATE_DIGITS))


@functools.cache
def sample_of(n_neurons: int) -> Tensor:
    """Which neurons of a layer are shown: drawn once and for all, spread over all channels and places."""
    chosen = torch.randperm(n_neurons, generator=torch.Generator().manual_seed(n_neurons))[:_ROWS_PER_LAYER]
    return chosen.sort().values


def _places(spikes: Tensor) -> npt.NDArray[np.int64]:
    """Where the neurons shown lie in the memory of `spikes`, whatever the order of its axes."""
    chosen = sample_of(spikes.numel()).numpy()
    axes = np.unravel_index(chosen, tuple(spikes.shape))
    return sum((axis * stride for axis, stride in zip(axes, spikes.stride(), strict=True)), np.zeros_like(chosen))
