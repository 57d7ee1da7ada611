"""A recorded network answers, remembers and begins anew as the plain one does; recording itself is proved on a GPU alone."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from golden import Lively
from small_networks import CASES, counts, small_network

from models.engine import cuda_runner
from models.engine.cuda_graph import RecordedBatch, quickest_precision, record_graph, record_network, run_again
from models.engine.graph import NotCapturedError
from models.engine.runners import PlainRunner, choose_runner
from models.neuron import SpikingNetwork

# Two streams: one joins at the first bin and begins anew at the fourth, the other joins at the second.
FIRST_BINS = ([True, False], [False, True], [False, False], [True, False], [False, False], [False, False], [False, False])
JOINED = (0, 1)

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that torch can use")


def check_answers(network: SpikingNetwork, batch: RecordedBatch, *, is_exact: bool = True) -> None:
    """Both streams as alone, one bin after the other."""
    x = 3 * counts(network, len(FIRST_BINS), 2).float()
    device, is_silent = next(network.parameters()).device, True
    states: list[Any] = [None, None]
    for i, (bins, first) in enumerate(zip(x, FIRST_BINS, strict=True)):
        batch.counts[:] = bins.to(torch.uint8).numpy()
        found = batch.step(np.array(first))
        for slot in (slot for slot in range(2) if i >= JOINED[slot]):
            with torch.inference_mode():
                old = None if first[slot] else states[slot]
                wanted, states[slot] = network.step(bins[slot].unsqueeze(0).to(device), old)
            atol = max(1e-3, 5e-3 * wanted.abs().max().item())
            torch.testing.assert_close(found[slot], wanted[0].cpu(), rtol=0, atol=atol)
            is_silent &= not wanted.any()
    assert not is_silent
    remembered = batch.state()
    assert remembered.keys() == states[0].keys() == states[1].keys()
    for slot in range(2 if is_exact else 0):
        for key, value in states[slot].items():
            torch.testing.assert_close(remembered[key][slot], value[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_network_answers_and_remembers_as_alone_while_streams_begin(
    case: str, lively: Lively[SpikingNetwork]
) -> None:
    network = small_network(case, lively).float()
    # a counting neuron that rounds half up may stand on the edge, and then its membrane is another one
    check_answers(network, record_network(network, 2, recorder=run_again), is_exact="sfa" not in case)


def test_a_batch_of_one_begins_anew(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively).float()
    batch = record_network(network, recorder=run_again)
    answers = []
    for i, x in enumerate([*counts(network, 5, 1), *counts(network, 5, 1)]):
        batch.counts[:] = 3 * x.to(torch.uint8).numpy()
        answers.append(batch.step(np.array([i in (0, 5)])).clone())
    assert torch.equal(torch.stack(answers[:5]), torch.stack(answers[5:]))
    assert not torch.equal(answers[0], answers[4])


def test_bins_are_recorded_once_and_then_only_replayed(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively).float()
    replayed: list[str] = []

    def recorder(run: Callable[[], None]) -> Callable[[], None]:
        run()
        name = run.__name__

        def replay() -> None:
            replayed.append(name)
            run()

        return replay

    batch = record_network(network, 2, recorder=recorder)
    replayed.clear()
    for first in FIRST_BINS:
        batch.step(np.array(first))
    assert replayed == ["_run_first", "_run_first", "_run_later", "_run_first", *["_run_later"] * 3]


def test_what_a_bin_makes_is_let_go_of_unless_it_is_counted(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()
    lean, full = (record_network(network, recorder=run_again, keeps_values=keeps) for keeps in (False, True))
    assert len(lean.later.values) < 10 < len(full.later.values)


def test_bfloat16_multiplies_otherwise_and_fires_alike(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()
    membranes = []
    for precision in ("float32", "bfloat16"):
        batch = record_network(network, precision=precision, recorder=run_again)
        for i, x in enumerate(counts(network, 4, 1)):
            batch.counts[:] = 3 * x.to(torch.uint8).numpy()
            batch.step(np.array([i == 0]))
        membranes.append(torch.cat([membrane.flatten() for membrane in batch.state().values()]))
    assert not torch.equal(*membranes)
    # most membranes are where they were to two digits; the rest are behind a spike more or less
    assert ((membranes[0] - membranes[1]).abs() < 0.05).float().mean() > 0.9


@pytest.mark.parametrize(("rounded_s", "wanted"), [(0.5, "bfloat16"), (0.95, "float32"), (2.0, "float32")])
def test_bfloat16_is_taken_where_it_is_a_tenth_quicker(rounded_s: float, wanted: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()
    times = iter((1.0, rounded_s))
    assert quickest_precision(network, 1, lambda _: next(times), run_again) == wanted


def test_the_runner_tells_the_same_of_each_bin_as_the_plain_one(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively).float()
    recorded, plain = cuda_runner.RecordedRunner(network, recorder=run_again), PlainRunner(network)
    assert recorded.device == "cpu"
    for i, x in enumerate(counts(network, 6, 1)):
        if i == 4:
            recorded.reset()
            plain.reset()
        frame = x[0].to(torch.uint8).numpy()
        torch.testing.assert_close(recorded.step(frame), plain.step(frame), rtol=0, atol=1e-3)
        found, wanted = recorded.read(), plain.read()
        assert (found.sops, found.macs) == (wanted.sops, wanted.macs)
        assert found.layers == wanted.layers
        assert np.array_equal(found.raster, wanted.raster)
    assert wanted.raster.any()


def test_what_cannot_be_recorded_says_why(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    with pytest.raises(NotCapturedError, match="not float32"):
        record_network(network, recorder=run_again)
    with pytest.raises(NotCapturedError, match="in training"):
        record_network(network.float().train(), recorder=run_again)

    def refuse(_: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(NotCapturedError, match=r"cannot be recorded \(RuntimeError: operation not permitted"):
        record_network(network.eval(), recorder=refuse)


def test_a_recording_that_answers_otherwise_is_not_used(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()

    def forgetful(run: Callable[[], None]) -> Callable[[], None]:
        run()
        return lambda: None

    with pytest.raises(NotCapturedError, match="its answers differ by"):
        record_network(network, recorder=forgetful)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("case", CASES)
def test_recorded_on_the_card_it_answers_and_remembers_as_alone(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively).float().cuda()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        check_answers(network, record_network(network, 2, recorder=record_graph), is_exact="sfa" not in case)


@pytest.mark.gpu
@on_a_gpu
def test_a_network_on_the_card_runs_recorded(lively: Lively[SpikingNetwork], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        runner = choose_runner(small_network("tim", lively).float().cuda())
    assert isinstance(runner, cuda_runner.RecordedRunner)
    assert not caplog.records
