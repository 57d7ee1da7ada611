"""Classes from a few examples: means of features, one shrunk covariance, and a distance beyond which it is none of them.

    d_k(z) = (z - m_k)' S^-1 (z - m_k) / D,    S = (1 - a) W + a tr(W)/D I       (W: covariance within classes, a: shrinkage)

The shrinkage is that of regularised discriminant analysis (Friedman 1989). What is near no mean is "none of these": the limit
lies where examples that were left out (one by one, so that each is judged by the others) part best from the background. Rivals
are classes that stand beside the taught ones: what is nearer to one of them is none of these either, and what varies within
them tells what to look past.
Pure: arrays in, arrays out; knows no network. D features, K classes, R rivals, n windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]
Means = npt.NDArray[np.float64]

# Share of the round covariance: few windows say little of some hundred directions. Chosen on Poker-DVS (benchmarks/teach.py).
SHRINKAGE = 0.3
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
    """What was learnt: `means` (K + R, D), the K taught classes first; `precision` (D, D) the inverse covariance over D.

    `limit` is the distance beyond which it is none of the classes.
    """

    n_classes: int
    means: Means
    precision: Means
    limit: float = 1.0

    def distances(self, vectors: Vectors) -> Distances:
        """Distances (n, K + R) of `vectors` (n, D) to each class and rival, above 0; the limit is 1."""
        off = vectors[:, None] - self.means  # (n, K + R, D)
        pulled = (off.reshape(-1, off.shape[2]) @ self.precision).reshape(off.shape)
        found: Distances = np.einsum("nkd,nkd->nk", off, pulled) / self.limit
        return found

    def scores(self, vectors: Vectors) -> Distances:
        """Probabilities (n, K) of each class for `vectors` (n, D); what is missing to 1 is "none of these".

        At the limit of the nearest class, or as near to a rival, the sum is one half.
        """
        all_distances = self.distances(vectors)
        distances, rivals = np.split(all_distances, [self.n_classes], axis=1)
        nearest = distances.min(axis=1, keepdims=True)
        accepted = _step((1.0 - nearest) / _SOFTNESS)
        accepted *= _step(_SHARPNESS * (rivals.min(axis=1, keepdims=True, initial=np.inf) - nearest))
        weights = np.exp(-_SHARPNESS * (distances - nearest))
        shares: Distances = accepted * weights / weights.sum(axis=1, keepdims=True)
        return shares


def learn(
    classes: Sequence[ClassExamples], background: Vectors | None = None, rivals: Sequence[ClassExamples] = ()
) -> Prototypes:
    """Prototypes of at least one class; `background` (n, D) are windows of none of them, nor need they be of a rival."""
    found = _fit(classes, rivals)
    own = np.concatenate([_left_out(classes, rivals, k) for k in range(len(classes))])
    foreign = np.empty(0)
    if background is not None:
        taught, others = np.split(found.distances(background), [len(classes)], axis=1)
        nearest = taught.min(axis=1, initial=np.inf)
        # what a rival claims is turned away wherever the limit lies
        foreign = np.where(nearest < others.min(axis=1, initial=np.inf), nearest, np.inf)
    return replace(found, limit=_limit(own, foreign))


def _fit(classes: Sequence[ClassExamples], rivals: Sequence[ClassExamples]) -> Prototypes:
    known = [*classes, *rivals]
    means = np.stack([shown.vectors.mean(axis=0, dtype=np.float64) for shown in known])
    residuals = np.concatenate([shown.vectors - mean for shown, mean in zip(known, means, strict=True)])
    return Prototypes(len(classes), means, _precision(residuals, max(1, len(residuals) - len(known))))


def _precision(residuals: Means, freedom: int) -> Means:
    """Inverse of the shrunk covariance over D, by Woodbury's identity: there are fewer windows than features."""
    n, D = residuals.shape
    ridge = SHRINKAGE * max(float(np.square(residuals).sum()) / freedom / D, _TINY)
    spread = np.sqrt((1.0 - SHRINKAGE) / freedom) * residuals
    inner = np.linalg.inv(ridge * np.eye(n) + spread @ spread.T)
    inverse: Means = (np.eye(D) - spread.T @ inner @ spread) / ridge / D
    return inverse


def _step(x: Distances) -> Distances:
    """From 0 to 1, one half at 0."""
    risen: Distances = 1.0 / (1.0 + np.exp(-np.clip(x, -50, 50)))
    return risen


def _left_out(classes: Sequence[ClassExamples], rivals: Sequence[ClassExamples], k: int) -> Distances:
    """Distances of each example of class k to the mean of its other examples; of a single one, to its own."""
    shown = classes[k]
    found = []
    for example in sorted(set(shown.example.tolist())):
        out = shown.example == example
        is_alone = bool(out.all())
        kept = shown if is_alone else ClassExamples(shown.name, shown.vectors[~out], shown.example[~out])
        distances = _fit([*classes[:k], kept, *classes[k + 1 :]], rivals).distances(shown.vectors[out])[:, k]
        found.append(_FLATTERY * distances if is_alone else distances)
    return np.concatenate(found)


def _limit(own: Distances, foreign: Distances) -> float:
    """Where fewest of both kinds lie on the wrong side, as shares; in the middle where there is a gap between them."""
    if own.max() < foreign.min(initial=np.inf):
        return float(max(min(_MARGIN * own.max(), (own.max() + foreign.min(initial=np.inf)) / 2), _TINY))
    places = np.unique(np.concatenate([own, foreign[np.isfinite(foreign)]]))
    limits = (places[1:] + places[:-1]) / 2 if places.size > 1 else places
    missed = (own[None] > limits[:, None]).mean(axis=1)
    let_in = (foreign[None] <= limits[:, None]).mean(axis=1)
    best = missed + let_in == (missed + let_in).min()
    return float(max(limits[best].mean(), _TINY))
