"""What one call of a layer cost: checked against loops that touch every synapse, and values that fit on paper."""

import numpy as np
import pytest
import torch
from torch import nn

from models.operations import NumberConvolution, NumberLinear, Operations, counter_of, total
from models.zoo.bestformer import SpikeProduct
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import SpikeSum, SpikingProduct
from models.zoo.spikingresformer import CurrentProduct


def _operations(layer: nn.Module, *inputs: torch.Tensor) -> Operations:
    with torch.inference_mode():
        return _count(layer, inputs, layer(*inputs))


def _count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> Operations:
    counter = counter_of(layer)
    assert counter is not None
    return counter(inputs, output)


def test_one_spike_in_the_middle_reaches_nine_places_in_each_output_channel() -> None:
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 2, 2] = 1.0
    operations = _operations(nn.Conv2d(2, 4, kernel_size=3, padding=1), x)
    assert operations.sops == 9 * 4
    assert operations.macs == 25 * 4 * 9 * 2
    assert (operations.n_spikes, operations.n_inputs, operations.density) == (1, 50, 0.02)


def test_spike_in_the_corner_reaches_four_places_and_a_count_of_two_costs_twice() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 0, 0] = 2.0
    assert _operations(nn.Conv2d(1, 3, kernel_size=3, padding=1), x).sops == 2 * 4 * 3


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [(3, 1, 1, 1, 1), (3, 2, 1, 1, 1), (3, 1, 1, 1, 2), (1, 4, 0, 1, 1), (2, 2, 0, 1, 1), (3, 1, 2, 2, 4)],
)
def test_convolution_equals_the_count_of_touched_synapses(
    kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    x = torch.randint(0, 3, (2, 4, 6, 7), generator=torch.Generator().manual_seed(0)).float()
    convolution = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias=False)
    nn.init.ones_(convolution.weight)
    # with all weights one, the sum of the outputs is the number of additions
    assert _operations(convolution, x).sops == round(convolution(x).sum().item())


def test_convolution_over_a_line_equals_the_count_of_touched_synapses() -> None:
    x = torch.randint(0, 2, (3, 4, 9), generator=torch.Generator().manual_seed(0)).double()
    convolution = nn.Conv1d(4, 5, kernel_size=5, padding=2, bias=False).double()
    nn.init.ones_(convolution.weight)
    assert _operations(convolution, x).sops == round(convolution(x).sum().item())


def test_linear_layer_costs_a_column_for_each_spike() -> None:
    x = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert _operations(nn.Linear(3, 7), x) == Operations(macs=2 * 3 * 7, sops=3 * 7, n_spikes=3, n_inputs=6)


def test_layers_that_see_numbers_cost_multiply_accumulates() -> None:
    linear = _operations(NumberLinear(3, 7), torch.full((2, 3), -0.5))
    assert linear == Operations(macs=2 * 3 * 7, is_dense=True)
    convolution = _operations(NumberConvolution(4, 6, kernel_size=3, padding=1, groups=2), torch.rand(1, 4, 5, 5))
    assert convolution == Operations(macs=25 * 6 * 9 * 2, is_dense=True)


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
    operations = _operations(SpikingProduct(), q, k, v)
    assert operations.sops == additions
    assert operations.macs == 2 * 2 * n_tokens * n_tokens * 5
    assert operations.is_product


def test_product_of_keys_and_values_first_costs_so_for_few_tokens_too() -> None:
    q = torch.tensor([[1.0, 1.0, 0.0]]).view(1, 1, 1, 1, 3)
    k = torch.tensor([[0.0, 1.0, 1.0]]).view(1, 1, 1, 1, 3)
    v = torch.tensor([[1.0, 1.0, 1.0]]).view(1, 1, 1, 1, 3)
    # two key spikes meet three value spikes; each of two query spikes adds a row of three
    assert _operations(KeyValueProduct(), q, k, v).sops == 2 * 3 + 2 * 3


def test_product_of_spikes_costs_an_addition_where_both_fire() -> None:
    a = torch.tensor([[1.0, 1.0, 0.0]])
    b = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert _operations(SpikeProduct(), a, b) == Operations(macs=6, sops=3, n_spikes=7, n_inputs=9, is_product=True)


def test_sum_costs_an_addition_a_spike() -> None:
    assert _operations(SpikeSum(dim=1), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])).sops == 3


def test_product_of_a_current_costs_a_column_for_each_spike() -> None:
    s = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert _operations(CurrentProduct(), torch.full((7, 3), -0.5), s).sops == 3 * 7


def test_more_spikes_than_float32_can_count_are_counted() -> None:
    n = 2**24 + 1  # the first whole number that float32 has not
    spikes = torch.ones(1).expand(n // 97, 97)
    assert n % 97 == 0
    assert total(spikes) == n


def test_counts_without_data_are_dense_ones_alone() -> None:
    x = torch.zeros(1, 2, 8, 8, device="meta")
    with torch.device("meta"):
        layer = nn.Conv2d(2, 4, kernel_size=3, padding=1)
    assert _count(layer, (x,), layer(x)) == Operations(macs=64 * 4 * 9 * 2, n_inputs=128)


def test_a_layer_of_ones_own_says_what_it_costs() -> None:
    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

        def operations(self, inputs: tuple[torch.Tensor], output: torch.Tensor) -> Operations:
            return Operations(macs=5, sops=int(inputs[0].sum()))

    assert _operations(Own(), torch.ones(3)) == Operations(macs=5, sops=3)
    assert counter_of(nn.BatchNorm2d(3)) is None


def test_operations_of_two_calls_add_up() -> None:
    operations = Operations(1, 2, 3, 4)
    operations.add(Operations(10, 20, 30, 40, is_dense=True))
    assert operations == Operations(11, 22, 33, 44, is_dense=True)
    assert operations.density == pytest.approx(np.float64(33 / 44))
