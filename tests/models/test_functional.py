"""LIF steps against hand-computed traces and the released neuron."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import Golden

from models.functional import LIFParameters, lif, lif_step, plif, sfa, spike_train
from models.surrogate import count

CASES = {
    "sig_hard_detach_th1": LIFParameters(),
    "sig_hard_detach_th05": LIFParameters(v_threshold=0.5),
    "sig_hard_nodetach_th1": LIFParameters(detach_reset=False),
    "sig_soft_detach_th1": LIFParameters(v_reset=None),
    "sig_hard_detach_nodecay": LIFParameters(decay_input=False),
    "sig_hard_detach_tau15": LIFParameters(tau=1.5),
    "atan_hard_detach_th1": LIFParameters(surrogate="atan", alpha=2.0),
}


def test_constant_current_of_one_and_a_half_fires_at_every_second_bin() -> None:
    # H = 0.75, then 0.75 + (1.5 - 0.75) / 2 = 1.125 >= 1: fires and returns to 0
    x = torch.full((4, 1), 1.5, dtype=torch.float64)
    spikes, v = lif(x, None, LIFParameters())
    assert spikes[:, 0].tolist() == [0, 1, 0, 1]
    assert v.item() == 0.0


def test_membrane_exactly_at_threshold_fires() -> None:
    spikes, _ = lif_step(torch.tensor([2.0]), torch.tensor([0.0]), LIFParameters())
    assert spikes.item() == 1.0


def test_soft_reset_keeps_what_is_above_threshold() -> None:
    spikes, v = lif_step(torch.tensor([3.0]), torch.tensor([0.0]), LIFParameters(v_reset=None))
    assert (spikes.item(), v.item()) == (1.0, 0.5)


def test_detached_membrane_sends_no_gradient_to_earlier_bins() -> None:
    x = torch.full((3, 1), 0.6, requires_grad=True)
    spikes, _ = lif(x, None, LIFParameters(detach_membrane=True))
    spikes[2].sum().backward()
    assert x.grad is not None
    assert x.grad[:2].abs().sum().item() == 0.0
    assert x.grad[2].item() > 0.0


@pytest.mark.parametrize("case", CASES)
def test_released_neuron_gives_the_same_spikes_membranes_and_gradients(case: str, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "lif_multistep")
    x = golden["in/x"].requires_grad_()
    spikes, _ = lif(x, None, CASES[case])
    (spikes * golden["in/grad_out"]).sum().backward()
    v, membranes = torch.zeros_like(x[0]), []
    for x_t in x.detach():
        _, v = lif_step(x_t, v, replace(CASES[case]))
        membranes.append(v)
    assert torch.equal(spikes, golden[f"out/{case}.spike"])
    torch.testing.assert_close(torch.stack(membranes), golden[f"out/{case}.v"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x.grad, golden[f"out/{case}.grad_x"], rtol=0, atol=1e-9)


def test_learned_leak_of_w_zero_is_tau_two_and_its_gradient_is_that_of_the_formula() -> None:
    x = torch.tensor([[0.8, 1.9], [1.5, 2.5]], dtype=torch.float64)
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    parameters = LIFParameters(surrogate="atan", alpha=2.0)
    spikes, v = plif(x, None, w, parameters)
    expected, expected_v = lif(x, None, parameters)
    assert torch.equal(spikes, expected)
    assert torch.equal(v, expected_v)
    # first bin: H = x sigmoid(w), so ds/dw = surrogate(H - 1) x / 4
    (gradient,) = torch.autograd.grad(spikes[0].sum(), w)
    slope = 1.0 / (1.0 + (torch.pi * (x[0] / 2 - 1.0)) ** 2)
    torch.testing.assert_close(gradient, (slope * x[0] / 4).sum())


def test_sfa_neuron_fires_whole_numbers_and_keeps_the_rest() -> None:
    # 2.6 -> 3, rest -0.4; -0.4 + 2.6 = 2.2 -> 2, rest 0.2; 0.2 + 9 = 9.2 -> 4 at most, rest 5.2
    x = torch.tensor([[2.6], [2.6], [9.0]], dtype=torch.float64)
    counts, v = sfa(x, None, LIFParameters(n_levels=4))
    assert counts[:, 0].tolist() == [3.0, 2.0, 4.0]
    assert v.item() == pytest.approx(5.2)


@pytest.mark.parametrize("n_levels", [2, 4, 8])
def test_released_sfa_neuron_gives_the_same_counts_and_gradients(n_levels: int, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "sfa_neuron")
    x = golden[f"x{n_levels}"].requires_grad_()
    y = sfa(x.unsqueeze(0), None, LIFParameters(n_levels=n_levels))[0][0] / n_levels  # the released one divides by its levels
    (y * golden[f"grad_out{n_levels}"]).sum().backward()
    assert torch.equal(y, golden[f"y{n_levels}"])
    torch.testing.assert_close(x.grad, golden[f"grad_in{n_levels}"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("case", "n_levels", "divisor"), [("d4", 4, 4.0), ("d8", 8, 8.0), ("d4_norm1", 4, 1.0)])
def test_released_multi_level_spike_is_the_sfa_neuron(case: str, n_levels: int, divisor: float, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "multispike_sfa")
    x = golden["in/x"].requires_grad_()
    y = count(x, n_levels) / divisor
    (y * golden["in/grad_out"]).sum().backward()
    assert torch.equal(y, golden[f"out/{case}.y"])
    torch.testing.assert_close(x.grad, golden[f"out/{case}.grad_x"], rtol=0, atol=1e-9)


def test_spike_train_of_a_count_gives_any_linear_layer_the_same_sum(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "sfa_neuron")
    counts, weight = golden["counts"], golden["weight"]
    train = spike_train(counts, 4)
    assert torch.equal(train, golden["substeps"])
    assert set(train.unique().tolist()) == {0.0, 1.0}
    # the released sums are of counts divided by their four levels
    torch.testing.assert_close((train @ weight.T).sum(0) / 4, golden["y_sub"], rtol=0, atol=1e-9)
    torch.testing.assert_close(counts @ weight.T / 4, golden["y_int"], rtol=0, atol=1e-9)


def test_gradient_of_a_detached_sfa_reset_reaches_later_bins_in_full() -> None:
    # H1 = 1.3 fires 1; H2 = 0.3 + 1.3 = 1.6 fires 2, and dH2/dx1 is 1 only because the reset carries no gradient
    for detach_reset, wanted in ((True, 2.0), (False, 1.0)):
        x = torch.tensor([[1.3], [1.3]], requires_grad=True)
        sfa(x, None, LIFParameters(detach_reset=detach_reset))[0].sum().backward()
        assert x.grad is not None
        assert x.grad[0].item() == wanted


def test_counts_round_halves_to_even_or_up_and_gate_their_ends_alike() -> None:
    x = torch.tensor([0.0, 0.5, 1.5, 2.5, 4.0, 4.5], requires_grad=True)
    for is_half_up, counts, gates in (
        (False, [0, 0, 2, 2, 4, 4], [1, 1, 1, 1, 1, 0]),
        (True, [0, 1, 2, 3, 4, 4], [0, 1, 1, 1, 0, 0]),
    ):
        y = count(x, 4, is_half_up=is_half_up)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert (y.tolist(), gradient.tolist()) == (counts, gates)
