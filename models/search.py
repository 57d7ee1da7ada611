"""Evolutionary search over networks (AutoST and Auto-Spikformer): candidates, mutation, crossover, selection.

A candidate is a row of genes for the whole network and one row for each layer; depth is the number of layers. Nothing here
builds or judges a network: the caller says which candidates are allowed and what each is worth.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.schema.errors import ConfigurationError

Genes = tuple[float, ...]
Score = Callable[["Candidate"], float]

# Random candidates drawn for one that is allowed, before the window is called empty.
_PATIENCE = 10_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One network of a space: values in the order of `SearchSpace.whole`, and for each layer in the order of `.layer`."""

    whole: Genes
    layers: tuple[Genes, ...]


@dataclass(frozen=True)
class SearchSpace:
    """What may be chosen: values of each setting of the whole network, numbers of layers, values of each setting of a layer."""

    whole: Mapping[str, tuple[float, ...]]
    depth: tuple[int, ...]
    layer: Mapping[str, tuple[float, ...]]

    def settings(self, candidate: Candidate) -> dict[str, Any]:
        """Settings of the candidate's network by name: one value for the whole, a tuple with one value for each layer."""
        values: dict[str, Any] = dict(zip(self.whole, candidate.whole, strict=True))
        values["depth"] = len(candidate.layers)
        return values | dict(zip(self.layer, zip(*candidate.layers, strict=True), strict=True))

    def draw(self, rng: random.Random) -> Candidate:
        """A candidate with every gene drawn alike."""
        whole = tuple(rng.choice(values) for values in self.whole.values())
        return Candidate(whole, tuple(self.draw_layer(rng) for _ in range(rng.choice(self.depth))))

    def draw_layer(self, rng: random.Random) -> Genes:
        """Genes of one layer."""
        return tuple(rng.choice(values) for values in self.layer.values())


@dataclass(frozen=True, slots=True)
class Evolution:
    """How long and how wildly to search; the numbers are those of both released codes.

    `gene_rate` is the chance that a gene of a layer is drawn anew in a mutation, `whole_rate` that of depth and of each gene of
    the whole network.
    """

    population: int = 50
    rounds: int = 20
    n_kept: int = 10
    n_mutations: int = 25
    n_crossovers: int = 25
    gene_rate: float = 0.2
    whole_rate: float = 0.4
    seed: int = 0


def mutate(space: SearchSpace, parent: Candidate, evolution: Evolution, rng: random.Random) -> Candidate:
    """A changed copy: a deeper one gets new layers drawn at random, a shallower one loses its last."""
    depth = rng.choice(space.depth) if rng.random() < evolution.whole_rate else len(parent.layers)
    kept = (_redraw(genes, space.layer, evolution.gene_rate, rng) for genes in parent.layers[:depth])
    new = (space.draw_layer(rng) for _ in range(depth - len(parent.layers)))
    return Candidate(_redraw(parent.whole, space.whole, evolution.whole_rate, rng), (*kept, *new))


def cross(mother: Candidate, father: Candidate, rng: random.Random) -> Candidate:
    """A child of two candidates of equal depth: each gene from one of the two."""

    def mixed(genes: Genes, others: Genes) -> Genes:
        return tuple(rng.choice(pair) for pair in zip(genes, others, strict=True))

    layers = zip(mother.layers, father.layers, strict=True)
    return Candidate(mixed(mother.whole, father.whole), tuple(mixed(a, b) for a, b in layers))


def evolve(
    space: SearchSpace, score: Score, is_allowed: Callable[[Candidate], bool], evolution: Evolution
) -> list[tuple[float, Candidate]]:
    """The best `n_kept` candidates seen, with their scores, best first; more is better. Each is scored once.

    ConfigurationError where no candidate of `space` is allowed.
    """
    rng = random.Random(evolution.seed)
    scores: dict[Candidate, float] = {}
    kept: list[Candidate] = []
    for _ in range(evolution.rounds):
        children = _children(kept, space, evolution, rng) if kept else []
        new = [child for child in dict.fromkeys(children) if child not in scores and is_allowed(child)]
        for candidate in _filled(new, space, is_allowed, evolution, rng):
            if candidate not in scores:
                scores[candidate] = score(candidate)
        kept = sorted(scores, key=scores.__getitem__, reverse=True)[: evolution.n_kept]
    return [(scores[candidate], candidate) for candidate in kept]


def _children(parents: list[Candidate], space: SearchSpace, evolution: Evolution, rng: random.Random) -> list[Candidate]:
    mutants = [mutate(space, rng.choice(parents), evolution, rng) for _ in range(evolution.n_mutations)]
    crossed = []
    for _ in range(evolution.n_crossovers):
        mother = rng.choice(parents)
        fathers = [parent for parent in parents if len(parent.layers) == len(mother.layers)]
        crossed.append(cross(mother, rng.choice(fathers), rng))
    return mutants + crossed


def _filled(
    population: list[Candidate],
    space: SearchSpace,
    is_allowed: Callable[[Candidate], bool],
    evolution: Evolution,
    rng: random.Random,
) -> list[Candidate]:
    """The population and random candidates up to its size."""
    filled = list(population)
    for _ in range(_PATIENCE):
        if len(filled) >= evolution.population:
            return filled
        candidate = space.draw(rng)
        if is_allowed(candidate):
            filled.append(candidate)
    if filled:
        return filled
    raise ConfigurationError(f"none of {_PATIENCE} random candidates is allowed; widen the window of parameters or the space")


def _redraw(genes: Genes, values: Mapping[str, tuple[float, ...]], rate: float, rng: random.Random) -> Genes:
    return tuple(
        rng.choice(choices) if rng.random() < rate else gene for gene, choices in zip(genes, values.values(), strict=True)
    )
