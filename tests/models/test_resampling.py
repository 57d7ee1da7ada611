"""Mixed time steps: the released resampler and block, and networks whose layers run for lengths of their own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Golden, Lively
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory, SpikingNetwork, name_memories
from models.registry import NETWORKS, create_network
from models.resampling import (
    N_PASSES,
    draw_lengths,
    mixed_logits,
    resample,
    run_lengths,
    run_mixed,
    settle_norms,
    time_groups,
)
from models.zoo.sdt import Projection
from pipeline.schema.errors import ConfigurationError

SIZES: dict[str, dict[str, Any]] = {
    "spikingresformer": {"dim": (16, 32, 64), "depth": (1, 1, 1), "n_heads": (1, 2, 4), "group_size": 16},
    "semm": {"dim": 32, "n_heads": 2, "expert_dim": 8},
}


def _network(name: str, **settings: Any) -> SpikingNetwork:
    torch.manual_seed(0)
    network = create_network(name, n_classes=5, size=(32, 32), **(SIZES.get(name, {"dim": 32, "n_heads": 4}) | settings))
    assert isinstance(network, SpikingNetwork)
    return network


def _counts(n_bins: int, n_streams: int = 2, seed: int = 1) -> Tensor:
    return torch.poisson(torch.full((n_bins, n_streams, 2, 32, 32), 0.8), generator=torch.Generator().manual_seed(seed))


def test_resampler_equals_the_released_matrices_for_all_lengths_up_to_sixteen(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "mtt_block")
    tables = [key for key in golden.arrays.files if key.startswith("table.")]
    assert len(tables) == 16 * 15
    for table in tables:
        _, n_in, n_out = table.split(".")
        each = torch.eye(int(n_in), dtype=torch.float64)  # a bin in each column
        assert torch.equal(resample(each, int(n_out)), golden[table]), table


class _ResidualStep(nn.Module):
    """The released block: two convolutions and neurons, the shortcut added before the second."""

    def __init__(self) -> None:
        super().__init__()
        neuron = LIFParameters(decay_input=False, surrogate="triangle", alpha=1.0)  # u = u / 2 + x
        self.conv1 = Projection(nn.Conv2d(6, 10, kernel_size=3, stride=2, padding=1, bias=False))
        self.lif1 = LIF(neuron)
        self.conv2 = Projection(nn.Conv2d(10, 10, kernel_size=3, padding=1, bias=False))
        self.lif2 = LIF(neuron)
        self.shortcut = Projection(nn.Conv2d(6, 10, kernel_size=1, stride=2, bias=False))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        current = self.conv2(self.lif1(self.conv1(x), memory)) + self.shortcut(x)
        spikes: Tensor = self.lif2(current, memory)
        return spikes


def test_block_behind_the_resampler_equals_the_released_one(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "mtt_block")
    block = _ResidualStep()
    weights = ("conv1", "conv2", "shortcut")
    golden.arrays.files = [key for key in golden.arrays.files if key.startswith(weights)]
    golden.load(block, rename=lambda key: key)
    name_memories(block)
    x = resample(golden["x"].transpose(0, 1), 5)
    torch.testing.assert_close(x, golden["x_resampled"].transpose(0, 1), rtol=0, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(block(x, Memory(None)), golden["y"].transpose(0, 1), rtol=0, atol=1e-9)


def test_shrinking_sums_and_growing_repeats() -> None:
    x = torch.tensor([1.0, 2.0, 4.0, 8.0])
    assert resample(x, 2).tolist() == [3.0, 12.0]
    assert resample(x, 3).tolist() == [1.0, 6.0, 8.0]  # cut after round(1.33) = 1 and round(2.67) = 3
    assert resample(x[:2], 5).tolist() == [1.0, 1.0, 2.0, 2.0, 2.0]  # round(2.5 - 1e-5) = 2
    assert resample(x, 4) is x


@pytest.mark.parametrize(("n_few", "n_many"), [(1, 1), (1, 9), (3, 16), (7, 8), (16, 16)])
def test_runs_cover_every_bin_once_and_differ_by_one_at_most(n_few: int, n_many: int) -> None:
    lengths = run_lengths(n_few, n_many)
    assert (len(lengths), sum(lengths)) == (n_few, n_many)
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("name", NETWORKS)
def test_with_the_length_of_the_input_everywhere_a_mixed_run_is_a_plain_one(name: str, lively: Lively[SpikingNetwork]) -> None:
    network = lively(_network(name))
    x = _counts(3).double()
    with torch.no_grad():
        assert torch.equal(run_mixed(network, x, [3] * len(time_groups(network))), network(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_group_runs_for_its_own_length(name: str) -> None:
    network = _network(name).train()
    groups = time_groups(network)
    lengths = [1 + (2 * i + 1) % 4 for i in range(len(groups))]
    seen: list[int] = []
    for group in groups:
        group.register_forward_hook(lambda _, __, output: seen.append(len(output if isinstance(output, Tensor) else output[0])))
    logits = run_mixed(network, _counts(3), lengths)
    assert seen == lengths
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(not group._forward_pre_hooks for group in groups)  # nothing stays behind


def test_groups_are_stem_and_blocks_in_order() -> None:
    network = _network("qkformer")
    names = {module: name for name, module in network.named_modules()}
    assert [names[group] for group in time_groups(network)] == ["stem", "stage1.0", "down", "stage2.0"]


def test_lengths_are_drawn_from_one_to_the_longest() -> None:
    drawn = draw_lengths(400, 5, torch.Generator().manual_seed(0))
    assert {1, 2, 3, 4, 5} == set(drawn)


def test_passes_of_one_batch_add_up_their_gradients() -> None:
    network = _network("spikformer").train()
    generator, n_passes = torch.Generator().manual_seed(0), 0
    for logits in mixed_logits(network, _counts(3), 4, generator):
        (nn.functional.cross_entropy(logits, torch.tensor([0, 1])) / N_PASSES).backward()
        n_passes += 1
    assert n_passes == N_PASSES
    gradient = network.head.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0.0


def test_settled_norms_hold_the_mean_of_the_batches_and_keep_their_mode() -> None:
    network = _network("spikformer").eval()
    norm = network.stem.stages[0].bn
    batches = [_counts(2, seed=seed) for seed in (1, 2, 3)]
    seen = []
    network.stem.stages[0].conv.register_forward_hook(lambda _, __, output: seen.append(output))
    settle_norms(network, iter(batches))
    wanted = torch.stack([y.mean(dim=(0, 2, 3)) for y in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, wanted)
    assert (norm.momentum, norm.training) == (0.1, False)


@pytest.mark.parametrize("lengths", [[2, 2], [2, 0, 2], [1, 2, 3, 4]])
def test_lengths_that_do_not_fit_the_groups_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="3 groups"):
        run_mixed(_network("spikformer"), _counts(2), lengths)
