"""SpikeFrame in, Prediction out: the network of a checkpoint run as a stream, membrane state kept between bins."""

from collections import deque
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.checkpoint import CheckpointInfo, load_checkpoint
from models.energy import energy_uj
from models.engine.runners import Runner, choose_runner
from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import NOTHING, NOTHING_INDEX
from pipeline.schema.recognition import QUIET_BINS, Prediction, RecogniserInfo

Readout = Literal["window", "running"]


class StreamRecogniser:
    """One stream through one network.

    Readout `window`: state reset every T bins; the scores are the mean over the bins of the window so far, and at its last bin
    equal the network run on those T frames. Readout `running`: state kept, scores are the mean over the last T bins; the first
    bin after a quiet scene starts from rest, as a clip in training does. `runner` says how the network is run, compiled where
    that can be unless it is given.
    """

    def __init__(
        self, network: nn.Module, info: CheckpointInfo, name: str, readout: Readout = "running", *, runner: Runner | None = None
    ) -> None:
        if readout not in ("window", "running"):
            raise ConfigurationError(f"no readout called {readout!r}; there are: window, running")
        self._runner = choose_runner(network) if runner is None else runner
        self._readout: Readout = readout
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
            filters=tuple(str(words) for words in info.training.get("reading", {}).get("filter", ())),
        )

    @property
    def device(self) -> str:
        """Where the network computes: cpu or cuda."""
        return self._runner.device

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
        self._logits.append(self._runner.step(frame.counts))
        return self._predict(self.judge(self._mean()))

    def reset(self) -> None:
        """Put all membranes at rest and forget the running scores."""
        self._runner.reset()
        self._n_quiet = 0
        self._logits.clear()

    def judge(self, mean: Tensor) -> npt.NDArray[np.float32]:
        """Scores (K,) of the mean of what the network answered over a window: its logits (K,)."""
        scores: npt.NDArray[np.float32] = mean.softmax(dim=0).numpy()
        return scores

    def _mean(self) -> Tensor:
        with torch.inference_mode():
            return torch.stack(tuple(self._logits)).mean(dim=0)

    def _begins_anew(self, frame: SpikeFrame) -> bool:
        if self._readout == "window":
            return len(self._logits) == self._info.n_time_bins
        was_quiet = self._n_quiet >= QUIET_BINS
        self._n_quiet = self._n_quiet + 1 if frame.n_events < self._quiet_events else 0
        return was_quiet and self._n_quiet == 0

    def _predict(self, scores: npt.NDArray[np.float32]) -> Prediction:
        reading = self._runner.read()
        return Prediction(
            scores=scores,
            sops=reading.sops,
            macs=reading.macs,
            energy_uj=energy_uj(reading.sops, reading.macs),
            raster=reading.raster,
            layers=reading.layers,
            is_window_end=len(self._logits) >= self._n_trusted,
            nothing=self._info.classes.index(NOTHING) if NOTHING in self._info.classes else NOTHING_INDEX,
        )


def load_recogniser(checkpoint: str, readout: str = "running") -> StreamRecogniser:
    """Recogniser of a checkpoint (path or name), ready for its first frame."""
    network, info, name = load_checkpoint(checkpoint)
    return StreamRecogniser(network.float(), info, name, readout)  # type: ignore[arg-type]  # checked in the constructor
