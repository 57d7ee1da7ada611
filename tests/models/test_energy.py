"""Operations are counted from the spikes that really flowed: checked against loops that touch every synapse."""

import pytest
import torch
from torch import nn

from models.energy import SpikeMeter, energy_uj
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import SpikeSum, SpikingProduct
from models.zoo.spikingresformer import CurrentProduct


def _metered(module: nn.Module, *inputs: torch.Tensor) -> float:
    meter = SpikeMeter(nn.Sequential(nn.Identity(), module) if len(inputs) == 1 else _First(module))
    container = meter  # keeps the hooks alive
    with torch.inference_mode():
        module(*inputs)
    reading = container.read()
    meter.close()
    return sum(layer.sops for layer in reading.layers.values())


class _First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


def test_one_spike_in_the_middle_reaches_nine_places_in_each_output_channel() -> None:
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 2, 2] = 1.0
    assert _metered(nn.Conv2d(2, 4, kernel_size=3, padding=1), x) == 9 * 4


def test_spike_in_the_corner_reaches_four_places_and_a_count_of_two_costs_twice() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 0, 0] = 2.0
    assert _metered(nn.Conv2d(1, 3, kernel_size=3, padding=1), x) == 2 * 4 * 3


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2)])
def test_convolution_equals_the_count_of_touched_synapses(stride: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (2, 4, 6, 7), generator=generator).float()
    convolution = nn.Conv2d(4, 6, kernel_size=3, stride=stride, padding=1, groups=groups, bias=False)
    nn.init.ones_(convolution.weight)
    # with all weights one, the sum of the outputs is the number of additions
    assert _metered(convolution, x) == pytest.approx(convolution(x).sum().item())


@pytest.mark.parametrize("n_tokens", [3, 7])
def test_product_costs_its_matches_and_then_a_row_for_each_spike(n_tokens: int) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randint(0, 2, (1, 1, 2, n_tokens, 5), generator=generator).float() for _ in range(3))
    additions = 0
    for head in range(2):
        queries, keys, values = (x[0, 0, head] for x in (q, k, v))
        if n_tokens <= 5:
            additions += int(sum((a * b).sum() for a in queries for b in keys)) + int(values.sum()) * n_tokens
        else:
            additions += int(sum(a.sum() * b.sum() for a, b in zip(keys, values, strict=True))) + int(queries.sum()) * 5
    assert _metered(SpikingProduct(), q, k, v) == additions


def test_product_of_keys_and_values_first_costs_so_for_few_tokens_too() -> None:
    q = torch.tensor([[1.0, 1.0, 0.0]]).view(1, 1, 1, 1, 3)
    k = torch.tensor([[0.0, 1.0, 1.0]]).view(1, 1, 1, 1, 3)
    v = torch.tensor([[1.0, 1.0, 1.0]]).view(1, 1, 1, 1, 3)
    # two key spikes meet three value spikes; each of two query spikes adds a row of three
    assert _metered(KeyValueProduct(), q, k, v) == 2 * 3 + 2 * 3


def test_sum_costs_an_addition_a_spike() -> None:
    assert _metered(SpikeSum(dim=1), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])) == 3


def test_product_of_a_current_costs_a_column_for_each_spike() -> None:
    s = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert _metered(CurrentProduct(), torch.full((7, 3), -0.5), s) == 3 * 7


def test_energy_is_nine_tenths_of_a_picojoule_an_addition_and_four_point_six_a_mac() -> None:
    assert energy_uj(1_000_000, 0) == pytest.approx(0.9)
    assert energy_uj(0, 1_000_000) == pytest.approx(4.6)
