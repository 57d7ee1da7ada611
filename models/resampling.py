"""Mixed time steps (temporal flexibility, ICLR 2025): one network that serves any number of time bins.

In training, each group of layers runs for a length T_g of its own, drawn anew for each batch; between groups a resampler
without parameters takes T_in bins to T_out. With f the fewer and m the more of the two, the longer is cut into f runs at
c_i = round((i + 1) m / f - 1e-5): shrinking sums each run, growing repeats a bin over its run.

The event counts are resampled as well, our own choice: the released code keeps the first T_0 bins and drops the rest.
Shapes: T bins, B streams.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.neuron import LIF, SpikingNetwork
from pipeline.schema.errors import ConfigurationError

# Passes of a batch through the network, each with lengths of its own, before the weights move.
N_PASSES = 3
# Keeps a cut that falls between two bins on the earlier side, as released.
_DOWN = 1e-5


def run_lengths(n_few: int, n_many: int) -> list[int]:
    """How `n_many` bins are cut into `n_few` runs, 1 <= n_few <= n_many: the length of each."""
    cuts = [round((i + 1) * n_many / n_few - _DOWN) for i in range(n_few)]
    return [end - start for start, end in itertools.pairwise([0, *cuts])]


def resample(x: Tensor, n_bins: int) -> Tensor:
    """(n_bins, ...) of `x` (T, ...): sums of neighbouring bins where they become fewer, repeated bins where more."""
    T = x.shape[0]
    if n_bins == T:
        return x
    if n_bins < T:
        return torch.stack([run.sum(dim=0) for run in torch.split(x, run_lengths(n_bins, T))])
    return x.repeat_interleave(torch.tensor(run_lengths(T, n_bins), device=x.device), dim=0)


def time_groups(network: SpikingNetwork) -> list[nn.Module]:
    """Layers of `network` that may run for a length of their own, from input to output: stem, stages and blocks."""
    groups: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            groups.extend(child)
        elif not isinstance(child, (nn.Linear, LIF)) and any(True for _ in child.parameters()):
            groups.append(child)  # a pool or an identity goes with what is before it
    return groups


def draw_lengths(n_groups: int, longest: int, generator: torch.Generator) -> list[int]:
    """One length for each group, every one of 1 .. `longest` alike likely."""
    return [int(length) for length in torch.randint(1, longest + 1, (n_groups,), generator=generator)]


def run_mixed(network: SpikingNetwork, x: Tensor, lengths: list[int]) -> Tensor:
    """Logits (B, K), mean over the last group's bins from rest, of counts (T, B, 2, H, W); a length for each of `time_groups`.

    With every length T, this is `network(x)`.
    """
    groups = time_groups(network)
    if len(lengths) != len(groups) or min(lengths) < 1:
        raise ConfigurationError(f"mixed time steps: {len(groups)} groups need as many lengths of at least 1, not {lengths}")
    hooks = [group.register_forward_pre_hook(_resampler(length)) for group, length in zip(groups, lengths, strict=True)]
    try:
        logits: Tensor = network(x)
        return logits
    finally:
        for hook in hooks:
            hook.remove()


def _resampler(length: int) -> Any:
    def resample_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(resample(value, length) if isinstance(value, Tensor) else value for value in inputs)

    return resample_inputs


def mixed_logits(network: SpikingNetwork, x: Tensor, longest: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Logits (B, K) of each of the passes that one batch of counts (T, B, 2, H, W) takes: add up their gradients, then step."""
    for _ in range(N_PASSES):
        yield run_mixed(network, x, draw_lengths(len(time_groups(network)), longest, generator))


def settle_norms(network: SpikingNetwork, batches: Iterable[Tensor]) -> None:
    """Estimate batch-norm statistics anew from `batches` of counts (T, B, 2, H, W), for the T that the network will see.

    A network trained with mixed lengths has statistics of none of them; the released code takes ten batches.
    """
    norms = [module for module in network.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    kept = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    try:
        with torch.no_grad():
            for x in batches:
                network(x)
    finally:
        for norm, (momentum, is_training) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.train(is_training)
