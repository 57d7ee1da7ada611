"""The numba twin agrees with the plain step."""

from dataclasses import replace

import pytest
import torch

from models import functional
from models.functional import LIFParameters
from models.kernels import lif_cpu

CASES = [
    LIFParameters(),
    LIFParameters(v_threshold=0.5, surrogate="atan", alpha=2.0),
    LIFParameters(v_reset=None, detach_reset=False),
    LIFParameters(detach_reset=False, surrogate="triangle", alpha=1.0),
    LIFParameters(decay_input=False, tau=1.5, v_reset=0.1),
    LIFParameters(detach_membrane=True),
]


@pytest.mark.parametrize("parameters", CASES)
def test_spikes_membranes_and_gradients_agree_away_from_the_threshold(parameters: LIFParameters) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 1.2 * torch.randn(7, 3, 1001, generator=generator) + 0.5
    v = 0.3 * torch.randn(3, 1001, generator=generator)
    upstream = torch.randn(7, 3, 1001, generator=generator)
    results = []
    for lif in (functional.lif, lif_cpu.lif):
        x_, v_ = x.clone().requires_grad_(), v.clone().requires_grad_()
        spikes, membrane = lif(x_, v_, parameters)
        ((spikes * upstream).sum() + (membrane * upstream[0]).sum()).backward()
        v_gradient = torch.zeros_like(v) if v_.grad is None else v_.grad
        results.append((spikes, membrane, x_.grad, v_gradient))
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


def test_membrane_given_is_not_changed() -> None:
    v = torch.full((5,), 0.4)
    lif_cpu.lif(torch.ones(2, 5), v, replace(LIFParameters()))
    assert v.tolist() == pytest.approx([0.4] * 5)
