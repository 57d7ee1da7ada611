"""Operations of whole networks: every synapse touched by a loop, torch's own counter, and energy by both rules."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from golden import Lively
from small_networks import CASES, counts, small_network
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.energy import SpikeMeter, energy_uj, layer_energy_uj
from models.neuron import SpikingNetwork
from models.operations import Operations
from models.registry import create_network
from models.zoo.bestformer import SpikeProduct
from models.zoo.qkformer import KeyValueProduct
from models.zoo.spikformer import SpikeSum, SpikingProduct
from models.zoo.spikingresformer import CurrentProduct, DualSpikeSelfAttention
from pipeline.schema.errors import ConfigurationError

_MINIMAL: dict[str, Any] = {"depth": 1, "n_heads": 2, "mlp_ratio": 2, "n_classes": 3, "size": (8, 8)}
# Small enough to touch every synapse by a loop. Spikformer both with fewer tokens than channels of a head, and with more.
LOOPED: dict[str, tuple[str, dict[str, Any]]] = {
    "spikformer, 4 tokens": ("spikformer", {**_MINIMAL, "dim": 16, "pools": "0011"}),
    "spikformer, 16 tokens": ("spikformer", {**_MINIMAL, "dim": 8, "pools": "0001"}),
    "tim": ("tim", {**_MINIMAL, "dim": 16, "pools": "0011"}),
    "qkformer": ("qkformer", {**_MINIMAL, "dim": 16, "depth": (1, 1), "n_heads": 1, "size": (16, 16)}),
    "sdt": ("sdt", {**_MINIMAL, "dim": 8, "pools": "0011"}),
    "sdt, counts": ("sdt", {**_MINIMAL, "dim": 8, "pools": "0011", "attention": "linear", "neuron": "sfa"}),
    "spikingresformer": (
        "spikingresformer",
        {**_MINIMAL, "dim": (4, 4, 8), "depth": (1, 1, 1), "n_heads": (1, 2, 2), "group_size": 4},
    ),
    "bestformer": ("bestformer", {**_MINIMAL, "dim": 8, "pools": "0011", "n_time_bins": 2}),
    "saformer": ("saformer", {**_MINIMAL, "dim": 16, "pools": "0011"}),
    "semm": ("semm", {**_MINIMAL, "dim": 16, "pools": "0011", "expert_dim": 4}),
}


def _spikes(x: Tensor) -> list[tuple[list[int], int]]:
    """Where `x` is not zero, and how many spikes are there."""
    return [(place, round(x[tuple(place)].item())) for place in x.nonzero().tolist()]


def _convolution_additions(layer: nn.Conv2d, x: Tensor) -> int:
    additions = 0
    (stride, _), (padding, _) = layer.stride, layer.padding
    height, width = ((n + 2 * padding - layer.kernel_size[0]) // stride + 1 for n in x.shape[2:])
    for (_, _, y, x_), n in _spikes(x):
        for dy, dx in product(range(layer.kernel_size[0]), repeat=2):
            row, column = y + padding - dy, x_ + padding - dx
            inside = 0 <= row < height * stride and 0 <= column < width * stride
            if inside and row % stride == 0 and column % stride == 0:
                additions += n * layer.out_channels // layer.groups
    return additions


def _line_additions(layer: nn.Conv1d, x: Tensor) -> int:
    length, reach = x.shape[2], layer.kernel_size[0] // 2
    return sum(
        n * layer.out_channels for (_, _, i), n in _spikes(x) for o in range(i - reach, i + reach + 1) if 0 <= o < length
    )


def _pair_additions(a: Tensor, b: Tensor) -> int:
    """Additions of spikes (..., I, K) times spikes (..., K, J): one wherever both fire."""
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = a.expand(*lead, *a.shape[-2:]), b.expand(*lead, *b.shape[-2:])
    return sum(n * round(b[(*place[:-2], place[-1], j)].item()) for place, n in _spikes(a) for j in range(b.shape[-1]))


def _column_additions(n_rows: int, s: Tensor) -> int:
    """Additions of numbers (..., I, K) times spikes (..., K, J): a column of I for each spike."""
    return sum(1 for _, n in _spikes(s) for _ in range(n) for _ in range(n_rows))


def _attention_additions(q: Tensor, k: Tensor, v: Tensor, *, keys_first: bool) -> int:
    if keys_first:  # each query spike adds a row of the map of keys and values
        return _pair_additions(k.transpose(-1, -2), v) + _column_additions(v.shape[-1], q)
    return _pair_additions(q, k.transpose(-1, -2)) + _column_additions(q.shape[-2], v)


def _additions(layer: nn.Module, inputs: tuple[Tensor, ...]) -> int | None:
    """Additions of one call of `layer`, counted synapse by synapse; None for what adds nothing."""
    loops: list[tuple[type[nn.Module], Callable[..., int]]] = [
        (nn.Conv2d, lambda x: _convolution_additions(layer, x)),
        (nn.Conv1d, lambda x: _line_additions(layer, x)),
        (nn.Linear, lambda x: _column_additions(layer.out_features, x)),
        (KeyValueProduct, lambda q, k, v: _attention_additions(q, k, v, keys_first=True)),
        (SpikingProduct, lambda q, k, v: _attention_additions(q, k, v, keys_first=q.shape[-2] > q.shape[-1])),
        (SpikeProduct, _pair_additions),
        (CurrentProduct, lambda current, s: _column_additions(current.shape[-2], s)),
        (SpikeSum, lambda s: _column_additions(1, s)),
    ]
    return next((loop(*inputs) for kind, loop in loops if isinstance(layer, kind)), None)


@pytest.mark.parametrize("case", LOOPED)
def test_additions_of_every_layer_equal_a_loop_over_every_synapse(case: str, lively: Lively[SpikingNetwork]) -> None:
    name, settings = LOOPED[case]
    torch.manual_seed(3)
    network = lively(create_network(name, **settings))
    looped: dict[str, int] = {}

    def watch(layer_name: str) -> Any:
        def count(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
            additions = None if layer_name in dense else _additions(layer, inputs)
            if additions is not None:
                looped[layer_name] = looped.get(layer_name, 0) + additions

        return count

    first = next(n for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    heads = {n for n, m in network.named_modules() if isinstance(m, nn.Linear)} if name != "sdt" else set()
    dense = {first} | heads
    for layer_name, layer in network.named_modules():
        layer.register_forward_hook(watch(layer_name))
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.constant_(layer.bias, 1.2)  # so small a network would be silent
        if isinstance(layer, DualSpikeSelfAttention):
            layer.f_x.fill_(0.1)
            layer.f_attn.fill_(0.2)
    meter = SpikeMeter(network)
    with torch.no_grad():
        network.run(counts(network, 2, 2))
    reading = meter.read()
    assert {n: layer.sops for n, layer in reading.layers.items() if not layer.is_dense} == looped
    assert {n for n, layer in reading.layers.items() if layer.is_dense} == dense
    assert sum(1 for sops in looped.values() if sops > 0) > 0.8 * len(looped)  # nearly every layer was reached by spikes
    width, height = settings["size"]
    macs = 2 * 2 * width * height * 9 * network.get_submodule(first).in_channels * network.get_submodule(first).out_channels
    macs += 2 * 2 * sum(network.get_submodule(head).weight.numel() for head in heads)
    spiking = sum(looped.values())
    assert reading.energy_uj() == pytest.approx((0.9 * spiking + 4.6 * macs) / 1e6)
    assert reading.energy_uj("spikingresformer") == pytest.approx(0.9 * (spiking - looped.get("head", 0)) / 1e6)


@pytest.mark.parametrize("case", CASES)
def test_multiply_accumulates_of_a_bin_are_half_of_what_torch_counts(
    case: str, lively: Lively[SpikingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    # MACs are those of the order in which the paper writes the product
    monkeypatch.setattr(SpikingProduct, "forward", lambda _, q, k, v: (q @ k.transpose(-1, -2)) @ v)
    network = small_network(case, lively)
    meter = SpikeMeter(network)
    first, second = counts(network, 2, 2)
    with torch.no_grad():
        _, state = network.step(first)
        meter.read()
        with FlopCounterMode(display=False) as counter:
            network.step(second, state)  # the second bin: TIM's convolution begins there
    reading = meter.read()
    assert 2 * reading.macs == counter.get_total_flops() > 0
    weighted = {n for n, layer in network.named_modules() if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear))}
    assert weighted <= set(reading.layers)


def test_density_times_macs_is_the_additions_of_a_layer_without_borders(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    meter = SpikeMeter(network)
    with torch.no_grad():
        network.run(counts(network, 3, 2))
    layers = meter.read().layers
    pointwise, bordered = layers["blocks.0.mlp.fc1.lin"], layers["stem.stages.1.conv"]
    assert pointwise.density * pointwise.macs == pytest.approx(pointwise.sops)
    # the papers' rate times operations charges what spikes at the border would feed beyond it
    assert bordered.density * bordered.macs > bordered.sops > 0


def test_a_closed_meter_counts_no_more(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively)
    meter = SpikeMeter(network)
    meter.close()
    network.run(counts(network, 1, 1))
    assert meter.read().layers == {}
    assert meter.read().spikes == {}


def test_readings_of_two_runs_add_up_layer_by_layer(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("sdt", lively)
    meter = SpikeMeter(network)
    x = counts(network, 2, 2)
    with torch.no_grad():
        network.run(x)
        together = meter.read()
        network.run(x[:, :1])
        apart = meter.read()
        network.run(x[:, 1:])
        apart.add(meter.read().layers)
    assert apart.layers == together.layers


def test_energy_is_nine_tenths_of_a_picojoule_an_addition_and_four_point_six_a_mac() -> None:
    assert energy_uj(1_000_000, 0) == pytest.approx(0.9)
    assert energy_uj(0, 1_000_000) == pytest.approx(4.6)


def test_the_rule_of_spikingresformer_leaves_out_numbers_and_classifiers() -> None:
    layer, dense = Operations(macs=10**6, sops=10**5), Operations(macs=10**6, is_dense=True)
    assert layer_energy_uj("blocks.0", layer) == layer_energy_uj("blocks.0", layer, "spikingresformer") == pytest.approx(0.09)
    assert layer_energy_uj("head", layer) == pytest.approx(0.09)
    assert layer_energy_uj("head", layer, "spikingresformer") == 0.0
    assert layer_energy_uj("stem", dense) == pytest.approx(4.6)
    assert layer_energy_uj("stem", dense, "spikingresformer") == 0.0


def test_an_unknown_rule_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="there are: spikformer, spikingresformer"):
        layer_energy_uj("stem", Operations(), "tim")
