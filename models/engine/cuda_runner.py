"""One stream through a network recorded as CUDA graphs: a `models.engine.runners.Runner`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.engine.cuda_graph import Recorder, record_graph, record_network
from models.engine.cuda_program import Precision
from models.engine.runners import BinReading, Counts, raster_layer, sample_of


class RecordedRunner:
    """The network recorded (`models.engine.cuda_graph`) for one stream; NotCapturedError where that cannot be.

    What a bin cost is counted when `read` asks, layer by layer: that waits for the GPU some hundred times, `step` once.
    """

    def __init__(self, network: nn.Module, precision: Precision = "float32", *, recorder: Recorder = record_graph) -> None:
        self._batch = record_network(network, 1, precision, recorder=recorder, keeps_values=True)
        self._sizes = {name: spikes.numel() for name, spikes in self._batch.later.spikes().items()}
        self._is_first = np.ones(1, np.bool_)

    @property
    def device(self) -> str:
        """Where the network lies."""
        return self._batch.device.type

    def step(self, counts: Counts) -> Tensor:
        """Take the next bin."""
        np.copyto(self._batch.counts[0], counts)
        logits = self._batch.step(self._is_first)[0].clone()
        self._is_first[0] = False
        return logits

    def reset(self) -> None:
        """The next bin is a first one."""
        self._is_first[0] = True

    def read(self) -> BinReading:
        """What the last bin's tensors tell."""
        spikes, layers, rows = self._batch.last.spikes(), [], []
        with torch.inference_mode():
            for name, n_neurons in self._sizes.items():
                flat = spikes[name].flatten().cpu() if name in spikes else torch.zeros(n_neurons)
                rows.append(flat[sample_of(n_neurons)])
                layers.append(raster_layer(name, len(rows[-1]), n_neurons, flat.mean().item()))
            operations = self._batch.last.operations().values()
        return BinReading(
            sops=sum(layer.sops for layer in operations if not layer.is_dense),
            macs=sum(layer.macs for layer in operations if layer.is_dense),
            layers=tuple(layers),
            raster=(torch.cat(rows) > 0).to(torch.uint8).numpy() if rows else np.zeros(0, np.uint8),
        )
