"""Quantisers against the released ones, forward and backward, and what they do to a network."""

from pathlib import Path

import pytest
import torch
from golden import Golden
from safetensors.torch import load, save
from torch import Tensor, nn

from models.neuron import SpikingNetwork
from models.quantisation import LSQ, DuQ, Quantisation, bake, duq, lsq, prune, quantise, weighted_layers
from models.registry import create_network
from models.surrogate import round_through
from pipeline.schema.errors import ConfigurationError


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_released_duq_gives_the_same_weights_and_gradients(bits: int, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "hwq_duq")
    weight = golden["weight"].requires_grad_()
    a, c = (torch.tensor(golden.description[name], dtype=torch.float64, requires_grad=True) for name in "ac")
    quantised = duq(weight, a, c, bits)
    (quantised * golden["grad_out"]).sum().backward()
    torch.testing.assert_close(quantised, golden[f"q{bits}"], rtol=0, atol=1e-9)
    torch.testing.assert_close(weight.grad, golden[f"q{bits}.grad_weight"], rtol=0, atol=1e-9)
    torch.testing.assert_close(a.grad, golden[f"q{bits}.grad_a"][0], rtol=0, atol=1e-9)
    torch.testing.assert_close(c.grad, golden[f"q{bits}.grad_c"][0], rtol=0, atol=1e-9)


def test_range_of_duq_begins_at_three_standard_deviations(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "hwq_duq")
    rule = DuQ(golden["weight"], 2)
    assert rule.a.item() == pytest.approx(golden.description["a_init_gaussian"], abs=1e-9)
    assert rule.c.item() == rule.a.item()


def test_released_ewgs_rounding_gives_the_same_gradient(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "hwq_duq")
    x = golden["ewgs_x"].requires_grad_()
    y = round_through(x, golden.description["ewgs_delta"])
    (y * golden["ewgs_grad_out"]).sum().backward()
    torch.testing.assert_close(y, golden["ewgs_y"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x.grad, golden["ewgs_grad_in"], rtol=0, atol=1e-9)


def test_released_lsq_convolution_gives_the_same_outputs_and_gradients(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "qsd_lsq")
    weight, alpha = golden["weight"].requires_grad_(), golden["alpha"].requires_grad_()
    y = nn.functional.conv2d(golden["x"], lsq(weight, alpha, 4), padding=1)
    (y * golden["grad_out"]).sum().backward()
    torch.testing.assert_close(y, golden["y"], rtol=0, atol=1e-9)
    torch.testing.assert_close(weight.grad, golden["grad_weight"], rtol=0, atol=1e-9)
    torch.testing.assert_close(alpha.grad, golden["grad_alpha"], rtol=0, atol=1e-9)


def test_steps_of_lsq_begin_with_the_mean_weight_of_their_channel() -> None:
    weight = torch.tensor([[0.5, -1.5], [0.0, 0.0]])
    # 2 mean|w| / sqrt(7); a channel of zeros takes the mean step of the layer
    assert LSQ(weight, 4).alpha.tolist() == pytest.approx([2.0 / 7**0.5, 1.0 / 7**0.5])


def test_ternary_weights_are_minus_nothing_or_plus() -> None:
    weight = torch.tensor([-2.0, -0.6, -0.4, 0.0, 0.4, 0.6, 2.0])
    assert duq(weight, torch.tensor(1.0), torch.tensor(0.5), 2).tolist() == [-0.5, -0.5, 0.0, 0.0, 0.0, 0.5, 0.5]


def _network() -> SpikingNetwork:
    torch.manual_seed(0)
    network = create_network("spikformer", dim=32, n_heads=4, n_classes=5, size=(32, 32))
    assert isinstance(network, SpikingNetwork)
    return network


def _levels(weight: Tensor) -> int:
    return len(weight.unique())


@pytest.mark.parametrize(("rule", "bits", "most"), [("duq", 2, 3), ("duq", 4, 15), ("lsq", 2, 4 * 32), ("lsq", 4, 16 * 32)])
def test_quantised_network_has_that_many_levels_and_its_plain_names_again_when_baked(rule: str, bits: int, most: int) -> None:
    network, plain = _network(), set(_network().state_dict())
    quantise(network, Quantisation(rule, bits))  # type: ignore[arg-type]
    layer = network.blocks[0].mlp.fc2.lin
    assert 1 < _levels(layer.weight) <= most  # LSQ has a step for each of 32 channels
    x = torch.poisson(torch.full((2, 2, 2, 32, 32), 0.5), generator=torch.Generator().manual_seed(1))
    network.eval()
    with torch.no_grad():
        trained = network(x)
        bake(network)
        assert set(network.state_dict()) == plain
        assert torch.equal(network(x), trained)
    restored = _network().eval()
    restored.load_state_dict(load(save(network.state_dict())))
    assert torch.equal(restored(x), trained)


def test_training_moves_weights_ranges_and_levels_through_the_quantiser() -> None:
    network = _network().train()
    quantise(network, Quantisation("duq", 2))
    rule = network.head.parametrizations.weight[0]
    before = [p.detach().clone() for p in (network.head.parametrizations.weight.original, rule.a, rule.c)]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    x = torch.poisson(torch.full((3, 4, 2, 32, 32), 1.0), generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), torch.tensor([0, 1, 2, 3])).backward()
        optimiser.step()
    after = (network.head.parametrizations.weight.original, rule.a, rule.c)
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert _levels(network.head.weight) <= 3


def test_layers_that_are_to_be_kept_keep_their_weights() -> None:
    network, plain = _network(), _network()
    quantise(network, Quantisation(), keep=["stem.stages.0.conv", "head"])
    assert torch.equal(network.head.weight, plain.head.weight)
    assert _levels(network.stem.stages[0].conv.weight) > 3
    assert _levels(network.stem.stages[1].conv.weight) == 3


def test_pruning_hides_the_smallest_weights_of_all_layers_together() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    network[0].weight.data.copy_(torch.tensor([[0.1, -4.0], [0.3, 2.0]]))
    network[1].weight.data.copy_(torch.tensor([[-0.2, 3.0]]))
    prune(network, 0.5)
    assert network[0].weight.tolist() == [[0.0, -4.0], [0.0, 2.0]]
    assert network[1].weight.tolist() == [[0.0, 3.0]]
    network(torch.ones(1, 2)).sum().backward()
    assert network[1].parametrizations.weight.original.grad[0, 0] == 0.0  # what is hidden does not learn


@pytest.mark.parametrize("is_joint", [False, True])
def test_pruned_and_ternary_weights_hold_both(is_joint: bool) -> None:
    network, plain = _network(), _network()
    steps = [lambda: prune(network, 0.8), lambda: quantise(network, Quantisation("duq", 2))]
    for step in reversed(steps) if is_joint else steps:
        step()
    bake(network)
    weights = [layer.weight for _, layer in weighted_layers(network)]
    assert all(_levels(weight) <= 3 for weight in weights)
    sizes = torch.cat([layer.weight.abs().flatten() for _, layer in weighted_layers(plain)])
    n_zero = sum(int((weight == 0).sum()) for weight in weights)
    assert 0.8 * sizes.numel() <= n_zero < sizes.numel()


@pytest.mark.parametrize("quantisation", [Quantisation("duq", 1), Quantisation("lsq", 9), Quantisation("binary", 2)])  # type: ignore[arg-type]
def test_rules_and_bits_that_there_are_not_are_refused(quantisation: Quantisation) -> None:
    with pytest.raises(ConfigurationError, match="2 to 8 bits"):
        quantise(_network(), quantisation)


def test_a_layer_of_zeros_and_a_sparsity_of_all_are_refused() -> None:
    network = _network()
    nn.init.zeros_(network.head.weight)
    with pytest.raises(ConfigurationError, match="head has no weight but 0"):
        quantise(network, Quantisation())
    with pytest.raises(ConfigurationError, match="sparsity"):
        prune(_network(), 1.0)
