"""The kernels as torch operators: what autograd and the compiler are told of them holds."""

import pytest
import torch
from lif_cases import check_agreement, make_currents

from models import functional
from models.functional import LIFParameters
from models.kernels import operators

SETTINGS = (2.0, 1.0, 0.0, True, True, False, "sigmoid", 4.0)


def checks(operator: object, *inputs: object) -> dict[str, str]:
    return torch.library.opcheck(operator, inputs)  # type: ignore[arg-type]


def test_operator_keeps_what_it_says_of_itself() -> None:
    x, v, _ = make_currents(3, 2, 5)
    leak = torch.tensor(0.5, requires_grad=True)
    found = checks(torch.ops.saccade.lif.default, x.requires_grad_(), v.requires_grad_(), leak, *SETTINGS)
    assert set(found.values()) == {"SUCCESS"}


def test_operator_of_inference_keeps_what_it_says_of_itself() -> None:
    x, v, _ = make_currents(3, 2, 5)
    found = checks(torch.ops.saccade.lif_spikes.default, x, v, None, None, 1, "bits", *SETTINGS)
    assert set(found.values()) == {"SUCCESS"}


def test_operator_in_place_changes_what_it_says() -> None:
    x, v, _ = make_currents(1, 9)
    found = checks(torch.ops.saccade.lif_step_.default, x[0], v, torch.empty(9), None, None, 1, *SETTINGS)
    assert set(found.values()) == {"SUCCESS"}


def test_channels_last_stays_channels_last() -> None:
    x, v, upstream = make_currents(4, 2, 6, 5, 3)
    x = x.permute(0, 1, 4, 2, 3)
    v, upstream = v.permute(0, 3, 1, 2), upstream.permute(0, 1, 4, 2, 3)
    spikes, membrane = operators.lif(x, v, LIFParameters())
    assert spikes.stride() == x.stride()
    assert membrane.stride() == x[0].stride()
    check_agreement(operators, (x, v, upstream), LIFParameters())


def test_currents_with_gaps_are_taken_too() -> None:
    x, v, upstream = make_currents(4, 2, 6)
    check_agreement(operators, (x[:, :, ::2], v[:, ::2], upstream[:, :, ::2]), LIFParameters())


def test_bins_that_are_not_outermost_in_memory_are_taken_too() -> None:
    x, v, upstream = make_currents(4, 6)
    check_agreement(operators, (x.t().contiguous().t(), v, upstream), LIFParameters())


def test_one_bin_and_no_neurons_are_taken_too() -> None:
    check_agreement(operators, make_currents(1, 6), LIFParameters())
    spikes, membrane = operators.lif(torch.zeros(3, 0), None, LIFParameters())
    assert spikes.shape == (3, 0)
    assert membrane.shape == (0,)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_network_gives_the_same() -> None:
    x, _, _ = make_currents(5, 40)

    def network(currents: torch.Tensor) -> torch.Tensor:
        return operators.lif(currents * 2.0, None, LIFParameters())[0].sum(dim=0)

    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), functional.lif(x * 2.0, None, LIFParameters())[0].sum(dim=0))
