"""A network over S slots recorded once as CUDA graphs: a bin is one launch, and streams join and leave without a new recording.

There are two recordings: a bin that is a later one for everybody, and one that is the first of some slots, whose membranes it
clears by a mask. Frames come through pinned memory. The recorder is given: `record_graph` on a GPU; `run_again`, which records
nothing and calls the same function on the same tensors, anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.engine.compiled import TOLERANCE, UNFORESEEN, trial_frames, write_down
from models.engine.cuda_program import Precision, Program, multiplying_in
from models.engine.graph import Graph, NotCapturedError
from models.engine.plan import Memories
from models.engine.streams import Flags, along, check_slots
from models.neuron import State

# Runs a recorded function once more.
Replay = Callable[[], None]
Recorder = Callable[[Callable[[], None]], Replay]

# Runs before a recording: what is compiled, tried or allocated at first use must be so by then.
_N_WARM_UPS = 3
# The quicker of two precisions must be so by this share, for it rounds more.
_WORTH_ROUNDING = 0.9


def record_graph(run: Callable[[], None]) -> Replay:
    """Record `run` as a CUDA graph, in a stream beside the current one."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_N_WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    return graph.replay


def run_again(run: Callable[[], None]) -> Replay:
    """Record nothing: what is replayed is `run` itself."""
    run()
    return run


class RecordedBatch:
    """A `models.engine.streams.Batch` of recorded bins; made by `record_network`."""

    def __init__(
        self, network: nn.Module, graphs: list[Graph], n_slots: int, precision: Precision, *, keeps_values: bool
    ) -> None:
        configuration: Any = network.configuration
        width, height = configuration.size
        device = next(network.parameters()).device
        self._device, self._has_first_bin = device, len(graphs) > 1
        self._memories = Memories()
        # a first bin beside later ones has membranes of its own, from which those of the slots that begin are taken
        self._first_memories = Memories() if n_slots > 1 and self._has_first_bin else self._memories
        self._later = Program(graphs[-1], self._memories, precision, keeps_values=keeps_values)
        self._first = Program(graphs[0], self._first_memories, precision, keeps_values=keeps_values)
        self._frames = torch.zeros(n_slots, configuration.in_channels, height, width, dtype=torch.uint8, device=device)
        self._is_first = torch.zeros(n_slots, dtype=torch.bool, device=device)
        self._logits = torch.zeros(n_slots, configuration.n_classes, device=device)
        self._host_frames, self._host_is_first, self._host_logits = (
            _on_host(tensor) for tensor in (self._frames, self._is_first, self._logits)
        )
        self._counts: npt.NDArray[np.uint8] = self._host_frames.numpy()
        self._replay_later: Replay = self._run_later
        self._replay_first: Replay = self._run_first
        self._last = self._later

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @property
    def counts(self) -> npt.NDArray[np.uint8]:
        """Event counts (S, 2, H, W) of the next bin, in pinned memory on a GPU."""
        return self._counts

    @property
    def frames(self) -> Tensor:
        """Where `counts` go on the device."""
        return self._frames

    @property
    def last(self) -> Program:
        """The program of the bin that was taken last; its values are those of the slots for which that bin was meant."""
        return self._last

    @property
    def later(self) -> Program:
        """The program of a later bin, which knows all layers."""
        return self._later

    def step(self, is_first: Flags) -> Tensor:
        """Logits (S, K) after the bin in `counts`, on the CPU, until the next step; slots of `is_first` begin at rest."""
        self._frames.copy_(self._host_frames, non_blocking=True)
        if is_first.any():
            np.copyto(self._host_is_first.numpy(), is_first)
            self._is_first.copy_(self._host_is_first, non_blocking=True)
            self._replay_first()
            self._last = self._first
        else:
            self._replay_later()
            self._last = self._later
        self._host_logits.copy_(self._logits, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return self._host_logits

    def replay(self) -> None:
        """A later bin of the frames that are there already, without waiting for it: to be timed."""
        self._replay_later()

    def state(self) -> dict[str, Tensor]:
        """A copy of what is remembered, as `network.step` gives it."""
        return {key: value.clone() for key, value in self._memories.states.items()}

    def record(self, recorder: Recorder) -> None:
        """Record both bins; afterwards all slots are at rest."""
        with torch.inference_mode():
            self._replay_later, self._replay_first = recorder(self._run_later), recorder(self._run_first)
            _clear(self._memories)

    def _run_later(self) -> None:
        with torch.inference_mode():
            self._logits.copy_(self._later.run(self._frames))

    def _run_first(self) -> None:
        with torch.inference_mode():
            if self._first_memories is not self._memories:
                self._begin_beside()
                return
            for value in self._memories.states.values():
                value.masked_fill_(along(self._is_first, value), 0)
            self._logits.copy_(self._first.run(self._frames))

    def _begin_beside(self) -> None:
        """The first bin of all slots and a later one of all; each slot takes what is meant for it."""
        _clear(self._first_memories)
        first_logits, logits = self._first.run(self._frames), self._later.run(self._frames)
        begun = self._first_memories.states
        for key, value in self._memories.states.items():
            mask = along(self._is_first, value)
            if key in begun:
                value.copy_(torch.where(mask, begun[key], value))
            else:
                value.masked_fill_(mask, 0)
        self._logits.copy_(torch.where(along(self._is_first, logits), first_logits, logits))


def record_network(
    network: nn.Module,
    n_slots: int = 1,
    precision: Precision = "float32",
    *,
    recorder: Recorder = record_graph,
    keeps_values: bool = False,
) -> RecordedBatch:
    """Record `network` for `n_slots` streams. NotCapturedError says why where that cannot be; float32 answers are tried."""
    check_slots(n_slots)
    parameters = list(network.parameters())
    if any(p.dtype != torch.float32 for p in parameters):
        raise NotCapturedError("its weights are not float32")
    if network.training:
        raise NotCapturedError("it is in training")
    frames = trial_frames(network, n_slots).to(parameters[0].device)
    with multiplying_in("float32", frames.device):
        graphs = write_down(network, frames)
    try:
        batch = RecordedBatch(network, graphs, n_slots, precision, keeps_values=keeps_values)
        for graph in graphs:
            graph.forget()
        batch.record(recorder)
        _try(batch, network, frames, precision)
    except UNFORESEEN as error:
        raise NotCapturedError(f"its step cannot be recorded ({type(error).__name__}: {error})") from error
    return batch


def quickest_precision(
    network: nn.Module, n_slots: int, measure: Callable[[RecordedBatch], float], recorder: Recorder
) -> Precision:
    """bfloat16 where `measure` finds a bin a tenth shorter in it, else float32."""
    plain = measure(record_network(network, n_slots, recorder=recorder))
    rounded = measure(record_network(network, n_slots, "bfloat16", recorder=recorder))
    return "bfloat16" if rounded < _WORTH_ROUNDING * plain else "float32"


def _try(batch: RecordedBatch, network: nn.Module, frames: Tensor, precision: Precision) -> None:
    """Hold the first bins against the plain network; of those that round weights only that they answer by numbers."""
    state: State | None = None
    for i, frame in enumerate(frames):
        with torch.inference_mode(), multiplying_in("float32", frames.device):
            wanted, state = network.step(frame, state)  # type: ignore[operator]  # every network of the zoo has step
        batch.counts[:] = frame.to(torch.uint8).cpu().numpy()
        found = batch.step(np.full(len(frame), i == 0))
        limit = TOLERANCE * max(1.0, wanted.abs().max().item()) if precision == "float32" else float("inf")
        error = (found - wanted.cpu()).abs().max().item()
        if not error < limit:
            raise NotCapturedError(f"recorded, its answers differ by {error:.2g}")
    batch.counts[:] = 0


def _clear(memories: Memories) -> None:
    for value in memories.states.values():
        value.zero_()


def _on_host(tensor: Tensor) -> Tensor:
    """Memory of the host for the items of `tensor`, which a GPU reaches without the processor's help."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
