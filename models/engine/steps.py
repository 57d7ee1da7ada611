"""What a compiled bin is made of: steps that read and write tensors which stay where they are, without asking for memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.engine import products, sparse
from models.engine.folding import Convolution, Pair
from models.functional import LIFParameters
from models.neuron import LIF, PLIF, SFA


class Step(Protocol):
    """One step of a bin."""

    def run(self, n_threads: int) -> None:
        """Do it on the values as they are now."""
        ...


@dataclass(slots=True)
class Plain:
    """A torch function whose outcome goes to `out`; `has_out` where it can write there itself."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    out: Tensor
    has_out: bool

    def run(self, _: int) -> None:
        """Call it."""
        if self.has_out:
            self.function(*self.arguments, **self.options, out=self.out)
        else:
            self.out.copy_(self.function(*self.arguments, **self.options))


@dataclass(slots=True)
class Copy:
    """A value that is needed in another order, or in the next bin."""

    source: Tensor
    target: Tensor

    def run(self, _: int) -> None:
        """Copy it."""
        self.target.copy_(self.source)


class Source(Protocol):
    """Whoever fills a map with spikes, and knows how many: a map without is neither pooled nor scanned again."""

    n_spikes: int


@dataclass(slots=True)
class Arrival:
    """The frame: `n_spikes` is 0 where it is empty."""

    n_spikes: int = 0


@dataclass(slots=True)
class Scan:
    """Lists what is not zero on a map, and counts it: `n_spikes`, and `additions`, those times the places that each reaches."""

    x: npt.NDArray[np.float32]
    reach: npt.NDArray[np.int64]
    lists: sparse.Lists
    source: Source | None = None
    n_spikes: float = 0.0
    additions: float = 0.0
    n_active: int = 0

    def run(self, n_threads: int) -> None:
        """Scan the map, unless it was empty and is so again."""
        if self.n_active == 0 and self.source is not None and self.source.n_spikes == 0:
            return
        if n_threads == 1:
            counted = sparse.scan_rows(0, 1, self.x, self.reach, self.lists)
        else:
            counted = sparse.scan(self.x, self.reach, self.lists, n_threads)
        self.n_spikes, self.additions, self.n_active = counted


@dataclass(slots=True)
class Convolve:
    """A convolution of what a scan lists, and the neurons behind it where there are membranes.

    Above `dense_above` active inputs the dense product `dense` fills `currents`, and the neurons take them from there.
    """

    scan: Scan
    weights: sparse.Weights
    geometry: sparse.Geometry
    firing: sparse.Firing
    dense: Dense | None = None
    dense_above: float = float("inf")
    n_spikes: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return self.firing.spikes.size // self.weights.bias.size * self.weights.weight.size

    def run(self, n_threads: int) -> None:
        """Convolve and fire."""
        if self.dense is not None and self.scan.n_active > self.dense_above:
            self.run_dense()
        else:
            self.run_sparse(n_threads)

    def run_sparse(self, n_threads: int) -> None:
        """Add the weights of active inputs alone."""
        if n_threads == 1:
            self.n_spikes = sparse.gather_share(0, 1, self.scan.lists, self.weights, self.geometry, self.firing)
        else:
            self.n_spikes = sparse.gather(self.scan.lists, self.weights, self.geometry, self.firing, n_threads)

    def run_dense(self) -> None:
        """Multiply everything."""
        assert self.dense is not None  # asked for by whoever built it
        self.dense.run()
        if self.firing.v.size:
            self.n_spikes = sparse.fire(self.dense.flat, self.firing, 0, 1, self.dense.flat.size, 0)


@dataclass(slots=True)
class Dense:
    """The same convolution by torch, `x` (B, C, H, W) to `currents` (B, C', H', W'), channels last; `flat` are its items."""

    x: Tensor
    convolution: Convolution
    currents: Tensor
    flat: npt.NDArray[np.float32]
    dtype: torch.dtype = torch.float32
    weight: Tensor = field(init=False)
    bias: Tensor = field(init=False)

    def __post_init__(self) -> None:
        c = self.convolution
        self.weight = c.weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        self.bias = c.bias.to(self.dtype)
        if self.is_product:
            self.weight = c.weight.flatten(1).t().to(self.dtype).contiguous()  # (C, C')

    @property
    def is_product(self) -> bool:
        """Whether it is a 1x1 convolution, which is one matrix product."""
        c = self.convolution
        return c.weight.shape[2:] == (1, 1) and c.stride == (1, 1) and c.padding == (0, 0) and c.n_groups == 1

    def run(self) -> None:
        """Fill the currents."""
        c = self.convolution
        x = self.x if self.dtype is torch.float32 else self.x.to(self.dtype)
        if not self.is_product:
            y = torch.conv2d(x, self.weight, self.bias, c.stride, c.padding, c.dilation, c.n_groups)
            self.currents.copy_(y)
            return
        places, out = x.permute(0, 2, 3, 1).flatten(0, 2), self.currents.permute(0, 2, 3, 1).flatten(0, 2)
        if self.dtype is torch.float32:
            torch.addmm(self.bias, places, self.weight, out=out)
        else:
            out.copy_(torch.addmm(self.bias, places, self.weight))


@dataclass(slots=True)
class Fire:
    """Neurons whose currents another step made."""

    currents: npt.NDArray[np.float32]
    firing: sparse.Firing
    n_spikes: int = 0

    def run(self, _: int) -> None:
        """Fire."""
        self.n_spikes = sparse.fire(self.currents, self.firing, 0, 1, self.currents.size, 0)


@dataclass(slots=True)
class Pool:
    """A max-pool, of spikes the OR; flat maps (B, H, W, C)."""

    x: npt.NDArray[np.float32]
    out: npt.NDArray[np.float32]
    geometry: sparse.Geometry
    source: Source | None = None
    n_spikes: int = 0
    is_clear: bool = False

    def run(self, n_threads: int) -> None:
        """Pool, unless there is nothing to pool."""
        self.n_spikes = 1 if self.source is None else self.source.n_spikes  # only whether there are any
        if self.n_spikes == 0:
            if not self.is_clear:
                self.out.fill(0.0)
                self.is_clear = True
            return
        self.is_clear = False
        if n_threads == 1:
            sparse.pool_rows(0, 1, self.x, self.out, self.geometry)
        else:
            sparse.pool(self.x, self.out, self.geometry, n_threads)


@dataclass(slots=True)
class Multiply:
    """Q K^T V of spikes (B, n_heads, N, D); `is_query_key` says which order of the product is charged."""

    q: npt.NDArray[np.float32]
    k: npt.NDArray[np.float32]
    v: npt.NDArray[np.float32]
    out: npt.NDArray[np.float32]
    counts: npt.NDArray[np.float64]
    is_query_key: bool

    def run(self, _: int) -> None:
        """Multiply."""
        products.multiply(self.q, self.k, self.v, self.out, self.counts)


def constants_of(layer: LIF) -> npt.NDArray[np.float32]:
    """Constants of a layer of neurons, as `sparse.Firing` has them."""
    p: LIFParameters = layer.parameters_
    by_input = sparse.DECAYING if p.decay_input else sparse.PLAIN_INPUT
    kind = sparse.COUNTING if type(layer) is SFA else by_input
    gain = torch.sigmoid(layer.w.detach().float()).item() if isinstance(layer, PLIF) else 1.0 / p.tau
    is_hard = p.v_reset is not None
    return np.array([kind, gain, p.v_threshold, p.v_reset or 0.0, is_hard, p.n_levels], np.float32)


def geometry_of(in_map: Pair, out_map: Pair, kernel: Pair, spacing: tuple[Pair, Pair, Pair], groups: Pair) -> sparse.Geometry:
    """Sizes as `sparse.Geometry` has them; `spacing` is stride, padding and dilation, `groups` their number and share of C'."""
    return np.array([in_map, out_map, kernel, *spacing, groups], np.int64)


def flat(tensor: Tensor) -> npt.NDArray[np.float32]:
    """The items of a tensor that fills its memory without gaps, in the order in which they lie there."""
    items: npt.NDArray[np.float32] = tensor.as_strided((tensor.numel(),), (1,)).numpy()
    return items


def is_filled(tensor: Tensor) -> bool:
    """Whether the items of a tensor lie side by side, in whatever order."""
    axes = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    wanted = 1
    for stride, size in axes:
        if stride != wanted:
            return False
        wanted *= size
    return True
