"""Layers that skip zeros give what torch's dense ones give, for every kind of convolution; pools and products likewise."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, max_pool2d

from models.engine import products, sparse
from models.engine.folding import Convolution
from models.engine.graph import Value
from models.engine.plan import weights_of
from models.engine.steps import geometry_of


def map_of(n_streams: int, height: int, width: int, n_channels: int, density: float = 0.2) -> torch.Tensor:
    """Counts 0 .. 2, (B, H, W, C)."""
    generator = torch.Generator().manual_seed(3)
    shape = (n_streams, height, width, n_channels)
    active = torch.rand(shape, generator=generator) < density
    return active * torch.randint(1, 3, shape, generator=generator).float()


def scan_of(x: torch.Tensor, reach: np.ndarray | None = None) -> tuple[sparse.Lists, tuple[float, float, int]]:
    n_streams, height, width, _ = x.shape
    lists = sparse.Lists(
        np.zeros((n_streams * height, width + 1), np.int64), np.zeros(x.numel(), np.int32), np.zeros(x.numel(), np.float32)
    )
    ones = np.ones((height, width), np.int64)
    return lists, sparse.scan_rows(0, 1, x.flatten().numpy(), ones if reach is None else reach, lists)


def test_scan_lists_what_is_not_zero_in_order_and_weighs_it_by_its_reach() -> None:
    x = torch.zeros(1, 1, 3, 18)
    x[0, 0, 0, 17], x[0, 0, 2, 0], x[0, 0, 2, 4] = 2.0, 1.0, 3.0
    lists, counted = scan_of(x, np.array([[1, 10, 100]]))
    assert lists.ends.tolist() == [[0, 1, 1, 3]]
    assert lists.keys[:3].tolist() == [17, 36, 40]
    assert lists.values[:3].tolist() == [2.0, 1.0, 3.0]
    assert counted == (6.0, 402.0, 3)


@pytest.mark.parametrize(
    ("n_in", "n_out", "kernel", "stride", "padding", "dilation", "n_groups"),
    [
        (3, 70, (3, 3), (1, 1), (1, 1), (1, 1), 1),
        (32, 129, (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (4, 8, (3, 3), (2, 2), (1, 1), (1, 1), 1),
        (4, 8, (7, 7), (2, 2), (3, 3), (1, 1), 1),
        (4, 8, (2, 2), (2, 2), (0, 0), (1, 1), 1),
        (4, 5, (1, 5), (1, 1), (0, 2), (1, 1), 1),
        (4, 8, (3, 3), (1, 1), (2, 2), (2, 2), 1),
        (6, 6, (3, 3), (1, 1), (1, 1), (1, 1), 6),
        (8, 32, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    ],
)
@pytest.mark.parametrize("density", [0.02, 0.9])
def test_gathered_currents_are_those_of_the_dense_convolution(
    density: float,
    n_in: int,
    n_out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    n_groups: int,
) -> None:
    x = map_of(2, 9, 11, n_in, density)  # by columns where little is active, by places where much is
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(n_out, n_in // n_groups, *kernel, generator=generator)
    bias = torch.randn(n_out, generator=generator)
    wanted = conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding, dilation, n_groups).permute(0, 2, 3, 1)
    call = Convolution(Value(0), weight, bias, stride, padding, dilation, n_groups, Value(1), Value(1), 0)
    geometry = geometry_of(
        (9, 11), tuple(wanted.shape[1:3]), kernel, (stride, padding, dilation), (n_groups, n_out // n_groups)
    )
    found = np.zeros(wanted.numel(), np.float32)
    firing = sparse.Firing(np.empty(0, np.float32), found, np.zeros(6, np.float32))
    for share in range(3):
        sparse.gather_share(share, 3, scan_of(x)[0], weights_of(call), geometry, firing)
    torch.testing.assert_close(torch.from_numpy(found).view(wanted.shape), wanted, rtol=1e-6, atol=1e-5)


def test_neurons_fire_at_the_threshold_and_start_again() -> None:
    # tau 2, threshold 1: H = 0.5 (v + x)
    firing = sparse.Firing(
        np.array([0.0, 1.0, 0.5], np.float32), np.zeros(3, np.float32), np.array([0, 0.5, 1, 0, 1, 0], np.float32)
    )
    n_spikes = sparse.fire(np.array([1.0, 1.0, 2.0], np.float32), firing, 0, 1, 3, 0)
    assert firing.spikes.tolist() == [0.0, 1.0, 1.0]
    assert firing.v.tolist() == [0.5, 0.0, 0.0]
    assert n_spikes == 2


def test_soft_reset_keeps_what_is_above_the_threshold() -> None:
    firing = sparse.Firing(np.array([0.0], np.float32), np.zeros(1, np.float32), np.array([1, 0.5, 1, 0, 0, 0], np.float32))
    assert sparse.fire(np.array([1.75], np.float32), firing, 0, 1, 1, 0) == 1  # the input does not decay: H = 1.75
    assert firing.v.tolist() == [0.75]


def test_counting_neurons_fire_whole_numbers_and_keep_the_rest() -> None:
    constants = np.array([sparse.COUNTING, 0, 0, 0, 0, 4], np.float32)
    firing = sparse.Firing(np.array([0.25, 0.0, 0.0], np.float32), np.zeros(3, np.float32), constants)
    assert sparse.fire(np.array([2.5, 9.0, -1.0], np.float32), firing, 0, 1, 3, 0) == 7
    assert firing.spikes.tolist() == [3.0, 4.0, 0.0]
    assert firing.v.tolist() == [-0.25, 5.0, -1.0]


@pytest.mark.parametrize(("window", "stride", "padding"), [((3, 3), (2, 2), (1, 1)), ((2, 2), (2, 2), (0, 0))])
def test_pool_is_torchs(window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
    x = map_of(2, 9, 12, 5) - 1.0
    wanted = max_pool2d(x.permute(0, 3, 1, 2), window, stride, padding).permute(0, 2, 3, 1)
    geometry = geometry_of((9, 12), tuple(wanted.shape[1:3]), window, (stride, padding, (1, 1)), (1, 5))
    found = np.zeros(wanted.numel(), np.float32)
    sparse.pool_rows(0, 1, x.flatten().numpy(), found, geometry)
    assert torch.equal(torch.from_numpy(found).view(wanted.shape), wanted)


def test_product_is_exact_and_counts_both_orders() -> None:
    q, k, v = (map_of(2, 3, 7, 4, density).sign() for density in (0.3, 0.5, 0.4))  # (B, n_heads, N, D)
    out, counted = torch.zeros_like(q), np.zeros(5)
    products.multiply(q.numpy(), k.numpy(), v.numpy(), out.numpy(), counted)
    assert torch.equal(out, q @ k.transpose(-1, -2) @ v)
    query_key = (q.sum(2) * k.sum(2)).sum() + v.sum() * 7
    key_value = (k.sum(3) * v.sum(3)).sum() + q.sum() * 4
    assert counted.tolist() == [q.sum(), k.sum(), v.sum(), query_key, key_value]
