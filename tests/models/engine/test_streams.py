"""A stream in a batch answers as it does alone, whoever joins and leaves beside it."""

from typing import Any

import numpy as np
import pytest
import torch
from golden import Lively
from small_networks import CASES, counts, small_network
from torch import nn

from models.checkpoint import CheckpointInfo
from models.engine.runners import PlainRunner
from models.engine.streams import PlainBatch, Readout, Streams, has_first_bin
from models.neuron import SpikingNetwork
from models.recogniser import StreamRecogniser
from models.registry import name_of
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.frames import SpikeFrame

# Bins of three streams: when each joins, and how many it stays. The slot of the first is taken again by the third.
VISITS = ((0, 3), (1, 5), (4, 3))
N_STEPS = 7


def info_of(network: SpikingNetwork, n_time_bins: int = 3, quiet_rate_hz: float = 0.0) -> CheckpointInfo:
    return CheckpointInfo(
        network=name_of(network),
        configuration={},
        classes=list("abcde")[: network.configuration.n_classes] or [],
        delta_t_us=10_000,
        n_time_bins=n_time_bins,
        size=network.configuration.size,
        quiet_rate_hz=quiet_rate_hz,
    )


def frame_of(bins: torch.Tensor, seq: int) -> SpikeFrame:
    array = bins.to(torch.uint8).numpy()
    return SpikeFrame(array, seq * 10_000, (seq + 1) * 10_000, seq, int(array.sum()))


def visits_of(network: SpikingNetwork) -> list[list[torch.Tensor]]:
    """The bins (2, H, W) of each visit, other ones for each."""
    x = 3 * counts(network, max(length for _, length in VISITS), len(VISITS))
    return [[x[i, visitor] for i in range(length)] for visitor, (_, length) in enumerate(VISITS)]


@pytest.mark.parametrize("case", CASES)
def test_a_stream_in_a_batch_answers_as_alone_while_others_come_and_go(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively)
    visits, batch = visits_of(network), PlainBatch(network, 2)
    slots, is_silent = {0: 0, 1: 1, 2: 0}, True
    states: dict[int, Any] = {}
    for step in range(N_STEPS):
        is_first, here = np.zeros(2, np.bool_), {}
        for visitor, (begin, length) in enumerate(VISITS):
            if begin <= step < begin + length:
                here[visitor] = visits[visitor][step - begin]
                is_first[slots[visitor]] |= step == begin
                batch.counts[slots[visitor]] = here[visitor].to(torch.uint8).numpy()
        found = batch.step(is_first)
        for visitor, x in here.items():
            with torch.inference_mode():
                wanted, states[visitor] = network.step(x.unsqueeze(0), states.get(visitor))
            torch.testing.assert_close(found[slots[visitor]], wanted[0].float(), rtol=1e-5, atol=1e-5)
            is_silent &= not wanted.any()
    assert not is_silent


@pytest.mark.parametrize("readout", ["running", "window"])
def test_scores_are_those_of_a_recogniser_for_each_stream(readout: Readout, lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively)
    info = info_of(network)
    streams = Streams(PlainBatch(network, 2), info, readout)
    alone = [StreamRecogniser(network, info, "tim", readout, runner=PlainRunner(network)) for _ in VISITS]
    slots: dict[int, int] = {}
    for step in range(N_STEPS):
        here = {}
        for visitor, (begin, length) in enumerate(VISITS):
            if step == begin + length:
                streams.leave(slots.pop(visitor))
        for visitor, (begin, _) in enumerate(VISITS):
            if step == begin:
                slots[visitor] = streams.join()
        for visitor, slot in slots.items():
            frame = frame_of(visits_of(network)[visitor][step - VISITS[visitor][0]], step)
            streams.put(slot, frame)
            here[visitor] = alone[visitor].step(frame)
        found = streams.step()
        for visitor, wanted in here.items():
            np.testing.assert_allclose(found.scores[slots[visitor]], wanted.scores, rtol=0, atol=1e-6)
            assert found.is_window_end[slots[visitor]] == wanted.is_window_end
    assert slots == {2: 0}
    assert not found.scores[1].any()
    assert not found.is_window_end[1]


def test_a_stream_begins_at_rest_after_a_quiet_scene_as_alone(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    info = info_of(network, quiet_rate_hz=100.0)  # one event a bin
    streams = Streams(PlainBatch(network, 1), info)
    alone = StreamRecogniser(network, info, "spikformer", runner=PlainRunner(network))
    slot, busy = streams.join(), 3 * counts(network, 2, 1)[:, 0]
    for seq in range(16):
        is_quiet = 2 <= seq < 14
        frame = frame_of(0 * busy[0] if is_quiet else busy[seq % 2], seq)
        if not is_quiet or seq % 2:
            streams.put(slot, frame)  # a bin that is not put is an empty one
        np.testing.assert_allclose(streams.step().scores[slot], alone.step(frame).scores, rtol=0, atol=1e-6)


def test_a_stream_that_is_reset_begins_anew_and_the_one_beside_it_does_not(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively)
    streams = Streams(PlainBatch(network, 2), info_of(network, n_time_bins=1))
    slots, x = (streams.join(), streams.join()), 3 * counts(network, 5, 1)[:, 0]
    scores = []
    for bin_ in (*x, *x):  # twice the same five bins
        if len(scores) == len(x):
            streams.reset(slots[0])
        for slot in slots:
            streams.put(slot, frame_of(bin_, len(scores)))
        scores.append(streams.step().scores)
    before, after = np.stack(scores[: len(x)]), np.stack(scores[len(x) :])  # (T, S, K)
    np.testing.assert_allclose(after[:, 0], before[:, 0], rtol=0, atol=1e-6)
    assert np.abs(after[:, 1] - before[:, 1]).max() > 1e-3


def test_slots_are_held_once_and_given_back(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    streams = Streams(PlainBatch(network, 2), info_of(network))
    assert [streams.join(), streams.join()] == [0, 1]
    with pytest.raises(ConfigurationError, match="all 2 streams are taken"):
        streams.join()
    streams.leave(0)
    assert streams.n_joined == 1
    for misuse in (streams.leave, streams.reset):
        with pytest.raises(ConfigurationError, match="nobody holds slot 0"):
            misuse(0)
    with pytest.raises(ConfigurationError, match="nobody holds slot -1"):
        streams.put(-1, frame_of(counts(network, 1, 1)[0, 0], 0))
    with pytest.raises(ConfigurationError, match="wanted"):
        streams.put(1, frame_of(torch.zeros(2, 4, 4), 0))
    assert streams.join() == 0


@pytest.mark.parametrize("n_slots", [0, 513])
def test_a_batch_has_from_one_to_512_slots(n_slots: int, lively: Lively[SpikingNetwork]) -> None:
    with pytest.raises(ConfigurationError, match=f"{n_slots} streams at once; from 1 to 512"):
        PlainBatch(small_network("spikformer", lively), n_slots)


def test_an_unknown_readout_is_refused(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    with pytest.raises(ConfigurationError, match="no readout called 'mean'"):
        Streams(PlainBatch(network, 1), info_of(network), "mean")  # type: ignore[arg-type]


def test_which_networks_have_a_first_bin_of_their_own(lively: Lively[SpikingNetwork]) -> None:
    assert has_first_bin(small_network("tim", lively))
    assert not has_first_bin(small_network("spikformer", lively))


def test_a_network_whose_second_bin_is_unlike_later_ones_is_refused(
    lively: Lively[SpikingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network("tim", lively)
    plain = type(network).step

    def step(self: nn.Module, x: torch.Tensor, state: Any = None) -> Any:
        logits, new = plain(self, x, state)
        return (logits + 1.0 if state is not None and len(state) < len(new) else logits), new

    monkeypatch.setattr(type(network), "step", step)
    with pytest.raises(ConfigurationError, match="second bin is unlike later ones"):
        PlainBatch(network, 2)
