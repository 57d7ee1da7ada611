"""Evolution over candidates: what mutation, crossover and selection may and may not do."""

import random

import pytest

from models.search import Candidate, Evolution, SearchSpace, cross, evolve, mutate
from pipeline.schema.errors import ConfigurationError

SPACE = SearchSpace(whole={"dim": (8, 16)}, depth=(1, 2, 3), layer={"n_heads": (1, 2), "mlp_ratio": (3, 3.5)})
PARENT = Candidate((8,), ((1, 3), (2, 3.5)))


def test_settings_are_named_and_layered() -> None:
    assert SPACE.settings(PARENT) == {"dim": 8, "depth": 2, "n_heads": (1, 2), "mlp_ratio": (3, 3.5)}


def test_drawn_candidates_lie_in_the_space_and_reach_all_of_it() -> None:
    rng = random.Random(0)
    drawn = [SPACE.draw(rng) for _ in range(300)]
    assert {len(candidate.layers) for candidate in drawn} == {1, 2, 3}
    assert {candidate.whole for candidate in drawn} == {(8,), (16,)}
    assert {genes for candidate in drawn for genes in candidate.layers} == {(1, 3), (1, 3.5), (2, 3), (2, 3.5)}


def test_mutation_at_rate_zero_is_a_copy_and_a_deeper_mutant_keeps_its_first_layers() -> None:
    still = Evolution(gene_rate=0.0, whole_rate=0.0)
    assert mutate(SPACE, PARENT, still, random.Random(0)) == PARENT
    depth_alone = Evolution(gene_rate=0.0, whole_rate=1.0)
    mutants = [mutate(SPACE, PARENT, depth_alone, random.Random(seed)) for seed in range(30)]
    assert {len(mutant.layers) for mutant in mutants} == {1, 2, 3}
    assert all(mutant.layers[:2] == PARENT.layers[: len(mutant.layers)] for mutant in mutants)


def test_mutation_changes_genes_at_about_its_rate() -> None:
    rng = random.Random(0)
    mutants = [mutate(SPACE, PARENT, Evolution(whole_rate=0.0), rng) for _ in range(2000)]
    changed = sum(
        a != b for m in mutants for one, two in zip(m.layers, PARENT.layers, strict=True) for a, b in zip(one, two, strict=True)
    )
    # a gene drawn anew at rate 0.2 from two values changes half the time: 0.1 of 8000
    assert 650 < changed < 950


def test_child_has_every_gene_from_one_of_its_parents() -> None:
    mother, father = Candidate((8,), ((1, 3), (1, 3))), Candidate((16,), ((2, 3.5), (2, 3.5)))
    rng = random.Random(0)
    children = {cross(mother, father, rng) for _ in range(200)}
    assert len(children) == 2**5


def test_evolution_finds_the_best_candidate_and_scores_none_twice() -> None:
    seen: list[Candidate] = []

    def score(candidate: Candidate) -> float:
        seen.append(candidate)
        return candidate.whole[0] + sum(sum(genes) for genes in candidate.layers)

    found = evolve(SPACE, score, lambda _: True, Evolution(population=20, rounds=6, n_kept=3, n_mutations=8, n_crossovers=8))
    assert found[0] == (16 + 3 * 5.5, Candidate((16,), ((2, 3.5),) * 3))
    assert len(found) == 3
    assert len(seen) == len(set(seen))


def test_evolution_keeps_to_what_is_allowed_and_the_same_seed_finds_the_same() -> None:
    def search() -> list[tuple[float, Candidate]]:
        return evolve(SPACE, lambda c: c.whole[0], lambda c: len(c.layers) == 2, Evolution(population=6, rounds=2, n_kept=2))

    assert search() == search()
    assert all(len(candidate.layers) == 2 for _, candidate in search())


def test_empty_window_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="widen the window"):
        evolve(SPACE, lambda _: 0.0, lambda _: False, Evolution())
