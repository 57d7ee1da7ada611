"""TIM against the released module and block, at the thresholds written and at those it really runs with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import Golden, Lively

from models.functional import LIFParameters
from models.neuron import Memory, name_memories
from models.zoo.spikformer import Block
from models.zoo.tim import TemporalInteraction, TIMConfiguration, TIMSpikformer

MODULE = TIMConfiguration(dim=32, n_heads=2)
CASES = {
    "argthr_a05": MODULE,
    "argthr_a06": replace(MODULE, mixing=0.6),
    "argthr_a04": replace(MODULE, mixing=0.4),
    "released": MODULE.released(),
}


@pytest.mark.parametrize("case", CASES)
def test_module_equals_the_released_recursion(case: str, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "tim_module")
    tim = TemporalInteraction(16, CASES[case])
    golden.load(tim, "tim.")
    name_memories(tim)
    q = golden["in/q"].requires_grad_()
    out = tim(q, Memory(None))
    (out * golden["in/grad_out"]).sum().backward()
    assert torch.equal(out, golden[f"out/{case}.q_tim"])
    torch.testing.assert_close(q.grad, golden[f"out/{case}.grad_q"], rtol=0, atol=1e-9)


def _block(golden: Golden, configuration: TIMConfiguration) -> Block:
    block = Block(configuration, lambda: TemporalInteraction(16, configuration))
    golden.load(block)
    name_memories(block)
    return block


@pytest.mark.parametrize("part", ["block", "attn"])
def test_block_with_tim_equals_the_released_one(part: str, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "tim_block")
    block = _block(golden, MODULE)
    x = golden["in/x"].requires_grad_()
    out = (block if part == "block" else block.attn)(x, Memory(None))
    (out * golden[f"in/grad_out_{part}"]).sum().backward()
    assert torch.equal(out, golden[f"out/{part}"])
    torch.testing.assert_close(x.grad, golden[f"out/{part}.grad_x"], rtol=0, atol=1e-9)


def test_block_with_all_thresholds_at_one_equals_what_the_released_code_runs(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "tim_block")
    assert torch.equal(_block(golden, MODULE.released())(golden["in/x"], Memory(None)), golden["out/block_released"])


@pytest.mark.parametrize(("n_classes", "n_parameters"), [(10, 2_568_746), (11, 2_569_003)])
def test_used_parameters_equal_the_published_count(n_classes: int, n_parameters: int) -> None:
    network = TIMSpikformer(TIMConfiguration(n_classes=n_classes, size=(64, 64)))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize("split", [1, 2, 5])
def test_any_split_of_the_bins_gives_the_same_logits(split: int, lively: Lively[TIMSpikformer]) -> None:
    network = lively(
        TIMSpikformer(TIMConfiguration(dim=32, n_heads=2, n_classes=3, size=(32, 32), pools="0011", lif=LIFParameters()))
    )
    x = torch.poisson(torch.full((5, 2, 2, 32, 32), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        state, logits = None, []
        for start in range(0, 5, split):
            part, state = network.run(x[start : start + split], state)
            logits.append(part)
        torch.testing.assert_close(torch.cat(logits).mean(0), network(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("is_detached", [True, False])
def test_a_detached_history_keeps_gradients_within_their_bin_and_spikes_as_they_are(
    is_detached: bool, shared_models: Path
) -> None:
    golden = Golden(shared_models / "golden", "tim_module")
    tim = TemporalInteraction(16, replace(MODULE, detach_history=is_detached))
    golden.load(tim, "tim.")
    name_memories(tim)
    q = golden["in/q"].requires_grad_()
    out = tim(q, Memory(None))
    assert torch.equal(out, golden["out/argthr_a05.q_tim"])
    out[-1].sum().backward()
    assert q.grad is not None
    assert bool(q.grad[-1].any())
    assert bool(q.grad[:-1].any()) is not is_detached
    assert bool(tim.conv.weight.grad.any())
