"""SEMM against the reimplementation's vectors (no released code exists), its counts, and a loop over experts and tokens."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import Golden, Lively
from torch import Tensor

from models.energy import SpikeMeter
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.zoo.semm import SEMM, ExpertAttention, ExpertMLP, SEMMConfiguration
from pipeline.schema.errors import ConfigurationError

SMALL = SEMMConfiguration(dim=32, depth=2, n_heads=3, expert_dim=8, n_classes=5, size=(32, 32))


def _names(key: str) -> str:
    return key.replace(".fc.", ".lin.")


def _map(tokens: Tensor) -> Tensor:
    """(T, B, N, C) to (T, B, C, 8, 8)."""
    return tokens.transpose(-1, -2).unflatten(3, (8, 8))


def test_attention_and_its_experts_equal_the_reimplementation(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "semm_emsa")
    attention = ExpertAttention(SEMMConfiguration(dim=32, n_heads=4, expert_dim=16))
    golden.load(attention, rename=_names)
    name_memories(attention)
    seen: dict[str, Tensor] = {}
    for name, module in attention.named_modules():
        if name.endswith("lif"):
            module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    with torch.no_grad():
        out = attention(_map(golden["x"]), Memory(None))
    torch.testing.assert_close(out, _map(golden["y"]), rtol=0, atol=1e-9)
    assert torch.equal(seen["k.lif"].transpose(-1, -2), golden["k_spikes"])
    assert torch.equal(seen["v.lif"].transpose(-1, -2), golden["v_spikes"])
    assert torch.equal(seen["router.lif"].transpose(-1, -2), golden["router_spikes"])
    for i in range(4):
        assert torch.equal(seen[f"q.{i}.lif"].transpose(-1, -2), golden[f"q_spikes.{i}"])
        assert torch.equal(seen["lif"][:, :, i], golden[f"expert_spikes.{i}"])


def test_mlp_equals_the_reimplementation(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "semm_emsp")
    mlp = ExpertMLP(SEMMConfiguration(dim=32))
    golden.load(mlp, rename=_names)
    name_memories(mlp)
    with torch.no_grad():
        out = mlp(_map(golden["x"]), Memory(None))
    torch.testing.assert_close(out, _map(golden["y"]), rtol=0, atol=1e-9)


def test_dense_operations_of_a_bin_equal_the_closed_form() -> None:
    network = create_network("semm").eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.zeros(1, 2, 128, 128))
    reading = meter.read()
    meter.close()
    dim, width, experts, tokens, first = 256, 64, 4, 64, 128 * 128 * 9 * 2 * 32
    stem = 64**2 * 9 * 32 * 64 + 32**2 * 9 * 64 * 128 + 16**2 * 9 * 128 * 256 + 8**2 * 9 * 256 * 256
    attention = tokens * dim * (width + dim + experts * width + experts + dim)  # keys, values, queries, router, projection
    mlp = tokens * dim * (4 * dim + 9 * 2 + 2 * dim)
    products = (experts + 1) * tokens * dim * width  # keys with values once, then each expert's queries
    assert reading.first_macs == first + dim * 11  # the head sees means
    assert sum(count.macs for name, count in reading.layers.items() if "product" in name) == 2 * products
    assert reading.macs == first + stem + 2 * (attention + mlp + products) + dim * 11


def test_a_silent_router_lets_nothing_through(lively: Lively[ExpertAttention]) -> None:
    torch.manual_seed(0)
    attention = lively(ExpertAttention(replace(SMALL, scale=1.0)))
    name_memories(attention)
    torch.nn.init.zeros_(attention.router.lin.weight)
    attention.router.bn.running_mean.fill_(1e3)
    experts, mixed = [], []
    attention.lif.register_forward_hook(lambda _, __, output: experts.append(output))
    attention.proj.lin.register_forward_hook(lambda _, inputs, __: mixed.append(inputs[0]))
    x = torch.poisson(torch.full((6, 1, 32, 4, 4), 1.0, dtype=torch.float64), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        attention(x, Memory(None))
    assert experts[0].sum() > 0.0
    assert mixed[0].abs().sum() == 0.0


def test_additions_of_shared_keys_and_values_equal_a_loop_over_experts(lively: Lively[SEMM]) -> None:
    torch.manual_seed(0)
    network = lively(SEMM(SMALL))
    x = torch.poisson(torch.full((6, 1, 2, 32, 32), 2.0, dtype=torch.float64), generator=torch.Generator().manual_seed(4))
    attention = network.blocks[0].attn
    seen: dict[str, Tensor] = {}
    attention.product.register_forward_hook(lambda _, inputs, __: seen.update(zip("qkv", inputs, strict=True)))
    meter = SpikeMeter(network)
    with torch.no_grad():
        network(x)
    reading = meter.read()
    meter.close()
    additions = 0
    for q, k, v in zip(*(seen[name][:, 0] for name in "qkv"), strict=True):  # (E, N, D), (1, N, D), (1, N, C) of each bin
        additions += sum(int(k[0, n].sum()) * int(v[0, n].sum()) for n in range(k.shape[1]))
        additions += sum(int(expert[n].sum()) * v.shape[-1] for expert in q for n in range(expert.shape[0]))
    assert reading.layers["blocks.0.attn.product"].sops == additions > 0


@pytest.mark.parametrize("settings", [{"hidden": 33}, {"n_heads": 0}, {"expert_dim": 5000}, {"dim": 100}, {"pools": "12"}])
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("semm", **settings)


def test_narrow_values_save_weights_of_values_and_projection() -> None:
    attention, narrow = (ExpertAttention(replace(SMALL, value_dim=value_dim)) for value_dim in (0, 8))
    saved = sum(p.numel() for p in attention.parameters()) - sum(p.numel() for p in narrow.parameters())
    assert saved == (32 - 8) * (32 + 32 + 3)  # a row of values, a column of the projection, a bias and two of a batch norm


def test_hidden_width_follows_the_ratio_unless_it_is_given() -> None:
    assert SMALL.width == 128
    assert replace(SMALL, hidden=96).width == 96


def test_names_and_shapes_of_the_reimplementation_map_onto_ours(shared_models: Path) -> None:
    layout = json.loads((shared_models / "weights_layout" / "semm_whole.json").read_text())
    settings = {"dim": 64, "depth": 2, "n_heads": 4, "expert_dim": 16, "n_classes": 11, "size": (32, 32), "pools": "0011"}
    network = create_network("semm", **settings)
    leaves = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
    theirs = {}
    for entry in layout["parameters"]:
        *path, leaf = _names(entry["name"]).replace("block.", "blocks.").split(".")
        if path[0] == "stem" and path[1] != "rpe":
            path.insert(1, "stages")
        theirs[".".join([*path, leaves.get(leaf, leaf)])] = tuple(entry["shape"])
    ours = {}
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            # a linear layer's (out, in) is a 1x1 convolution's (out, in, 1)
            ours[name] = tuple(value.shape[:2] if name.endswith("lin.weight") else value.shape)
    assert ours == theirs
