"""Clips and a network so small that a test can train it."""

from typing import Any

import numpy as np

from training.data import Binning, ClipSet

BINNING = Binning(delta_t_us=10_000, size=(16, 16), n_time_bins=3)
SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "n_heads": 2, "pools": "0011", "lif": {"detach_membrane": False}}


def halves(n: int, seed: int, n_bins: int = 3) -> ClipSet:
    """Clips whose events lie in the left (class 0) or the right half (class 1) of the picture."""
    rng = np.random.default_rng(seed)
    counts = []
    for i in range(n):
        clip = np.zeros((n_bins, 2, 16, 16), dtype=np.uint8)
        clip[:, :, :, 8 * (i % 2) : 8 * (i % 2) + 8] = rng.poisson(0.8, (n_bins, 2, 16, 8))
        counts.append(clip)
    return ClipSet(counts, np.arange(n) % 2, ("left", "right"), [f"{seed}/{i}" for i in range(n)])
