"""SpikingResformer against the released attention and feed-forward, and its own stream."""

from pathlib import Path

import pytest
import torch
from golden import Golden, Lively
from torch import Tensor

from models.energy import SpikeMeter
from models.functional import LIFParameters
from models.neuron import PLIF, Memory, Neuron, name_memories
from models.registry import create_network
from models.zoo.spikformer import ResidualBlock
from models.zoo.spikingresformer import (
    DualSpikeSelfAttention,
    GroupWiseFeedForward,
    SpikingResformer,
    SpikingResformerConfiguration,
)
from pipeline.schema.errors import ConfigurationError

ATAN = LIFParameters(surrogate="atan", alpha=2.0)
SMALL = SpikingResformerConfiguration(
    dim=(16, 32, 64), depth=(1, 1, 1), n_heads=(1, 2, 4), group_size=16, n_classes=5, size=(16, 16)
)
TINY_STAR = {"dim": (64, 192, 384), "neuron": "lif", "group_size": 64}


def _names(key: str) -> str:
    # the released p x p and 1 x 1 convolutions of the attention are dst.weight and proj.weight
    return key.replace("dst.weight", "dst.conv.weight").replace("proj.weight", "proj.conv.weight")


def _attention(golden: Golden, neuron: Neuron) -> DualSpikeSelfAttention:
    wanted = golden.description
    dssa = DualSpikeSelfAttention(wanted["dim"], wanted["heads"], wanted["patch"], neuron, ATAN)
    golden.load(dssa, rename=_names)
    name_memories(dssa)
    return dssa


def _gradient_of(out: Tensor, golden: Golden, x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad((out * golden["in/grad_out"]).sum(), x)
    return gradient


CASES = [("dssa_lif_p1", "lif"), ("dssa_plif_p2", "plif")]


@pytest.mark.parametrize(("file", "neuron"), CASES)
def test_attention_equals_the_released_one(file: str, neuron: Neuron, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", file)
    x = golden["in/x"].requires_grad_()
    out = x + _attention(golden, neuron)(x, Memory(None))
    torch.testing.assert_close(out, golden["out/dssa"], rtol=0, atol=1e-9)
    torch.testing.assert_close(_gradient_of(out, golden, x), golden["out/dssa.grad_x"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("file", "neuron"), CASES)
def test_firing_rates_follow_as_released_in_training(file: str, neuron: Neuron, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", file)
    dssa = _attention(golden, neuron)
    dssa.f_x.zero_()
    dssa.f_attn.zero_()
    dssa.training = True  # of the attention alone: its batch norms stay in evaluation
    for call, key in ((1, "in/x"), (2, "in/x_step2")):
        x = golden[key]
        with torch.no_grad():
            out = x + dssa(x, Memory(None))
        torch.testing.assert_close(dssa.f_x, golden[f"out/ema{call}.f_x"], rtol=0, atol=1e-9)
        torch.testing.assert_close(dssa.f_attn, golden[f"out/ema{call}.f_attn"], rtol=0, atol=1e-9)
    torch.testing.assert_close(out, golden["out/ema2.dssa"], rtol=0, atol=1e-9)


def test_feed_forward_equals_the_released_one(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "gwffn")
    gwffn = GroupWiseFeedForward(16, 4, 16, "lif", ATAN)
    golden.load(gwffn)
    name_memories(gwffn)
    x = golden["in/x"].requires_grad_()
    out = x + gwffn(x, Memory(None))
    torch.testing.assert_close(out, golden["out/gwffn"], rtol=0, atol=1e-9)
    torch.testing.assert_close(_gradient_of(out, golden, x), golden["out/gwffn.grad_x"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "n_parameters"),
    [
        ({"n_classes": 11}, 2_709_830),
        ({"n_classes": 10}, 2_709_638),
        ({"n_classes": 101}, 2_727_110),
        ({"n_classes": 11, **TINY_STAR}, 10_793_536),
        ({"n_classes": 101, **TINY_STAR}, 10_828_096),
    ],
)
def test_parameters_equal_the_published_count(settings: dict[str, object], n_parameters: int) -> None:
    network = create_network("spikingresformer", **settings)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize(
    ("settings", "first", "others", "products"), [({}, 3.54, 1183.32, 243.27), (TINY_STAR, 7.08, 4733.28, 486.54)]
)
def test_dense_operations_of_a_bin_equal_the_measured_ones(
    settings: dict[str, object], first: float, others: float, products: float
) -> None:
    network = create_network("spikingresformer", **settings).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network(torch.zeros(1, 1, 2, 64, 64))
    reading = meter.read()
    meter.close()
    counted = {
        "first": reading.layers["prologue.conv"].macs,
        "products": sum(count.macs for name, count in reading.layers.items() if "product" in name),
    }
    assert round(counted["first"] / 1e6, 2) == first
    assert round(counted["products"] / 1e6, 2) == products
    assert round((reading.macs - sum(counted.values())) / 1e6, 2) == others


def _with_rates(network: SpikingResformer) -> SpikingResformer:
    for module in network.modules():
        if isinstance(module, DualSpikeSelfAttention):
            module.f_x.fill_(0.1)
            module.f_attn.fill_(0.2)
    return network


@pytest.mark.parametrize("split", [1, 2, 5])
def test_any_split_of_the_bins_gives_the_same_logits(split: int, lively: Lively[SpikingResformer]) -> None:
    network = _with_rates(lively(SpikingResformer(SMALL)))
    x = torch.poisson(torch.full((5, 2, 2, 16, 16), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        state, logits = None, []
        for start in range(0, 5, split):
            part, state = network.run(x[start : start + split], state)
            logits.append(part)
        torch.testing.assert_close(torch.cat(logits).mean(0), network(x), rtol=0, atol=1e-6)
        assert torch.cat(logits).std() > 0


def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(lively: Lively[SpikingResformer]) -> None:
    network = _with_rates(lively(SpikingResformer(SMALL)))
    x = torch.poisson(torch.full((4, 3, 2, 16, 16), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


def test_head_on_currents_is_charged_as_multiplications_and_never_as_negative_additions() -> None:
    network = SpikingResformer(SMALL).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.ones(1, 2, 16, 16))
    reading = meter.read()
    meter.close()
    assert reading.first_macs == 9 * 3 * 16 * 16 * 16 + 64 * 5
    assert all(count.sops >= 0.0 for count in reading.layers.values() if not count.is_dense)
    assert len(reading.spikes) == 3 * 6 + 2  # three neurons in each attention and feed-forward, one before each downsampling


def test_untrained_network_in_evaluation_gives_numbers(lively: Lively[SpikingResformer]) -> None:
    network = lively(SpikingResformer(SMALL))
    with torch.no_grad():
        assert network(torch.ones(3, 1, 2, 16, 16, dtype=torch.float64)).isfinite().all()


def test_a_step_of_training_moves_leak_and_rates() -> None:
    network = SpikingResformer(SMALL).train()
    network(torch.poisson(torch.ones(3, 2, 2, 16, 16), generator=torch.Generator().manual_seed(3))).sum().backward()
    attention = next(module for module in network.modules() if isinstance(module, DualSpikeSelfAttention))
    assert isinstance(attention.in_lif, PLIF)
    assert attention.in_lif.w.grad != 0.0
    assert 0.0 < attention.f_x.item() < 1.0


@pytest.mark.parametrize(("prologue", "size", "maps"), [("plain", (16, 24), (16, 8, 4)), ("image", (64, 96), (16, 8, 4))])
def test_announced_maps_are_those_the_stages_see(prologue: str, size: tuple[int, int], maps: tuple[int, ...]) -> None:
    settings = {"dim": (16, 16, 16), "depth": (1, 1, 1), "n_heads": (1, 1, 1), "group_size": 16}
    network = create_network("spikingresformer", **settings, prologue=prologue, size=size, n_classes=3).eval()
    seen: list[tuple[int, int]] = []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _, inputs, __: seen.append((inputs[0].shape[4], inputs[0].shape[3])))
    with torch.no_grad():
        network(torch.ones(1, 1, 2, size[1], size[0]))
    assert tuple(seen) == network.configuration.maps == tuple((n, n * 3 // 2) for n in maps)


def test_image_network_sees_its_channels_alone_and_an_event_network_their_sum_too() -> None:
    settings = {"dim": (16, 16, 16), "depth": (1, 1, 1), "n_heads": (1, 1, 1), "group_size": 16, "size": (16, 16)}
    image = create_network("spikingresformer", **settings, in_channels=3, sum_channel=False)
    event = create_network("spikingresformer", **settings)
    assert image.prologue.conv.in_channels == event.prologue.conv.in_channels == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"prologue": "image", "size": (72, 64)},
        {"size": (66, 64)},
        {"group_size": 30},
        {"n_heads": (1, 3, 7)},
        {"dim": 32},
        {"lif": {"tau": 1.0}},
        {"neuron": "if"},
    ],
)
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("spikingresformer", **settings)
