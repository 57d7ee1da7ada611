"""SpikeFrame in, Prediction out: the network of a checkpoint run as a stream, membrane state kept between bins."""

import functools
from collections import deque
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.checkpoint import CheckpointInfo, load_checkpoint
from models.energy import Reading, SpikeMeter, energy_uj
from models.neuron import State
from models.registry import Network
from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import RasterLayer
from pipeline.schema.recognition import QUIET_BINS, Prediction, RecogniserInfo

Readout = Literal["window", "running"]

# Neurons shown of each layer: enough to see rhythm and rate, few enough for a screen.
_ROWS_PER_LAYER = 12


class StreamRecogniser:
    """One stream through one network.

    Readout `window`: state reset every T bins; the scores are the mean over the bins of the window so far, and at its last bin
    equal the network run on those T frames. Readout `running`: state kept, scores are the mean over the last T bins; the first
    bin after a quiet scene starts from rest, as a clip in training does.
    """

    def __init__(self, network: Network, info: CheckpointInfo, name: str, readout: Readout = "running") -> None:
        if readout not in ("window", "running"):
            raise ConfigurationError(f"no readout called {readout!r}; there are: window, running")
        self._network = network
        self._meter = SpikeMeter(network)  # type: ignore[arg-type]  # every network of the zoo is an nn.Module as well
        self._readout: Readout = readout
        self._state: State | None = None
        self._logits: deque[Tensor] = deque(maxlen=info.n_time_bins)
        self._n_trusted = info.n_time_bins if readout == "window" else (info.n_time_bins + 1) // 2
        self._quiet_events = info.quiet_rate_hz * info.delta_t_us / US_PER_S
        self._n_quiet = 0
        self._info = RecogniserInfo(
            network=name,
            classes=tuple(info.classes),
            delta_t_us=info.delta_t_us,
            n_time_bins=info.n_time_bins,
            frame_size=SensorSize(*info.size),
            quiet_rate_hz=info.quiet_rate_hz,
        )

        self._layer_sizes = self._look_at_layers()

    @property
    def device(self) -> str:
        """Where the network computes: cpu or cuda."""
        return next(self._network.parameters()).device.type  # type: ignore[attr-defined, no-any-return]  # an nn.Module

    @property
    def info(self) -> RecogniserInfo:
        """What this recogniser expects and answers."""
        return self._info

    def step(self, frame: SpikeFrame) -> Prediction:
        """Take the next time bin and give the prediction after it; ConfigurationError when its shape does not fit."""
        size = self._info.frame_size
        if frame.counts.shape != (2, size.height, size.width):
            wanted = (2, size.height, size.width)
            raise ConfigurationError(f"SpikeFrame of shape {frame.counts.shape} for {self._info.network}, which wants {wanted}")
        if self._begins_anew(frame):
            self.reset()
        with torch.inference_mode():
            # a copy, because frames may be read-only
            counts = torch.from_numpy(frame.counts.astype(np.float32)).unsqueeze(0)  # (1, 2, H, W)
            logits, self._state = self._network.step(counts, self._state)
            self._logits.append(logits[0])
            scores = torch.stack(tuple(self._logits)).mean(dim=0).softmax(dim=0)
        return self._predict(scores.numpy(), self._meter.read())

    def reset(self) -> None:
        """Put all membranes at rest and forget the running scores."""
        self._state = None
        self._n_quiet = 0
        self._logits.clear()

    def _look_at_layers(self) -> dict[str, int]:
        """Names and sizes of all spiking layers, in the order in which they fire: two bins, as some begin at the second."""
        size = self._info.frame_size
        state: State | None = None
        with torch.inference_mode():
            for _ in range(2):
                self._meter.read()
                _, state = self._network.step(torch.zeros(1, 2, size.height, size.width), state)
        return {name: spikes.numel() for name, spikes in self._meter.read().spikes.items()}

    def _begins_anew(self, frame: SpikeFrame) -> bool:
        if self._readout == "window":
            return len(self._logits) == self._info.n_time_bins
        was_quiet = self._n_quiet >= QUIET_BINS
        self._n_quiet = self._n_quiet + 1 if frame.n_events < self._quiet_events else 0
        return was_quiet and self._n_quiet == 0

    def _predict(self, scores: npt.NDArray[np.float32], reading: Reading) -> Prediction:
        layers, raster = _raster(reading, self._layer_sizes)
        return Prediction(
            scores=scores,
            sops=reading.sops,
            macs=reading.first_macs,
            energy_uj=energy_uj(reading.sops, reading.first_macs),
            raster=raster,
            layers=layers,
            is_window_end=len(self._logits) >= self._n_trusted,
        )


def _raster(reading: Reading, layer_sizes: Mapping[str, int]) -> tuple[tuple[RasterLayer, ...], npt.NDArray[np.uint8]]:
    """Rows of all layers, in the same order at every bin; a layer that was not asked this time is silent."""
    layers, rows = [], []
    for name, n_neurons in layer_sizes.items():
        spikes = reading.spikes.get(name)
        flat = torch.zeros(n_neurons) if spikes is None else spikes.flatten()
        sampled = flat[_sample(n_neurons)]
        rows.append(sampled)
        rate = round(flat.mean().item(), 4)
        layers.append(RasterLayer(name=name, n_rows=sampled.numel(), n_neurons=n_neurons, firing_rate=rate))
    raster = torch.cat(rows) if rows else torch.zeros(0)
    return tuple(layers), (raster > 0).to(torch.uint8).numpy()  # a neuron that fires counts is lit like any other


@functools.cache
def _sample(n_neurons: int) -> Tensor:
    """Which neurons of a layer are shown: drawn once and for all, spread over all channels and places."""
    chosen = torch.randperm(n_neurons, generator=torch.Generator().manual_seed(n_neurons))[:_ROWS_PER_LAYER]
    return chosen.sort().values


def load_recogniser(checkpoint: str, readout: str = "running") -> StreamRecogniser:
    """Recogniser of a checkpoint (path or name), ready for its first frame."""
    network, info, name = load_checkpoint(checkpoint)
    return StreamRecogniser(network.float(), info, name, readout)  # type: ignore[arg-type]  # checked in the constructor
