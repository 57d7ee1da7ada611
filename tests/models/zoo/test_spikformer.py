"""Spikformer against the released stem and block, and its own stream."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Golden, Lively

from models.functional import LIFParameters
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.zoo.spikformer import Block, Spikformer, SpikformerConfiguration, SpikingPatchSplitting
from pipeline.schema.errors import ConfigurationError

SMALL = SpikformerConfiguration(dim=32, depth=2, n_heads=4, n_classes=5, size=(32, 32))


def _stage_names(key: str) -> str:
    # released stages are called stem.0 ... stem.3 and stem.rpe; ours live in a list beside rpe
    return key.removeprefix("stem.") if key.startswith("stem.rpe") else key.replace("stem.", "stages.", 1)


def test_stem_equals_the_released_stem(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "spikformer_stem")
    stem = SpikingPatchSplitting(2, 32, "1111", LIFParameters())
    golden.load(stem, rename=_stage_names)
    name_memories(stem)
    x = golden["in/x"].requires_grad_()
    out = stem(x, Memory(None))
    (out * golden["in/grad_out"]).sum().backward()
    assert torch.equal(out, golden["out/stem"])
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, 0], golden["out/stem.grad_x_t0b0"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("part", ["block", "attn"])
def test_block_and_attention_equal_the_released_ones(part: str, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "spikformer_block")
    block = Block(SpikformerConfiguration(dim=32, n_heads=4))
    golden.load(block)
    name_memories(block)
    x = golden["in/x"].requires_grad_()
    out = (block if part == "block" else block.attn)(x, Memory(None))
    (out * golden[f"in/grad_out_{part}"]).sum().backward()
    assert torch.equal(out, golden[f"out/{part}"])
    torch.testing.assert_close(x.grad, golden[f"out/{part}.grad_x"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n_classes", "n_parameters"), [(10, 2_566_666), (11, 2_566_923), (101, 2_590_053)])
def test_used_parameters_equal_the_published_count(n_classes: int, n_parameters: int) -> None:
    network = Spikformer(SpikformerConfiguration(n_classes=n_classes))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_mean_of_steps_from_rest_equals_the_whole_window(lively: Lively[Spikformer]) -> None:
    network = lively(Spikformer(SMALL))
    x = torch.poisson(torch.full((5, 3, 2, 32, 32), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        state, logits = None, []
        for x_t in x:
            logits_t, state = network.step(x_t, state)
            logits.append(logits_t)
        torch.testing.assert_close(torch.stack(logits).mean(0), network(x), rtol=0, atol=1e-6)


def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(lively: Lively[Spikformer]) -> None:
    network = lively(Spikformer(SMALL))
    x = torch.poisson(torch.full((4, 3, 2, 32, 32), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


def test_step_leaves_the_state_it_was_given_unchanged(lively: Lively[Spikformer]) -> None:
    network = lively(Spikformer(SMALL))
    x = torch.ones(1, 2, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        _, state = network.step(x, None)
        before = {key: value.clone() for key, value in state.items()}
        network.step(x, state)
    assert all(torch.equal(before[key], state[key]) for key in before)


def test_small_sizes_and_fewer_pools_give_the_announced_tokens() -> None:
    configuration = SpikformerConfiguration(dim=16, n_heads=2, size=(34, 30), pools="0011")
    stem = SpikingPatchSplitting(2, 16, "0011", LIFParameters())
    name_memories(stem)
    assert stem(torch.zeros(1, 1, 2, 30, 34), Memory(None)).shape[-1] == configuration.n_tokens == 9 * 8


@pytest.mark.parametrize(
    ("name", "settings"), [("spikformer", {"attention": "token", "qkv_bias": True}), ("tim", {"attention": "lidiff"})]
)
def test_borrowed_attention_takes_neither_biases_nor_temporal_interaction(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=settings["attention"]):
        create_network(name, **settings)
