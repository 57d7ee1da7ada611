"""QKFormer against the released modules, and its own stream."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Golden, Lively

from models.energy import SpikeMeter
from models.functional import LIFParameters, lif
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.zoo.qkformer import (
    Attention,
    ImageEmbedding,
    LateralInhibition,
    LinearSelfAttention,
    PatchEmbedding,
    QKAttention,
    QKFormer,
    QKFormerConfiguration,
    StageEmbedding,
)
from models.zoo.spikformer import ResidualBlock, SpikformerConfiguration
from pipeline.schema.errors import ConfigurationError

SMALL = QKFormerConfiguration(dim=32, n_heads=4, mlp_ratio=2, n_classes=5, size=(32, 32))
STAGE = SpikformerConfiguration(dim=32, n_heads=4, scale=0.125)


def _stage_names(key: str) -> str:
    # released parts are called stem.0 ... and stem.short, or down.0 ...; our numbered ones live in a list beside `short`
    _, rest = key.split(".", 1)
    return rest if rest.startswith("short") else f"stages.{rest}"


def _counts(n_bins: int, n_streams: int, seed: int, side: int = 32) -> torch.Tensor:
    rate = torch.full((n_bins, n_streams, 2, side, side), 0.4, dtype=torch.float64)
    return torch.poisson(rate, generator=torch.Generator().manual_seed(seed))


def test_stem_equals_the_released_stem(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "qk_stem")
    stem = PatchEmbedding(2, 32, LIFParameters())
    golden.load(stem, rename=_stage_names)
    name_memories(stem)
    x = golden["in/x"].requires_grad_()
    out = stem(x, Memory(None))
    (out * golden["in/grad_out"]).sum().backward()
    assert torch.equal(out, golden["out/stem"])
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, 0], golden["out/stem.grad_x_t0b0"], rtol=0, atol=1e-9)


def test_stage_embedding_equals_the_released_one(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "qk_stage_embedding")
    down = StageEmbedding(32, 64, LIFParameters())
    golden.load(down, rename=_stage_names)
    name_memories(down)
    x = golden["in/x"].requires_grad_()
    out = down(x, Memory(None))
    (out * golden["in/grad_out"]).sum().backward()
    assert torch.equal(out, golden["out/down"])
    torch.testing.assert_close(x.grad, golden["out/down.grad_x"], rtol=0, atol=1e-9)


def _check_attention(attention: torch.nn.Module, golden: Golden) -> None:
    golden.load(attention, "attn.")
    name_memories(attention)
    x = golden["in/x"].requires_grad_()
    out = attention(x.flatten(3), Memory(None)).view_as(x)
    (out * golden["in/grad_out"]).sum().backward()
    assert torch.equal(out, golden["out/attn"])
    torch.testing.assert_close(x.grad, golden["out/attn.grad_x"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "file"), [("token", "qk_token_attention"), ("channel", "qk_channel_attention_derived")])
def test_attention_of_bits_equals_the_released_one_or_its_formula(kind: Attention, file: str, shared_models: Path) -> None:
    _check_attention(QKAttention(STAGE, kind), Golden(shared_models / "golden", file))


def test_self_attention_equals_the_released_one_run_a_sample_at_a_time(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "qk_ssa")
    _check_attention(LinearSelfAttention(STAGE), golden)
    assert not torch.equal(golden["out/attn"], golden["out/attn_official_batched"])  # the leak that is not followed


@pytest.mark.parametrize(
    ("n_classes", "mlp_ratio", "n_parameters"),
    [(10, 1, 1_504_138), (11, 1, 1_504_395), (11, 4, 1_999_371), (10, 4, 1_999_114), (101, 1, 1_527_525), (101, 4, 2_022_501)],
)
def test_parameters_equal_the_published_count(n_classes: int, mlp_ratio: int, n_parameters: int) -> None:
    network = QKFormer(QKFormerConfiguration(n_classes=n_classes, mlp_ratio=mlp_ratio))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize(("mlp_ratio", "others"), [(1, 502.27), (4, 552.60)])
def test_dense_operations_of_a_bin_equal_the_measured_ones(mlp_ratio: int, others: float) -> None:
    network = QKFormer(QKFormerConfiguration(mlp_ratio=mlp_ratio)).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.zeros(1, 2, 128, 128))
    reading = meter.read()
    meter.close()
    products = sum(count.macs for name, count in reading.layers.items() if name.endswith("product"))
    assert round(reading.first_macs / 1e6, 2) == 4.72
    assert round((reading.macs - reading.first_macs - products) / 1e6, 2) == others
    assert round(products / 1e6, 2) == 0.52


@pytest.mark.parametrize("split", [1, 2, 5])
def test_any_split_of_the_bins_gives_the_same_logits(split: int, lively: Lively[QKFormer]) -> None:
    network = lively(QKFormer(SMALL))
    x = _counts(5, 2, seed=1)
    with torch.no_grad():
        state, logits = None, []
        for start in range(0, 5, split):
            part, state = network.run(x[start : start + split], state)
            logits.append(part)
        torch.testing.assert_close(torch.cat(logits).mean(0), network(x), rtol=0, atol=1e-6)
        assert torch.cat(logits).std() > 0


@pytest.mark.parametrize("kind", ["token", "channel"])
def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(kind: Attention, lively: Lively[QKFormer]) -> None:
    network = lively(QKFormer(QKFormerConfiguration(dim=32, n_heads=4, n_classes=5, size=(32, 32), attention=kind)))
    x = _counts(4, 3, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


def test_mean_of_steps_from_rest_equals_the_whole_window_on_an_odd_map(lively: Lively[QKFormer]) -> None:
    network = lively(QKFormer(QKFormerConfiguration(dim=32, n_heads=4, n_classes=5, size=(35, 35))))
    x = _counts(3, 1, seed=3, side=35)
    with torch.no_grad():
        state, logits = None, []
        for x_t in x:
            logits_t, state = network.step(x_t, state)
            logits.append(logits_t)
        torch.testing.assert_close(torch.stack(logits).mean(0), network(x), rtol=0, atol=1e-6)


def test_lateral_inhibition_subtracts_a_share_of_the_second_query_before_the_bit(lively: Lively[LateralInhibition]) -> None:
    torch.manual_seed(0)
    attention = lively(LateralInhibition(SpikformerConfiguration(dim=16, n_heads=2)))
    name_memories(attention)
    attention.inhibition.data.copy_(torch.tensor([0.25, -1.5]).view(2, 1, 1))  # its absolute value counts
    seen: dict[str, torch.Tensor] = {}
    for name in ("q", "q_inhibit", "k"):
        layer = getattr(attention, name)
        layer.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output[:, 0]}))
    attention.proj.register_forward_hook(lambda _, inputs, __: seen.update({"masked": inputs[0][:, 0]}))
    x = torch.poisson(torch.full((6, 1, 16, 9), 0.7, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attention(x, Memory(None))
    for head, share in ((0, 0.25), (1, 1.5)):
        own = slice(8 * head, 8 * head + 8)
        current = seen["q"][:, own].sum(1) - share * seen["q_inhibit"][:, own].sum(1)  # (T, N)
        bit, _ = lif(current, None, LIFParameters(v_threshold=0.5))
        assert 0.0 < bit.mean() < 1.0
        torch.testing.assert_close(seen["masked"][:, own], bit.unsqueeze(1) * seen["k"][:, own], rtol=0, atol=1e-9)


def test_lateral_inhibition_without_inhibition_is_token_attention(lively: Lively[LateralInhibition]) -> None:
    torch.manual_seed(0)
    inhibited = lively(LateralInhibition(SpikformerConfiguration(dim=16, n_heads=2)))
    inhibited.inhibition.data.zero_()
    plain = QKAttention(SpikformerConfiguration(dim=16, n_heads=2), "token").double().eval()
    plain.load_state_dict(inhibited.state_dict(), strict=False)
    x = torch.poisson(torch.full((4, 2, 16, 9), 0.7, dtype=torch.float64), generator=torch.Generator().manual_seed(2))
    for attention in (inhibited, plain):
        name_memories(attention)
    with torch.no_grad():
        assert torch.equal(inhibited(x, Memory(None)), plain(x, Memory(None)))


@pytest.mark.parametrize(("name", "blocks"), [("spikformer", 2), ("qkformer", 1)])
def test_lateral_inhibition_costs_a_second_query_and_a_number_a_head(name: str, blocks: int) -> None:
    dim = 256 if name == "spikformer" else 128
    token, lidiff = (
        sum(p.numel() for p in create_network(name, attention=attention).parameters()) for attention in ("token", "lidiff")
    )
    assert lidiff - token == blocks * (dim * dim + 2 * dim + 16)


@pytest.mark.parametrize(
    ("settings", "maps"),
    [
        ({"depth": (1, 1)}, [8, 4]),
        ({"depth": (1, 2, 1), "stem": "image"}, [16, 8, 4]),
        ({"depth": (1, 1, 2), "stem": "cifar"}, [64, 32, 16]),
    ],
)
def test_stages_see_the_map_as_the_stem_and_the_embeddings_leave_it(settings: dict[str, Any], maps: list[int]) -> None:
    network = create_network("qkformer", dim=32, n_heads=2, size=(64, 64), n_classes=3, **settings)
    seen: list[tuple[int, int]] = []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        network(torch.ones(1, 1, 2, 64, 64))
    n_stages = len(maps)
    expected = [(32 // 2 ** (n_stages - 1 - i), maps[i] ** 2) for i in range(n_stages) for _ in range(settings["depth"][i])]
    assert seen == expected


def test_image_stem_gives_its_shortcut_what_the_first_convolution_fired() -> None:
    stem = ImageEmbedding(3, 16, LIFParameters(), is_small=False).eval()
    name_memories(stem)
    fed: dict[str, torch.Tensor] = {}
    stem.stages[0].register_forward_hook(lambda _, __, output: fed.update(fired=output))
    stem.short.register_forward_hook(lambda _, inputs, __: fed.update(taken=inputs[0]))
    out = stem(torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), Memory(None))
    assert torch.equal(fed["fired"], fed["taken"])
    assert fed["fired"].shape == (2, 1, 8, 16, 16)
    assert out.shape == (2, 1, 16, 8, 8)


@pytest.mark.parametrize(
    "settings", [{"depth": (1,)}, {"depth": (1, 1, 1, 1)}, {"depth": (1, 1, 1), "n_heads": 96}, {"stem": "flat"}]
)
def test_stages_that_cannot_be_built_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("qkformer", **settings)
