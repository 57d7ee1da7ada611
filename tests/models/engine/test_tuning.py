"""What is chosen by measurement changes how long a bin takes, never what it answers."""

import math

import pytest
import torch
from golden import Lively
from small_networks import counts, small_network

from models.engine import tuning
from models.engine.compiled import CompiledNetwork, compile_network
from models.engine.steps import Convolve
from models.neuron import SpikingNetwork

# Kernels that no run has compiled before take a minute of a busy machine.
pytestmark = pytest.mark.timeout(600)


def answers(compiled: CompiledNetwork, network: SpikingNetwork) -> torch.Tensor:
    return torch.stack([compiled.step(x.to(torch.uint8).numpy()).clone() for x in 3 * counts(network, 4, 1)])


def test_a_small_network_is_not_measured(lively: Lively[SpikingNetwork], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_network(small_network("spikformer", lively).float())
    monkeypatch.setattr(tuning, "_shortest_ns", lambda *_: pytest.fail("measured"))
    tuning.tune(compiled)
    assert compiled.n_threads == 1


def test_after_measuring_every_layer_knows_its_density_and_the_answers_are_the_same(
    lively: Lively[SpikingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_LARGE_MACS": 0, "_LAYER_MACS": 0, "_MAX_THREADS": 1}.items():
        monkeypatch.setattr(tuning, name, value)
    network = small_network("spikformer", lively).float()
    compiled = compile_network(network)
    before = answers(compiled, network)
    compiled.reset()
    tuning.tune(compiled)
    steps = [step for step in compiled.plans[-1].steps if isinstance(step, Convolve)]
    assert all(0.0 <= step.dense_above < math.inf for step in steps)
    torch.testing.assert_close(answers(compiled, network), before, rtol=0, atol=1e-3)


def test_the_dense_product_begins_where_the_sparse_one_costs_as_much(
    lively: Lively[SpikingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_network(small_network("spikformer", lively).float())
    step = next(step for step in compiled.plans[-1].steps if isinstance(step, Convolve))
    # dense 900 ns, no spike 100 ns, a quarter of all inputs 100 ns more
    monkeypatch.setattr(tuning, "_shortest_ns", lambda idle, busy, dense: [100, 200, 900])
    monkeypatch.setattr(tuning, "has_fast_bfloat16", lambda: False)
    tuning._find_density(step, 1)
    a_quarter = int((step.scan.x != 0).sum())  # as it was left lit
    assert step.dense_above == pytest.approx(8 * a_quarter)
