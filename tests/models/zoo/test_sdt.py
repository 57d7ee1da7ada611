"""Spike-driven Transformer against the released block, and its own stream."""

from pathlib import Path

import pytest
import torch
from golden import Golden, Lively

from models.energy import SpikeMeter
from models.functional import LIFParameters, spike_train
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.zoo.sdt import (
    CurrentMLP,
    LinearSpikeAttention,
    SDTConfiguration,
    SpikeDrivenSelfAttention,
    SpikeDrivenTransformer,
)
from models.zoo.spikformer import ResidualBlock
from pipeline.schema.errors import ConfigurationError

SMALL = SDTConfiguration(dim=32, n_heads=4, n_classes=5, size=(32, 32))


def _names(key: str) -> str:
    # released layers are attn.q.lin.weight, attn.q.bn.gamma, attn.proj.lin.weight; ours hold convolution and norm in `proj`
    for layer in ("attn.q.", "attn.k.", "attn.v."):
        key = key.replace(layer, f"{layer}proj.")
    return key.replace(".lin.", ".conv.")


@pytest.mark.parametrize(("file", "attention_pool"), [("sdt_block", False), ("sdt_block_dvs", True)])
def test_block_equals_the_released_one(file: str, attention_pool: bool, shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", file)
    configuration = SDTConfiguration(dim=32, n_heads=4, attention_pool=attention_pool)
    block = ResidualBlock(SpikeDrivenSelfAttention(configuration), CurrentMLP(32, 4, configuration.lif))
    golden.load(block, rename=_names)
    name_memories(block)
    x = golden["in/x"].requires_grad_()
    out = block(x, Memory(None))
    (out * golden["in/grad_out"]).sum().backward()
    torch.testing.assert_close(out, golden["out/block"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x.grad, golden["out/block.grad_x"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n_classes", "n_parameters"), [(10, 2_566_666), (11, 2_566_923), (101, 2_590_053)])
def test_used_parameters_equal_the_published_count(n_classes: int, n_parameters: int) -> None:
    # the released counts are 128 higher: a convolution across heads that is never called
    network = SpikeDrivenTransformer(SDTConfiguration(n_classes=n_classes))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize(
    ("configuration", "first", "others"),
    [
        (SDTConfiguration(), 9.44, 1459.62),
        (SDTConfiguration(n_classes=10, size=(64, 64), pools="0011", attention_pool=True), 2.36, 1233.13),
    ],
)
def test_dense_operations_of_a_bin_equal_the_measured_ones(
    configuration: SDTConfiguration, first: float, others: float
) -> None:
    network = SpikeDrivenTransformer(configuration).eval()
    meter = SpikeMeter(network)
    width, height = configuration.size
    with torch.inference_mode():
        network.step(torch.zeros(1, 2, height, width))
    reading = meter.read()
    meter.close()
    assert round(reading.first_macs / 1e6, 2) == first
    assert round((reading.macs - reading.first_macs) / 1e6, 2) == others


@pytest.mark.parametrize("split", [1, 2, 5])
def test_any_split_of_the_bins_gives_the_same_logits(split: int, lively: Lively[SpikeDrivenTransformer]) -> None:
    network = lively(SpikeDrivenTransformer(SMALL))
    x = torch.poisson(torch.full((5, 2, 2, 32, 32), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        state, logits = None, []
        for start in range(0, 5, split):
            part, state = network.run(x[start : start + split], state)
            logits.append(part)
        torch.testing.assert_close(torch.cat(logits).mean(0), network(x), rtol=0, atol=1e-6)
        assert torch.cat(logits).std() > 0


@pytest.mark.parametrize("attention_pool", [False, True])
def test_a_stream_does_not_depend_on_its_neighbours_in_the_batch(
    attention_pool: bool, lively: Lively[SpikeDrivenTransformer]
) -> None:
    configuration = SDTConfiguration(dim=32, n_heads=4, n_classes=5, size=(36, 28), attention_pool=attention_pool)
    network = lively(SpikeDrivenTransformer(configuration))
    x = torch.poisson(torch.full((4, 3, 2, 28, 36), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1], network(x[:, 1:2])[0], rtol=0, atol=1e-9)


def test_every_layer_but_the_first_sees_spikes_alone(lively: Lively[SpikeDrivenTransformer]) -> None:
    network = lively(SpikeDrivenTransformer(SMALL))
    seen: dict[str, bool] = {}
    for name, module in network.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(
                lambda _, inputs, __, name=name: seen.update({name: bool(((inputs[0] == 0) | (inputs[0] == 1)).all())})
            )
    with torch.no_grad():
        network(torch.full((2, 1, 2, 32, 32), 3.0, dtype=torch.float64))
    assert [name for name, is_spikes in seen.items() if not is_spikes] == ["stem.stages.0.conv"]


def test_linear_attention_on_counts_equals_the_released_e_spikeformer(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden", "espikeformer_attention")
    attention = LinearSpikeAttention(32, 4, 2.0 * 8**-0.5, LIFParameters(n_levels=4), neuron="sfa", value_ratio=2)
    golden.load(attention, rename=lambda key: key.replace(".weight", ".conv.weight"))
    name_memories(attention)
    x = golden["in/x"].requires_grad_()
    out = attention(x.unsqueeze(0), Memory(None))[0]
    (out * golden["in/grad_out"]).sum().backward()
    torch.testing.assert_close(out, golden["out/attn"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x.grad, golden["out/attn.grad_x"], rtol=0, atol=1e-9)


SFA = {"attention": "linear", "neuron": "sfa", "dim": 32, "n_heads": 4, "n_classes": 5, "size": (32, 32), "value_ratio": 2}


def test_counts_expanded_into_spikes_give_the_same_logits(lively: Lively[SpikeDrivenTransformer]) -> None:
    network = lively(create_network("sdt", **SFA))
    x = torch.poisson(torch.full((4, 2, 2, 32, 32), 1.0, dtype=torch.float64), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        counted = network(x)
        most = []

        def expand(module: torch.nn.Module, inputs: tuple[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
            # one sub-step after the other, each with binary spikes; what the layer adds of its own, it adds once
            train = spike_train(inputs[0], network.configuration.lif.n_levels)
            most.append(inputs[0].max().item())
            own = type(module).forward(module, torch.zeros_like(inputs[0]))
            return sum(type(module).forward(module, s) - own for s in train) + own

        for name, module in network.named_modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) and name != "stem.stages.0.conv":
                module.register_forward_hook(expand)
        torch.testing.assert_close(network(x), counted, rtol=0, atol=1e-9)
        assert max(most) > 1.0  # counts did flow


def test_operations_of_counts_are_those_of_their_spikes(lively: Lively[SpikeDrivenTransformer]) -> None:
    network = lively(create_network("sdt", **SFA))
    seen = []
    network.blocks[0].mlp.fc1.conv.register_forward_hook(lambda _, inputs, __: seen.append(spike_train(inputs[0], 4)))
    meter = SpikeMeter(network)
    with torch.no_grad():
        network(torch.full((2, 1, 2, 32, 32), 2.0, dtype=torch.float64))
    reading = meter.read()
    meter.close()
    assert reading.layers["blocks.0.mlp.fc1.conv"].sops == seen[0].sum().item() * 128 > 0


@pytest.mark.parametrize("settings", [{"neuron": "sfa"}, {"value_ratio": 2}, {"attention": "linear", "attention_pool": True}])
def test_options_that_do_not_fit_together_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("sdt", **settings)
