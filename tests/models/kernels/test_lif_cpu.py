"""The numba twin agrees with the plain step, in every type and layout that it takes."""

import numpy as np
import pytest
import torch
from lif_cases import CASES, apply_affine, check_agreement, make_currents

from models import functional
from models.functional import LIFParameters
from models.kernels import lif_cpu, operators
from models.kernels.affine import Affine
from pipeline.schema.errors import ConfigurationError


@pytest.mark.parametrize("parameters", CASES)
def test_spikes_membranes_and_gradients_agree_away_from_the_threshold(parameters: LIFParameters) -> None:
    check_agreement(operators, make_currents(7, 3, 1001), parameters)


def test_several_cores_agree_with_one() -> None:
    check_agreement(operators, make_currents(4, 5, 7001), LIFParameters())


def test_membrane_given_is_not_changed() -> None:
    v = torch.full((5,), 0.4)
    operators.lif(torch.ones(2, 5), v, LIFParameters())
    assert v.tolist() == pytest.approx([0.4] * 5)


def test_one_bin_in_place_follows_the_equations() -> None:
    x, v, spikes = torch.tensor([3.0, 1.0, -1.0]), torch.tensor([0.0, 0.5, 0.5]), torch.empty(3)
    lif_cpu.lif_step_(x, v, spikes, LIFParameters())
    # H = v + (x - v) / 2
    assert spikes.tolist() == [1.0, 0.0, 0.0]
    assert v.tolist() == [0.0, 0.75, -0.25]


def test_prepared_step_keeps_its_membrane_from_bin_to_bin() -> None:
    x, v, spikes = torch.full((3,), 1.5), torch.zeros(3), torch.empty(3, dtype=torch.uint8)
    step = lif_cpu.prepare_step(x, v, spikes, LIFParameters())
    fired = []
    for _ in range(3):
        step()
        fired.append(int(spikes[0]))
    # H: 0.75, then 0.75 + (1.5 - 0.75) / 2 = 1.125 fires, then again from rest
    assert fired == [0, 1, 0]
    assert v.tolist() == [0.75] * 3


@pytest.mark.parametrize("inner", [1, 6, 2500])
def test_folded_bn_is_applied_by_channel(inner: int) -> None:
    scale, shift = torch.tensor([0.5, 2.0, 1.0, -1.0]), torch.tensor([0.25, -0.5, 0.75, 1.25])
    x, v, _ = make_currents(3, 2 * 4 * inner)
    plain, membrane = functional.lif(apply_affine(x, scale, shift, inner), v, LIFParameters())
    spikes, after = operators.lif_spikes(x, v, LIFParameters(), Affine(scale, shift, inner))
    assert torch.equal(spikes, plain)
    torch.testing.assert_close(after, membrane, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [5, 8, 2500])
def test_spikes_as_bytes_and_bits_are_those_as_numbers(n: int) -> None:
    x, v, _ = make_currents(3, n)
    spikes, _ = operators.lif(x, v, LIFParameters())
    as_bytes, _ = operators.lif_spikes(x, v, LIFParameters(), form="bytes")
    as_bits, _ = operators.lif_spikes(x, v, LIFParameters(), form="bits")
    assert as_bytes.dtype == torch.uint8
    assert torch.equal(as_bytes.float(), spikes)
    wanted = np.packbits(spikes.numpy().astype(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(as_bits.numpy(), wanted)


def test_bfloat16_is_summed_up_in_float32() -> None:
    x, v, upstream = make_currents(6, 501)
    x, upstream = x.bfloat16(), upstream.bfloat16()
    leaf, plain_leaf = x.clone().requires_grad_(), x.float().requires_grad_()
    spikes, membrane = operators.lif(leaf, v, LIFParameters())
    plain, plain_membrane = functional.lif(plain_leaf, v, LIFParameters())
    assert spikes.dtype == torch.bfloat16
    assert membrane.dtype == torch.float32
    assert torch.equal(spikes.float(), plain)
    torch.testing.assert_close(membrane, plain_membrane, rtol=1e-5, atol=1e-6)
    spikes.backward(upstream)
    plain.backward(upstream.float())
    assert leaf.grad is not None
    assert plain_leaf.grad is not None
    # half of the last of eight bits
    torch.testing.assert_close(leaf.grad.float(), plain_leaf.grad, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "v", "spikes", "found"),
    [
        (torch.zeros(4, dtype=torch.float16), torch.zeros(4), torch.zeros(4), "torch.float16"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.float64), torch.zeros(4), "torch.float64"),
        (torch.zeros(4), torch.zeros(4), torch.zeros(4, dtype=torch.int64), "torch.int64"),
        (torch.zeros(4), torch.zeros(5), torch.zeros(4), r"\(5,\)"),
        (torch.zeros(4), torch.zeros(4), torch.zeros(3), r"\(1, 3\)"),
    ],
)
def test_what_would_be_misread_is_refused(x: torch.Tensor, v: torch.Tensor, spikes: torch.Tensor, found: str) -> None:
    with pytest.raises(ConfigurationError, match=found):
        lif_cpu.lif_step_(x, v, spikes, LIFParameters())


def test_channels_that_do_not_divide_the_neurons_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="7 neurons"):
        lif_cpu.lif_step_(
            torch.zeros(7), torch.zeros(7), torch.zeros(7), LIFParameters(), Affine(torch.ones(2), torch.ones(2), 1)
        )
