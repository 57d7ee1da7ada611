"""SAFormer, our design of it: attention against a loop over tokens, counts and operations in closed form."""

import pytest
import torch
from golden import Lively
from torch import Tensor

from models.energy import SpikeMeter
from models.functional import LIFParameters, lif
from models.neuron import Memory, name_memories
from models.registry import create_network
from models.zoo.saformer import SAFormerConfiguration, SpikeAggregatedAttention
from pipeline.schema.errors import ConfigurationError

SMALL = SAFormerConfiguration(dim=16, n_heads=4, size=(64, 48))  # 12 tokens of 4 channels a head


def test_attention_equals_a_loop_over_tokens_and_heads(lively: Lively[SpikeAggregatedAttention]) -> None:
    torch.manual_seed(0)
    attention = lively(SpikeAggregatedAttention(SMALL))
    name_memories(attention)
    attention.beta.data.copy_(torch.tensor([0.1, 0.3, 0.5, 0.7]).view(4, 1, 1))
    seen: dict[str, Tensor] = {}
    for name in ("q", "k", "dw"):
        layer = getattr(attention, name)
        layer.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output, f"{name}.in": inputs[0]}))
    x = torch.poisson(torch.full((6, 1, 16, 3, 4), 0.7, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attention(x, Memory(None))
    q, k, betas = seen["q"][:, 0], seen["k"][:, 0], (0.1, 0.3, 0.5, 0.7)  # (T, C, N)
    y = torch.zeros_like(q)
    for head, beta in enumerate(betas):
        own = slice(4 * head, 4 * head + 4)
        for n in range(12):
            current = torch.stack([beta * sum((q[t, own, n] * k[t, own, m]).sum() for m in range(12)) for t in range(6)])
            fired, _ = lif(current.unsqueeze(1), None, LIFParameters(v_threshold=0.5))
            y[:, own, n] = fired * q[:, own, n]
    assert 0.0 < y.mean() < q.mean()  # some tokens are masked, and not all
    torch.testing.assert_close(seen["dw.in"][:, 0].flatten(2), y, rtol=0, atol=1e-9)


def test_parameters_are_three_squares_and_a_depthwise_convolution() -> None:
    attention = SpikeAggregatedAttention(SAFormerConfiguration())
    layers = [module for module in attention.modules() if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d))]
    weights = sum(layer.weight.numel() for layer in layers)
    assert weights == 3 * 256**2 + 9 * 256
    others = sum(p.numel() for p in attention.parameters()) - weights
    assert others == 4 * 2 * 256 + 16  # batch norms, beta


def test_first_beta_follows_tokens_and_channels_of_a_head() -> None:
    assert SpikeAggregatedAttention(SMALL).beta.flatten().tolist() == pytest.approx([25 / (12 * 4)] * 4)


def test_dense_operations_of_a_bin_equal_the_closed_form() -> None:
    network = create_network("saformer").eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        network.step(torch.zeros(1, 2, 128, 128))
    reading = meter.read()
    meter.close()
    dim, n_tokens, first = 256, 64, 128 * 128 * 9 * 2 * 32
    stem = 64**2 * 9 * 32 * 64 + 32**2 * 9 * 64 * 128 + 16**2 * 9 * 128 * 256 + 8**2 * 9 * 256 * 256
    products = n_tokens * dim  # linear in tokens: each query channel meets the sum of keys once
    assert reading.first_macs == first + dim * 11  # the head sees means
    assert sum(count.macs for name, count in reading.layers.items() if "product" in name) == 2 * products
    assert reading.macs == first + stem + 2 * (n_tokens * (11 * dim**2 + 9 * dim) + products) + dim * 11


@pytest.mark.parametrize("settings", [{"n_heads": 24}, {"pools": "1"}, {"dim": 100}, {"size": (0, 64)}])
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("saformer", **settings)
