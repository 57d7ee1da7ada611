"""Spikformer V2: published counts (no code was released), the stem's formula, closed-form operations."""

import pytest
import torch
from golden import Lively
from torch import Tensor
from torch.nn import functional

from models.energy import SpikeMeter
from models.functional import LIFParameters, lif
from models.neuron import LIF, Memory, name_memories
from models.registry import create_network
from models.zoo.spikformer_v2 import SpikformerV2, SpikformerV2Configuration, StemStage, Style
from pipeline.schema.errors import ConfigurationError

IMAGE = {"stem_ratio": 4, "in_channels": 3, "n_classes": 1000, "size": (224, 224), "n_heads": 8}


@pytest.mark.parametrize(
    ("depth", "dim", "stem", "published"), [(8, 384, 14.497, 29.11), (8, 512, 25.768, 51.55), (16, 768, 57.969, 172.28)]
)
def test_parameters_equal_the_published_count(depth: int, dim: int, stem: float, published: float) -> None:
    with torch.device("meta"):
        network = create_network("spikformer_v2", depth=depth, dim=dim, **IMAGE)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == published
    # 98.25 dim^2 of the convolutions, but for the first's few channels, and two numbers for each of the batch norms' channels
    norms = 2 * sum(6 * width for width in (dim // 8, dim // 4, dim // 2, dim))
    counted = sum(p.numel() for p in network.stem.parameters())
    assert counted == 98.25 * dim**2 + 4 * 3 * dim // 8 + norms
    assert round(counted / 1e6, 3) == stem


def _stirred(network: SpikformerV2) -> SpikformerV2:
    """With a push on every batch norm, for spikes to reach the end of a stem this deep."""
    for name, parameter in network.named_parameters():
        if name.endswith("bn.bias"):
            parameter.data.fill_(0.7)
    return network


def _fired(x: Tensor, projection: torch.nn.Module, *, stride: int) -> Tensor:
    """Spikes of convolution, batch norm and neuron, written out."""
    conv, bn = projection.conv, projection.bn
    y = functional.conv2d(x.flatten(0, 1), conv.weight, stride=stride, padding=0 if stride == 2 else 1)
    y = functional.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias)
    return lif(y.unflatten(0, x.shape[:2]), None, LIFParameters())[0]


def test_stage_of_style_post_equals_its_formula(lively: Lively[StemStage]) -> None:
    torch.manual_seed(0)
    stage = lively(StemStage(2, 4, 3, LIFParameters()))
    name_memories(stage)
    x = torch.poisson(torch.full((5, 2, 2, 8, 8), 1.5, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        u = _fired(x, stage.down, stride=2)
        w = _fired(u, stage.up, stride=1)
        assert w.shape == (5, 2, 12, 4, 4)
        wanted = u + _fired(w, stage.back, stride=1)
        torch.testing.assert_close(stage(x, Memory(None)), wanted, rtol=0, atol=1e-9)
        assert wanted.max() > 0.0


@pytest.mark.parametrize(("style", "most"), [("post", 2), ("pre", 1)])
def test_layers_between_input_and_head_see_whole_numbers_of_spikes(
    style: Style, most: int, lively: Lively[SpikformerV2]
) -> None:
    torch.manual_seed(0)
    configuration = SpikformerV2Configuration(dim=64, n_heads=4, n_classes=5, size=(32, 32), style=style)
    network = _stirred(lively(SpikformerV2(configuration)))
    seen: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(lambda _, inputs, __, name=name: seen.update({name: inputs[0]}))
    with torch.no_grad():
        network(torch.full((3, 1, 2, 32, 32), 2.5, dtype=torch.float64))
    others = {name for name, x in seen.items() if not (x == x.round()).all() or x.min() < 0.0}
    assert others == {"stem.stages.0.down.conv", "head"}
    # sums of spikes leave a stage with two at most; currents are fired to one
    assert max(x.max().item() for name, x in seen.items() if name.startswith("stem.stages.") and ".0." not in name) == most


def test_dense_operations_of_a_bin_equal_the_closed_form() -> None:
    network = create_network("spikformer_v2").eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.zeros(1, 2, 128, 128))
    reading = meter.read()
    meter.close()
    widths, stem = [2, 32, 64, 128, 256], 0
    for i, side in enumerate((64, 32, 16, 8)):
        stem += side**2 * (4 * widths[i] * widths[i + 1] + 2 * 9 * widths[i + 1] ** 2)
    first, tokens, dim = 64**2 * 4 * 2 * 32, 64, 256
    assert reading.first_macs == first + dim * 11  # the head sees means
    assert sum(count.macs for name, count in reading.layers.items() if "product" in name) == 2 * 2 * tokens**2 * dim
    assert reading.macs == stem + 2 * (tokens * 12 * dim**2 + 2 * tokens**2 * dim) + dim * 11


def test_hidden_cells_stay_empty_through_the_stem(lively: Lively[SpikformerV2]) -> None:
    torch.manual_seed(0)
    network = _stirred(lively(SpikformerV2(SpikformerV2Configuration(dim=64, n_heads=4, size=(64, 48)))))
    visible = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)[None, None]
    x = torch.poisson(torch.full((4, 1, 2, 48, 64), 3.0, dtype=torch.float64), generator=torch.Generator().manual_seed(2))
    maps: list[Tensor] = []
    for stage in network.stem.stages[1:]:
        stage.register_forward_hook(lambda _, inputs, __: maps.append(inputs[0]))
    with torch.no_grad():
        maps.append(network.stem(x, Memory(None), visible))
    for emptied, repeats in zip(maps, (8, 4, 2, 1), strict=True):
        mask = visible.repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)
        assert (emptied * (1.0 - mask)).abs().sum() == 0.0
        assert (emptied * mask).sum() > 0.0


def test_style_post_counts_spikes_and_its_neurons_are_the_plain_ones() -> None:
    network = SpikformerV2(SpikformerV2Configuration(dim=32, n_heads=4))
    assert {type(module) for module in network.modules() if hasattr(module, "parameters_")} == {LIF}
    neurons = {name: module for name, module in network.named_modules() if isinstance(module, LIF)}
    assert {name for name, neuron in neurons.items() if neuron.parameters_.v_threshold == 0.5} == {
        "blocks.0.attn.lif",
        "blocks.1.attn.lif",
    }


@pytest.mark.parametrize("settings", [{"size": (40, 32)}, {"style": "both"}, {"stem_ratio": 0}, {"dim": 100}, {"n_heads": 7}])
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("spikformer_v2", **settings)
