"""The linear yardstick: logistic regression on log event-count images. A network that does not beat it has learnt nothing."""

import numpy as np
import torch
from torch.nn import functional

from training.data import ClipSet

# L2 penalty on the weights of standardised inputs, and steps of L-BFGS: enough to converge on a few hundred clips.
_PENALTY = 1e-2
_STEPS = 60


def images(clips: ClipSet) -> torch.Tensor:
    """log(1 + events of the whole clip) at each pixel and polarity, float32 (n, 2 H W)."""
    summed = np.stack([counts.sum(axis=0, dtype=np.float32) for counts in clips.counts])
    return torch.from_numpy(np.log1p(summed)).flatten(1)


def linear_accuracy(train: ClipSet, test: ClipSet) -> float:
    """Accuracy on `test` of a linear classifier fitted on `train` (same classes in the same order); deterministic."""
    x, y = images(train), torch.from_numpy(train.labels)
    mean, std = x.mean(dim=0), x.std(dim=0) + 0.1
    x = (x - mean) / std
    weight = torch.zeros(x.shape[1], len(train.classes), requires_grad=True)
    bias = torch.zeros(len(train.classes), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(x @ weight + bias, y) + _PENALTY * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]  # torch leaves step untyped
    with torch.no_grad():
        answers = (((images(test) - mean) / std) @ weight + bias).argmax(dim=1)
    return float((answers == torch.from_numpy(test.labels)).float().mean())
