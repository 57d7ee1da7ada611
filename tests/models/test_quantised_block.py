"""The released block of QSD-Transformer, put together here from our quantiser and our multi-level spikes."""

from pathlib import Path

import torch
from golden import Golden
from torch import Tensor, nn

from models.quantisation import Quantisation, quantise
from models.surrogate import count
from models.zoo.qkformer import KeyValueProduct


def _spikes(x: Tensor, divisor: float = 4.0) -> Tensor:
    """floor(clip(4 x, 0, 4) + 0.5) over `divisor`: a count of at most four. Products of spikes do fall on exact halves."""
    return count(4.0 * x, 4, is_half_up=True) / divisor


class _Reparameterised(nn.Module):
    """1x1 convolution and norm, 3x3 of each channel over a border of what the norm makes of nothing, 1x1, two norms."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pw0 = nn.Conv2d(dim, dim, kernel_size=1, bias=False)
        self.bn0 = nn.BatchNorm2d(dim)
        self.dw = nn.Conv2d(dim, dim, kernel_size=3, groups=dim, bias=False)
        self.pw1 = nn.Conv2d(dim, dim, kernel_size=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        bordered = self.bn0(torch.zeros(len(x), self.bn0.num_features, height + 2, width + 2, dtype=x.dtype))
        bordered[:, :, 1:-1, 1:-1] = self.bn0(self.pw0(x))
        out: Tensor = self.bn2(self.bn1(self.pw1(self.dw(bordered))))
        return out


class _Attention(nn.Module):
    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q, self.k, self.v, self.proj = (_Reparameterised(dim) for _ in range(4))
        self.product = KeyValueProduct()

    def forward(self, x: Tensor) -> Tensor:
        s = _spikes(x)
        q, k, v = (
            _spikes(layer(s)).flatten(2).unflatten(1, (self.n_heads, -1)).transpose(-1, -2)
            for layer in (self.q, self.k, self.v)
        )
        o = (0.25 * self.product(q, k, v)).transpose(-1, -2).reshape(x.shape)
        out: Tensor = self.proj(_spikes(o, divisor=2.0))
        return out


class _Layer(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv1d(in_channels, out_channels, kernel_size=1), nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(_spikes(x)))
        return out


class _Block(nn.Module):
    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.attn = _Attention(dim, n_heads)
        self.mlp = nn.ModuleDict({"fc1": _Layer(dim, 4 * dim), "fc2": _Layer(4 * dim, dim)})

    def forward(self, x: Tensor, scale1: Tensor, scale2: Tensor) -> Tensor:
        x = x + scale1 * self.attn(x)
        hidden = self.mlp["fc2"](self.mlp["fc1"](x.flatten(2)))
        return x + scale2 * hidden.view_as(x)


def _names(key: str) -> str:
    """Our quantiser keeps the plain weight and its steps beneath the layer's weight."""
    if ".bn" not in key:
        key = key.replace(".weight", ".parametrizations.weight.original").replace(".alpha", ".parametrizations.weight.0.alpha")
    return key


def test_quantised_block_equals_the_released_one(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "qsd_block")
    block = _Block(golden.description["C"], golden.description["heads"])
    quantise(block, Quantisation("lsq", 4))
    golden.load(block, rename=_names)
    scales = (golden[f"layer_scale{i}"].view(-1, 1, 1) for i in (1, 2))
    x = golden["x"]
    with torch.no_grad():
        out = block(x.flatten(0, 1), *scales).view_as(x)
    torch.testing.assert_close(out, golden["y"], rtol=0, atol=1e-9)


def test_multi_level_spike_and_its_gradient_equal_the_released_ones(shared_models: Path) -> None:
    golden = Golden(shared_models / "golden_b", "qsd_lsq")
    x = golden["spike_x"].requires_grad_()
    y = _spikes(x)
    (y * golden["spike_grad_out"]).sum().backward()
    assert torch.equal(y, golden["spike_y"])
    torch.testing.assert_close(x.grad, golden["spike_grad_in"], rtol=0, atol=1e-9)
