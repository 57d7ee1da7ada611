"""Classes from a few examples: means of features, one shrunk covariance, and a distance beyond which it is none of them.

    d_k(z) = (z - m_k)' S^-1 (z - m_k) / D,    S = (1 - a) W + a tr(W)/D I       (W: covariance within classes, a: shrinkage)

The shrinkage is that of regularised discriminant analysis (Friedman 1989). What is near no mean is "none of these": the limit
lies where examples that were left out (one by one, so that each is judged by the others) part best from the background.
Pure: arrays in, arrays out; knows no network. D features, K classes, n windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]

# Share of the round covariance: few windows say little of 96 or more directions. Chosen on Poker-DVS (benchmarks/teach.py).
SHRINKAGE = 0.1
# Where nothing but the examples is known, the limit stands so far beyond the most distant of them.
_MARGIN = 1.5
# A single example is judged by itself, which makes it look so much nearer than the next one will be.
_FLATTERY = 4.0
# Width of the step from "certainly" to "certainly not", as a share of the limit.
_SOFTNESS = 0.1
# How much sooner the nearer of two classes wins, in units of the limit.
_SHARPNESS = 8.0
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class ClassExamples:
    """What was shown of one class: `vectors` float32 (n, D), one row a window; `example` int (n,), which showing it is of."""

    name: str
    vectors: Vectors
    example: npt.NDArray[np.int64]

    @property
    def n_examples(self) -> int:
        """How often it was shown."""
        return len(set(self.example.tolist()))


@dataclass(frozen=True, slots=True)
class Prototypes:
    """What was learnt: `means` (K, D), `precision` (D, D) the inverse covariance over D, and the `limit` of distances."""

    means: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    limit: float

    def distances(self, vectors: Vectors) -> Distances:
        """Distances (n, K) of `vectors` (n, D) to each class, above 0; the limit is 1."""
        return _distances(self.means, self.precision, vectors) / self.limit

    def scores(self, vectors: Vectors) -> Distances:
        """Probabilities (n, K) of each class for `vectors` (n, D); what is missing to 1 is "none of these".

        At the limit of the nearest class the sum is one half.
        """
        distances = self.distances(vectors)
        nearest = distances.min(axis=1, keepdims=True)
        accepted = 1.0 / (1.0 + np.exp(np.clip((nearest - 1.0) / _SOFTNESS, -50, 50)))
        weights = np.exp(-_SHARPNESS * (distances - nearest))
        shares: Distances = accepted * weights / weights.sum(axis=1, keepdims=True)
        return shares


def learn(classes: Sequence[ClassExamples], background: Vectors | None = None) -> Prototypes:
    """Prototypes of at least one class; `background` (n, D) are windows of none of them."""
    means, precision = _fit(classes)
    own = np.concatenate([_left_out(classes, k) for k in range(len(classes))])
    foreign = np.empty(0) if background is None else _distances(means, precision, background).min(axis=1, initial=np.inf)
    return Prototypes(means, precision, _limit(own, foreign))


def _fit(classes: Sequence[ClassExamples]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    means = np.stack([shown.vectors.mean(axis=0, dtype=np.float64) for shown in classes])
    residuals = np.concatenate([shown.vectors - mean for shown, mean in zip(classes, means, strict=True)])
    n, D = residuals.shape
    within = residuals.T @ residuals / max(1, n - len(classes))
    level = max(float(np.trace(within)) / D, _TINY)
    covariance = (1.0 - SHRINKAGE) * within + SHRINKAGE * level * np.eye(D)
    return means, np.linalg.inv(covariance) / D


def _distances(means: npt.NDArray[np.float64], precision: npt.NDArray[np.float64], vectors: Vectors) -> Distances:
    found = []
    for mean in means:
        off = vectors - mean
        found.append(np.einsum("nd,nd->n", off @ precision, off))
    return np.stack(found, axis=1)


def _left_out(classes: Sequence[ClassExamples], k: int) -> Distances:
    """Distances of each example of class k to the mean of its other examples; of a single one, to its own."""
    shown = classes[k]
    found = []
    for example in sorted(set(shown.example.tolist())):
        out = shown.example == example
        is_alone = bool(out.all())
        kept = shown if is_alone else ClassExamples(shown.name, shown.vectors[~out], shown.example[~out])
        means, precision = _fit([*classes[:k], kept, *classes[k + 1 :]])
        distances = _distances(means[k : k + 1], precision, shown.vectors[out])[:, 0]
        found.append(_FLATTERY * distances if is_alone else distances)
    return np.concatenate(found)


def _limit(own: Distances, foreign: Distances) -> float:
    """Where fewest of both kinds lie on the wrong side, as shares; in the middle where there is a gap between them."""
    if foreign.size == 0 or own.max() < foreign.min():
        beyond = _MARGIN * own.max()
        return float(max(min(beyond, (own.max() + foreign.min()) / 2) if foreign.size else beyond, _TINY))
    places = np.unique(np.concatenate([own, foreign]))
    limits = (places[1:] + places[:-1]) / 2 if places.size > 1 else places
    missed = (own[None] > limits[:, None]).mean(axis=1)
    let_in = (foreign[None] <= limits[:, None]).mean(axis=1)
    best = missed + let_in == (missed + let_in).min()
    return float(max(limits[best].mean(), _TINY))
