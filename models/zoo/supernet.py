"""Weight-entangled supernet (Auto-Spikformer): one network holds the weights of every smaller one as its leading slices.

A subnet is a configuration. Its weights are `weight[:out, :in]` of the supernet's, its layers the first ones, its batch norms
the leading channels with the supernet's running statistics. Slices are views: what a subnet learns, the supernet has learned.
"""

import random
import typing
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from models.energy import SpikeMeter, energy_uj
from models.neuron import SpikingNetwork, State
from models.registry import NETWORKS, create_network, read_configuration
from models.search import Candidate, Evolution, SearchSpace, evolve
from models.zoo.autospikformer import fitness
from pipeline.schema.errors import ConfigurationError


def slice_weights(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Leading slices (views) of a supernet's `weights` that fill `network`, by its names.

    ConfigurationError, naming the first that does not fit, where `network` is larger or has what `weights` have not.
    """
    slices = {}
    for name, own in network.state_dict().items():
        if name not in weights:
            raise ConfigurationError(f"the supernet has no {name}; a subnet may not be deeper than its supernet")
        whole = weights[name]
        if whole.dim() != own.dim() or any(have < want for have, want in zip(whole.shape, own.shape, strict=True)):
            raise ConfigurationError(f"{name}: a slice {tuple(own.shape)} does not fit into {tuple(whole.shape)}")
        slices[name] = whole[tuple(slice(n) for n in own.shape)] if own.dim() else whole
    return slices


class Supernet(nn.Module):
    """The largest network of a space, run as any smaller one.

    `settings` are those of network `name` that the space does not choose (n_classes, size, ...). Made for Auto-Spikformer,
    whose stem keeps the widths of the largest network (`stem_dim`); AutoST's candidates nest as well.
    """

    def __init__(self, name: str, space: SearchSpace, **settings: Any) -> None:
        super().__init__()
        if "stem_dim" in typing.get_type_hints(NETWORKS[name].configuration):
            settings = {"stem_dim": max(space.whole["dim"]), **settings}
        self._name, self.space, self._settings = name, space, settings
        self.largest = Candidate(
            tuple(max(values) for values in space.whole.values()),
            tuple(tuple(max(values) for values in space.layer.values()) for _ in range(max(space.depth))),
        )
        self.network = create_network(name, **self.subnet_settings(self.largest))

    def subnet_settings(self, candidate: Candidate) -> dict[str, Any]:
        """Settings of the network that `candidate` stands for; the number of time bins is not among them."""
        settings = self._settings | self.space.settings(candidate)
        settings.pop("n_time_bins", None)
        return settings

    def n_time_bins(self, candidate: Candidate) -> int | None:
        """T of `candidate`, None where the space does not choose it."""
        n_time_bins = self.space.settings(candidate).get("n_time_bins")
        return None if n_time_bins is None else int(n_time_bins)

    def run(self, x: Tensor, candidate: Candidate, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """`candidate`'s network on the supernet's weights: counts (T, B, 2, H, W) to (logits (T, B, K), state).

        Gradients, and in training the batch norms' statistics, go to the slices of the supernet that were used.
        """
        subnet = self._hollow(candidate)
        subnet.train(self.training)
        weights = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        result: tuple[Tensor, dict[str, Tensor]] = functional_call(
            _Run(subnet), _below(slice_weights(weights, subnet)), (x, state)
        )
        return result

    def extract(self, candidate: Candidate) -> nn.Module:
        """`candidate` as a network of its own, with a copy of its slices."""
        network = create_network(self._name, **self.subnet_settings(candidate)).to(next(self.network.parameters()))
        network.load_state_dict(slice_weights(self.network.state_dict(), network))
        return network.train(self.training)

    def n_parameters(self, candidate: Candidate) -> int:
        """Parameters of `candidate`, counted without building its weights."""
        return sum(p.numel() for p in self._hollow(candidate).parameters())

    def draw(self, rng: random.Random) -> Candidate:
        """A subnet with every choice drawn alike: one for each batch is how the supernet is trained."""
        return self.space.draw(rng)

    def _hollow(self, candidate: Candidate) -> SpikingNetwork:
        """The candidate's network with shapes and no weights."""
        entry = NETWORKS[self._name]
        configuration = read_configuration(entry.configuration, self._name, self.subnet_settings(candidate))
        with torch.device("meta"):
            network = entry.build(configuration)
        assert isinstance(network, SpikingNetwork)
        return network


def subnet_loss(supernet: Supernet, counts: Tensor, labels: Tensor, rng: random.Random) -> Tensor:
    """Cross-entropy of one subnet drawn at random, on counts (T, B, 2, H, W) and labels (B,): one step of one-shot training.

    A subnet of fewer bins than `counts` have sees the first of them.
    """
    candidate = supernet.draw(rng)
    logits, _ = supernet.run(counts[: supernet.n_time_bins(candidate)], candidate)
    return cross_entropy(logits.mean(dim=0), labels)


def judge_subnet(supernet: Supernet, candidate: Candidate, counts: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy (0 to 1) and energy in microjoules a clip of a subnet, on one batch of counts (T, B, 2, H, W), labels (B,)."""
    network = supernet.extract(candidate).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        logits = network(counts[: supernet.n_time_bins(candidate)])
    reading = meter.read()
    meter.close()
    accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
    return accuracy, energy_uj(reading.sops, reading.first_macs) / len(labels)


def search_subnets(
    supernet: Supernet, counts: Tensor, labels: Tensor, most_parameters: int, evolution: Evolution
) -> list[tuple[float, Candidate]]:
    """The fittest subnets of a trained supernet with at most so many parameters, by accuracy and energy on one batch."""
    _, reference_uj = judge_subnet(supernet, supernet.largest, counts, labels)

    def score(candidate: Candidate) -> float:
        accuracy, spent_uj = judge_subnet(supernet, candidate, counts, labels)
        return fitness(accuracy, spent_uj, reference_uj)

    return evolve(supernet.space, score, lambda c: supernet.n_parameters(c) <= most_parameters, evolution)


class _Run(nn.Module):
    """`run` under the name that `functional_call` calls."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.network.run(x, state)


def _below(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"network.{name}": value for name, value in weights.items()}
