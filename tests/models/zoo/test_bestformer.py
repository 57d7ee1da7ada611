"""BESTformer against the released attention and blocks, its counts, and that its blocks can be run backwards."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from golden import Golden, Lively
from torch import Tensor

from models.energy import SpikeMeter
from models.neuron import LIF, Memory, name_memories
from models.registry import create_network
from models.zoo.bestformer import (
    BESTformer,
    BESTformerConfiguration,
    BinaryAttention,
    ReversibleBlock,
    SpikeProduct,
    distillation_loss,
)
from models.zoo.binary import BinaryConvolution, n_binary_weights, stored_bytes
from pipeline.schema.errors import ConfigurationError

BLOCK: dict[str, Any] = {"dim": 32, "n_heads": 4, "n_time_bins": 4}
SMALL = BESTformerConfiguration(dim=32, n_heads=4, n_time_bins=3, n_classes=5, size=(16, 16), pools="0011")
CIFAR: dict[str, Any] = {"in_channels": 3, "size": (32, 32), "pools": "0011", "map_order": "qk", "n_time_bins": 4, "n_heads": 8}


def _names(key: str) -> str:
    # released names hold layer and norm side by side; ours hold them in `proj` where a neuron follows
    for layer in ("q", "k", "v"):
        key = key.replace(f"attn.{layer}.", f"attn.{layer}.proj.") if "attn." in key else _bare(key, layer)
    return key


def _bare(key: str, layer: str) -> str:
    return f"{layer}.proj.{key.removeprefix(f'{layer}.')}" if key.startswith(f"{layer}.") else key


@pytest.mark.parametrize("map_order", ["qk", "kv"])
def test_attention_equals_the_released_one_spike_by_spike(map_order: Literal["qk", "kv"], shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", f"best_attn_{map_order}")
    attention = BinaryAttention(BESTformerConfiguration(**BLOCK, map_order=map_order))
    golden.load(attention, rename=_names)
    name_memories(attention)
    spikes: dict[str, Tensor] = {}
    for name, layer in attention.named_modules():
        if isinstance(layer, LIF):
            layer.register_forward_hook(lambda _, __, output, name=name: spikes.update({name: output}))
    y = attention(golden["x"], Memory(None))
    released = {
        "in_lif": "in_spikes",
        "q.lif": "q_spikes",
        "k.lif": "k_spikes",
        "v.lif": "v_spikes",
        "map_lif": "map_spikes",
        "lif": "out_spikes",
    }
    for ours, theirs in released.items():
        assert torch.equal(spikes[ours].reshape(golden[theirs].shape), golden[theirs]), ours
    torch.testing.assert_close(y, golden["y"], rtol=0, atol=1e-9)


def _released_block(shared_models: Path) -> tuple[Golden, ReversibleBlock]:
    golden = Golden(shared_models / "golden_b", "best_rev_block")
    block = ReversibleBlock(BESTformerConfiguration(**BLOCK, map_order="qk"))
    golden.load(block, rename=_names)
    name_memories(block)
    return golden, block


def test_reversible_block_equals_the_released_one_as_first_and_as_later_block(shared_models: Path) -> None:
    golden, block = _released_block(shared_models)
    for x0, wanted in ((golden["x0"], ("y2", "y3")), (None, ("first_y2", "first_y3"))):
        for stream, name in zip(block(x0, golden["x1"], Memory(None)), wanted, strict=True):
            torch.testing.assert_close(stream, golden[name], rtol=0, atol=1e-9)


def test_released_block_gives_back_what_went_in(shared_models: Path) -> None:
    golden, block = _released_block(shared_models)
    x0, x1 = block.invert(golden["y2"], golden["y3"], Memory(None))
    torch.testing.assert_close(x0, golden["x0"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x1, golden["x1"], rtol=0, atol=1e-9)
    _, x1 = block.invert(golden["first_y2"], golden["first_y3"], Memory(None))
    torch.testing.assert_close(x1, golden["x1"], rtol=0, atol=1e-9)


def test_all_blocks_of_a_network_run_backwards_to_the_stem_in_the_middle_of_a_stream(lively: Lively[BESTformer]) -> None:
    network = lively(BESTformer(SMALL))
    with torch.no_grad():
        _, state = network.run(_counts(2))
        x1 = stem = network.stem(_counts(2), Memory(state))
        x0: Tensor | None = None
        for block in network.blocks:
            x0, x1 = block(x0, x1, Memory(state))
        assert (x1 - stem).abs().max() > 0.1
        for block in reversed(network.blocks):
            assert isinstance(block, ReversibleBlock)
            x0, x1 = block.invert(x0, x1, Memory(state))
    torch.testing.assert_close(x1, stem, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "n_parameters", "n_bits", "megabytes"),
    [
        ({**CIFAR, "dim": 384, "depth": 4, "n_classes": 10}, 9_314_884, 9_275_904, 1.32),
        ({**CIFAR, "dim": 384, "depth": 4, "n_classes": 100}, 9_384_184, 9_275_904, 1.59),
        (
            {**CIFAR, "pools": "1111", "size": (224, 224), "map_order": "kv", "dim": 512, "depth": 8, "n_classes": 1000},
            30_178_064,
            29_073_408,
            8.05,
        ),
        ({"n_time_bins": 4, "n_classes": 11}, 2_566_806, 2_549_760, 0.39),
        ({"n_time_bins": 4, "n_classes": 10}, 2_566_292, 2_549_760, 0.38),
    ],
)
def test_parameters_bits_and_size_equal_the_published_ones(
    settings: dict[str, Any], n_parameters: int, n_bits: int, megabytes: float
) -> None:
    with torch.device("meta"):
        network = create_network("bestformer", **settings)
    assert sum(p.numel() for p in network.parameters()) == n_parameters
    assert n_binary_weights(network) == n_bits
    assert round(stored_bytes(network) / 1e6, 2) == megabytes


def _counts(n_time_bins: int, n_streams: int = 2) -> Tensor:
    rate = torch.full((n_time_bins, n_streams, 2, 16, 16), 0.6, dtype=torch.float64)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(1))


def test_lambda_belongs_to_its_bin_and_the_last_one_serves_all_later_bins(lively: Lively[BESTformer]) -> None:
    attention = lively(BinaryAttention(SMALL))
    attention.lam.data = torch.arange(3.0, dtype=torch.float64).view(3, 1, 1, 1, 1).expand(3, 1, 4, 1, 1).contiguous()
    memory = Memory(None)
    with torch.no_grad():
        assert attention._lam(_counts(2), memory)[:, :, 0, 0, 0].tolist() == [[0, 0], [1, 1]]
        later = attention._lam(_counts(3), Memory(memory.new))
    assert later[:, :, 0, 0, 0].tolist() == [[2, 2]] * 3


def test_streams_at_different_bins_share_a_batch(lively: Lively[BESTformer]) -> None:
    network = lively(BESTformer(SMALL))
    for block in network.blocks:
        block.attn.lam.data = torch.tensor([0.5, 3.0, 8.0], dtype=torch.float64).view(3, 1, 1, 1, 1).repeat(1, 1, 4, 1, 1)
    x = _counts(3)
    with torch.no_grad():
        whole, _ = network.run(x)
        _, late = network.run(x[:2, :1])
        _, early = network.run(x[:1, 1:])
        joined = {key: torch.cat([late[key], early[key]]) for key in late}
        logits, _ = network.step(torch.stack([x[2, 0], x[1, 1]]), joined)
    torch.testing.assert_close(logits[0], whole[2, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(logits[1], whole[1, 1], rtol=0, atol=1e-9)


def test_answer_is_the_mean_of_both_heads(lively: Lively[BESTformer]) -> None:
    network = lively(BESTformer(SMALL))
    with torch.no_grad():
        logits_a, logits_b, _ = network.run_heads(_counts(3))
        torch.testing.assert_close(network(_counts(3)), (logits_a + logits_b).mean(0) / 2, rtol=0, atol=1e-12)
    assert not torch.allclose(logits_a, logits_b)


def test_distillation_gives_the_labels_to_one_head_and_the_teachers_choice_to_the_other() -> None:
    logits_a, logits_b = torch.tensor([[2.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = distillation_loss(logits_a, logits_b, torch.tensor([0]), torch.tensor([[-3.0, 5.0]]))
    # log(1 + e^-2) = 0.126928 and log(1 + e^-1) = 0.313262
    assert loss.item() == pytest.approx((0.126928 + 0.313262) / 2, abs=1e-6)
    soft = distillation_loss(logits_a, logits_b, torch.tensor([[1.0, 0.0]]), torch.tensor([[-3.0, 5.0]]))
    assert soft.item() == pytest.approx(loss.item())


def test_every_layer_but_the_first_and_the_heads_has_one_bit_weights_and_sees_spikes(lively: Lively[BESTformer]) -> None:
    network = lively(BESTformer(SMALL))
    seen: dict[str, bool] = {}
    for name, module in network.named_modules():
        if isinstance(module, BinaryConvolution):
            module.register_forward_hook(
                lambda _, inputs, __, name=name: seen.update({name: bool(((inputs[0] == 0) | (inputs[0] == 1)).all())})
            )
    with torch.no_grad():
        network(_counts(2))
    assert len(seen) == 4 + 2 * 6
    assert all(seen.values())
    full = {name for name, m in network.named_modules() if isinstance(m, torch.nn.Conv2d) and name not in seen}
    assert full == {"stem.first.conv"}


def test_twin_of_full_precision_has_the_same_layers_and_no_bits() -> None:
    network = create_network("bestformer", **BLOCK, n_classes=3, is_binary=False)
    binary = create_network("bestformer", **BLOCK, n_classes=3)
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in binary.state_dict().items()}
    assert n_binary_weights(network) == 0 < n_binary_weights(binary)


def test_products_of_spikes_cost_an_addition_wherever_both_fire() -> None:
    a = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    b = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    network = torch.nn.ModuleDict({"product": SpikeProduct()})
    meter = SpikeMeter(network)
    product = network["product"](a, b)
    layer = meter._reading.layers["product"]
    meter.close()
    assert layer.sops == product.sum().item() == 5
    assert layer.macs == 2 * 2 * 3


@pytest.mark.parametrize("settings", [{"map_order": "vk"}, {"n_time_bins": 0}, {"dim": 36}, {"pools": "11"}, {"n_heads": 7}])
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("bestformer", **{**BLOCK, **settings})
