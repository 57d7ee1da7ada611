"""A compiled network answers, remembers and counts as the plain one does; what cannot be compiled says why."""

from typing import Any

import numpy as np
import pytest
import torch
from golden import Lively
from small_networks import CASES, counts, small_network
from torch import nn

from models.energy import SpikeMeter
from models.engine.compiled import CompiledNetwork, compile_network
from models.engine.graph import NotCapturedError
from models.engine.steps import Convolve, Dense
from models.neuron import SpikingNetwork


def compiled_pair(case: str, lively: Lively[SpikingNetwork]) -> tuple[SpikingNetwork, CompiledNetwork]:
    network = small_network(case, lively).float()
    return network, compile_network(network)


def lit(network: SpikingNetwork, n_bins: int, n_streams: int = 1) -> torch.Tensor:
    """So many events that spikes reach the head within a few bins: (T, B, 2, H, W)."""
    return 3 * counts(network, n_bins, n_streams).float()


def plain_steps(network: SpikingNetwork, n_bins: int) -> list[torch.Tensor]:
    """Logits of each bin."""
    state, logits = None, []
    with torch.inference_mode():
        for x in lit(network, n_bins):
            logits_t, state = network.step(x, state)
            logits.append(logits_t)
    return logits


def compiled_steps(compiled: CompiledNetwork, network: SpikingNetwork, n_bins: int) -> list[torch.Tensor]:
    return [compiled.step(x.to(torch.uint8).numpy()).clone() for x in lit(network, n_bins)]


@pytest.mark.parametrize("case", CASES)
def test_compiled_network_answers_remembers_and_counts_as_the_plain_one(case: str, lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair(case, lively)
    meter, state, is_silent = SpikeMeter(network), None, True
    for x in lit(network, 5):
        meter.read()
        with torch.inference_mode():
            wanted, state = network.step(x, state)
        found = compiled.step(x.to(torch.uint8).numpy())
        torch.testing.assert_close(found, wanted, rtol=0, atol=max(1e-3, 5e-3 * wanted.abs().max().item()))
        is_silent &= not wanted.any()
        seen = meter.read()
        operations = compiled.operations()
        assert list(operations) == list(seen.layers)
        # a neuron that rounds half up may stand on the edge, and then one spike more or less is right
        slack = 0.02 if "sfa" in case else 0.0
        for name, layer in seen.layers.items():
            assert operations[name].macs == layer.macs
            assert operations[name].is_dense == layer.is_dense
            assert operations[name].sops == pytest.approx(layer.sops, rel=slack)
            assert operations[name].n_spikes == pytest.approx(layer.n_spikes, rel=slack)
    assert state is not None
    assert not is_silent
    remembered = compiled.state()
    assert remembered.keys() == state.keys()
    if "sfa" not in case:
        for key, value in state.items():
            torch.testing.assert_close(remembered[key], value, rtol=0, atol=1e-4)


def test_reset_forgets_all_membranes_and_histories(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("tim", lively)
    first = compiled_steps(compiled, network, 4)
    compiled.reset()
    again = compiled_steps(compiled, network, 4)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[3])


def test_streams_side_by_side_answer_each_for_itself(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively).float()
    compiled = compile_network(network, n_streams=3)
    state = None
    for x in lit(network, 5, 3):
        with torch.inference_mode():
            wanted, state = network.step(x, state)
        torch.testing.assert_close(compiled.step(x.to(torch.uint8).numpy()), wanted, rtol=0, atol=1e-3)


def test_multiplied_whole_every_layer_answers_as_it_does_from_its_spikes(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("spikformer", lively)
    sparse = compiled_steps(compiled, network, 3)
    compiled.reset()
    steps = [step for step in compiled.plans[0].steps if isinstance(step, Convolve)]
    for step in steps:
        step.dense_above = 0
    dense = compiled_steps(compiled, network, 3)
    assert len(steps) == 17  # five convolutions of the stem, six of each block
    torch.testing.assert_close(torch.stack(dense), torch.stack(sparse), rtol=0, atol=1e-3)


def test_bfloat16_products_are_those_of_float32_to_two_digits(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("spikformer", lively)
    compiled_steps(compiled, network, 3)
    steps = [step for step in compiled.plans[0].steps if isinstance(step, Convolve)]
    for step in (steps[2], steps[6]):  # one 3x3, one over tokens
        assert step.dense is not None
        step.dense.run()
        wanted = step.dense.currents.clone()
        Dense(step.dense.x, step.dense.convolution, step.dense.currents, step.dense.flat, torch.bfloat16).run()
        error = (step.dense.currents - wanted).abs().max() / wanted.abs().max()
        assert 0.0 < error < 0.02


@pytest.mark.slow
def test_two_threads_answer_as_one(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("spikformer", lively)
    one = compiled_steps(compiled, network, 3)
    compiled.reset()
    compiled.n_threads = 2
    assert torch.equal(torch.stack(compiled_steps(compiled, network, 3)), torch.stack(one))


def test_a_bin_asks_for_no_memory_after_the_first_ones(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("tim", lively)
    frames = [x.to(torch.uint8).numpy() for x in lit(network, 4)]
    for frame in frames:
        compiled.step(frame)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        for frame in frames:
            compiled.step(frame)
    asked = {event.key: event.self_cpu_memory_usage for event in profile.key_averages() if event.self_cpu_memory_usage > 0}
    assert sum(asked.values()) < 64  # in four bins: torch puts a number or two into tensors of their own


def test_an_empty_bin_touches_no_weights(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.zeros_(module.bias)
            nn.init.zeros_(module.running_mean)
    compiled = compile_network(network)
    compiled.step(np.zeros((1, 2, 32, 32), np.uint8))
    assert [step.scan.n_active for step in compiled.plans[0].steps if isinstance(step, Convolve)] == [0] * 17


def test_empty_bins_between_others_change_no_answer(lively: Lively[SpikingNetwork]) -> None:
    network, compiled = compiled_pair("spikformer", lively)
    state = None
    busy = lit(network, 4)
    for x in (busy[0], busy[1], 0 * busy[0], 0 * busy[0], busy[2], 0 * busy[0], busy[3], busy[0]):
        with torch.inference_mode():
            wanted, state = network.step(x, state)
        torch.testing.assert_close(compiled.step(x.to(torch.uint8).numpy()), wanted, rtol=0, atol=1e-3)


# Kernels that no run has compiled before take a minute of a busy machine.
pytestmark = pytest.mark.timeout(600)


class Chooser(SpikingNetwork):
    """A network that looks at the frame to decide what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)
        self.configuration: Any = type("Configuration", (), {"size": (8, 8), "in_channels": 2})()

    def run(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        y = self.head(x.mean(dim=(3, 4)))
        return (y if x.sum() > 0 else -y), {}


class Hoarder(Chooser):
    """A network that remembers every frame it saw."""

    def run(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        seen = x[0] if state is None else torch.cat([state["seen"], x[0]], dim=1)
        return self.head(x.mean(dim=(3, 4))), {"seen": seen}


class Inscriber(Chooser):
    """A network that writes into what it computed."""

    def run(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        y = x * 2
        y.clamp_(max=1)
        return self.head(y.mean(dim=(3, 4))), {}


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Chooser(), "it decides by values"),
        (Hoarder(), "grows from bin to bin"),
        (Inscriber(), "it writes into what it computed"),
        (Chooser().double(), "not float32"),
    ],
)
def test_what_cannot_be_compiled_says_why(network: nn.Module, why: str) -> None:
    with pytest.raises(NotCapturedError, match=why):
        compile_network(network.eval())
