"""What every network of the registry promises alike: streams, steps and gradients (design 5); states in `test_state`."""

import pytest
import torch
from golden import Lively
from small_networks import CASES, counts, small_network

from models.neuron import SpikingNetwork


@pytest.mark.parametrize("case", CASES)
def test_mean_of_steps_from_rest_equals_the_whole_window(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively)
    x = counts(network, 5, 2)
    with torch.no_grad():
        state, logits = None, []
        for x_t in x:
            logits_t, state = network.step(x_t, state)
            logits.append(logits_t)
        torch.testing.assert_close(torch.stack(logits).mean(0), network(x), rtol=0, atol=1e-6)
        assert torch.stack(logits).std(dim=0).max() > 0.01  # bins differ


@pytest.mark.parametrize("case", CASES)
def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively)
    x = counts(network, 4, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_reaches_every_parameter(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively)
    network(counts(network, 4, 2)).square().sum().backward()
    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert silent == []
