"""Many streams through one network at once: they join and leave while the others go on, and none disturbs another.

The batch axis of the network is a row of slots. `Streams` says who holds which slot and turns logits into scores; a `Batch`
does the network's work for all slots in one step: plainly (`PlainBatch`, any device, any precision), or recorded as CUDA
graphs (`models.engine.cuda_graph`). A stream answers as it does alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.checkpoint import CheckpointInfo
from models.recogniser import Readout
from models.state import state_layout
from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.recognition import QUIET_BINS

# As many as one step is laid out for: their frames at 2 x 128 x 128 are 16 MB.
MAX_STREAMS = 512
# Events a pixel of the frames that a network is tried with: an empty one, a usual one, a crowded one.
_TRIAL_RATES = (0.0, 0.3, 3.0)
_TRIAL_TOLERANCE = 1e-5

Flags = npt.NDArray[np.bool_]


class Batch(Protocol):
    """A network over S slots: fill `counts`, then `step`."""

    @property
    def counts(self) -> npt.NDArray[np.uint8]:
        """Event counts (S, 2, H, W) of the next bin, to be filled in place."""
        ...

    def step(self, is_first: Flags) -> Tensor:
        """Logits (S, K) after the bin in `counts`, on the CPU, until the next step; slots of `is_first` begin at rest."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """After a bin, of every slot: `scores` (S, K), zero where nobody is; `is_window_end` (S,) as in a Prediction."""

    scores: npt.NDArray[np.float32]
    is_window_end: Flags


class PlainBatch:
    """The network's own step over S slots, its state in tensors that stay where they are.

    ConfigurationError where S is out of range or the network's first two bins do not go together with others' later ones.
    """

    def __init__(self, network: nn.Module, n_slots: int) -> None:
        check_slots(n_slots)
        self._network: Any = network
        self._parameter = next(network.parameters())
        configuration: Any = network.configuration
        width, height = configuration.size
        self._counts = np.zeros((n_slots, configuration.in_channels, height, width), np.uint8)
        layout = state_layout(network, n_slots, 2)
        self._state = {key: self._parameter.new_zeros(shape, dtype=dtype) for key, (shape, dtype) in layout.items()}
        self._has_first_bin = has_first_bin(network)

    @property
    def counts(self) -> npt.NDArray[np.uint8]:
        """Event counts (S, 2, H, W) of the next bin."""
        return self._counts

    def step(self, is_first: Flags) -> Tensor:
        """Logits (S, K) after the bin in `counts`."""
        x = torch.from_numpy(self._counts).to(self._parameter)
        with torch.inference_mode():
            if is_first.any():
                logits, new = self._begin(x, torch.from_numpy(is_first).to(x.device))
            else:
                logits, new = self._network.step(x, self._state)
            for key, value in self._state.items():
                value.copy_(new[key])
            return logits.float().cpu()

    def _begin(self, x: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A bin that is the first one of the slots of `mask` (S,), and any other of the rest."""
        for value in self._state.values():
            value.masked_fill_(along(mask, value), 0)
        logits, new = self._network.step(x, self._state)
        if not self._has_first_bin:
            return logits, new
        first_logits, first = self._network.step(x, None)
        chosen = {
            key: torch.where(along(mask, value), first[key] if key in first else torch.zeros_like(value), value)
            for key, value in new.items()
        }
        return torch.where(along(mask, logits), first_logits, logits), chosen


class Streams:
    """Up to S streams in one `batch`: `join` for a slot, `put` each bin, `step` all at once, `leave` when a stream ends.

    Scores are those of `StreamRecogniser` with the same `readout`, of which `info` says windows and quiet. A slot that was not
    given a bin before a step sees an empty one.
    """

    def __init__(self, batch: Batch, info: CheckpointInfo, readout: Readout = "running") -> None:
        if readout not in ("window", "running"):
            raise ConfigurationError(f"no readout called {readout!r}; there are: window, running")
        n_slots, T = len(batch.counts), info.n_time_bins
        self._batch = batch
        self._is_window = readout == "window"
        self._n_trusted = T if self._is_window else (T + 1) // 2
        self._quiet_events = info.quiet_rate_hz * info.delta_t_us / US_PER_S
        self._logits = np.zeros((T, n_slots, len(info.classes)), np.float32)
        self._n_bins = np.zeros(n_slots, np.int64)  # since the stream began from rest
        self._n_quiet = np.zeros(n_slots, np.int64)
        self._n_events = np.zeros(n_slots, np.int64)
        self._is_joined, self._is_put, self._is_dirty = (np.zeros(n_slots, np.bool_) for _ in range(3))

    @property
    def n_joined(self) -> int:
        """How many slots are held."""
        return int(self._is_joined.sum())

    def join(self) -> int:
        """The lowest slot that is free, from now on the caller's; ConfigurationError when all are held."""
        free = np.flatnonzero(~self._is_joined)
        if not free.size:
            raise ConfigurationError(f"all {self._is_joined.size} streams are taken; let one leave, or make a larger batch")
        slot = int(free[0])
        self._is_joined[slot] = True
        self.reset(slot)
        return slot

    def leave(self, slot: int) -> None:
        """Give a slot back."""
        self._check(slot)
        self._is_joined[slot] = self._is_put[slot] = False

    def reset(self, slot: int) -> None:
        """Begin the stream of a slot anew: its next bin is a first one, whatever the others do."""
        self._check(slot)
        self._n_bins[slot] = self._n_quiet[slot] = 0

    def put(self, slot: int, frame: SpikeFrame) -> None:
        """The next bin of a slot; ConfigurationError when its shape does not fit."""
        self._check(slot)
        if frame.counts.shape != self._batch.counts.shape[1:]:
            raise ConfigurationError(f"SpikeFrame of shape {frame.counts.shape}, wanted {self._batch.counts.shape[1:]}")
        self._batch.counts[slot] = frame.counts
        self._n_events[slot] = frame.n_events
        self._is_put[slot] = True

    def step(self) -> Scores:
        """Take the bins that were put, of all slots at once."""
        self._clear_old_bins()
        self._n_bins[self._begins_anew()] = 0
        logits = self._batch.step(self._is_joined & (self._n_bins == 0))
        T, slots = len(self._logits), np.arange(self._n_bins.size)
        self._logits[self._n_bins % T, slots] = logits.numpy()
        self._n_bins += 1
        self._is_put[:] = False
        n_kept = np.minimum(self._n_bins, T)
        is_kept = np.arange(T)[:, None] < n_kept  # (T, S): what stands in the other places is of an earlier stream
        mean = np.where(is_kept[..., None], self._logits, 0).sum(axis=0, dtype=np.float32) / n_kept[:, None].astype(np.float32)
        scores = torch.from_numpy(mean).softmax(dim=1).numpy()
        return Scores(np.where(self._is_joined[:, None], scores, 0), self._is_joined & (n_kept >= self._n_trusted))

    def _clear_old_bins(self) -> None:
        """Empty the bins of slots that hold an old one."""
        stale = self._is_dirty & ~self._is_put
        self._batch.counts[stale] = 0
        self._n_events[~self._is_put] = 0
        self._is_dirty = self._is_put.copy()

    def _begins_anew(self) -> Flags:
        """Slots whose state is forgotten before this bin: full windows, or the first bin after a quiet scene."""
        if self._is_window:
            return self._n_bins >= len(self._logits)
        was_quiet = self._n_quiet >= QUIET_BINS
        is_quiet = self._n_events < self._quiet_events
        self._n_quiet = np.where(is_quiet, self._n_quiet + 1, 0)
        return was_quiet & ~is_quiet

    def _check(self, slot: int) -> None:
        if not (0 <= slot < self._is_joined.size and self._is_joined[slot]):
            raise ConfigurationError(f"nobody holds slot {slot}; join gives one")


def check_slots(n_slots: int) -> None:
    """ConfigurationError where a batch cannot have so many slots."""
    if not 1 <= n_slots <= MAX_STREAMS:
        raise ConfigurationError(f"{n_slots} streams at once; from 1 to {MAX_STREAMS} can be")


def along(mask: Tensor, like: Tensor) -> Tensor:
    """`mask` (S,) so shaped that it applies to `like` (S, ...)."""
    return mask.view(-1, *[1] * (like.dim() - 1))


def has_first_bin(network: Any) -> bool:
    """Whether a first bin is another than a later one on zeros; ConfigurationError where a second bin is another one, too."""
    is_other = False
    for x in _trial_frames(network):
        with torch.inference_mode():
            first = network.step(x, None)
            second = network.step(x, first[1])
            zeros = {key: torch.zeros_like(value) for key, value in second[1].items()}
            filled = network.step(x, {**zeros, **first[1]})
            is_other = is_other or first[1].keys() != zeros.keys() or not _is_same(first, network.step(x, zeros))
        if not _is_same(second, filled):
            raise ConfigurationError("its second bin is unlike later ones, so streams of other ages cannot go beside it")
    return is_other


def _trial_frames(network: Any) -> Tensor:
    parameter, (width, height) = next(network.parameters()), network.configuration.size
    rates = torch.tensor(_TRIAL_RATES).view(-1, 1, 1, 1, 1)
    rates = rates.expand(-1, 1, network.configuration.in_channels, height, width)
    return torch.poisson(rates, generator=torch.Generator().manual_seed(0)).to(parameter)


def _is_same(a: tuple[Tensor, dict[str, Tensor]], b: tuple[Tensor, dict[str, Tensor]]) -> bool:
    """Whether two steps gave the same logits and state."""
    if a[1].keys() != b[1].keys():
        return False
    pairs = [(a[0], b[0]), *((value, b[1][key]) for key, value in a[1].items())]
    return all(torch.allclose(x, y, rtol=_TRIAL_TOLERANCE, atol=_TRIAL_TOLERANCE) for x, y in pairs)
