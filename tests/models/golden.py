"""Golden vectors of the released code: arrays, and weights under our own parameter names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)
Lively = Callable[[N], N]

_BATCH_NORM = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}


class Golden:
    """One golden file: `g["in/x"]` in float64, `load(module)` for its weights."""

    def __init__(self, folder: Path, name: str) -> None:
        self.arrays = np.load(folder / f"{name}.npz", allow_pickle=False)
        self.description: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key].astype(np.float64))

    def load(self, module: nn.Module, prefix: str = "", rename: Callable[[str], str] = str) -> None:
        """Fill `module` (made float64, eval) with the weights under `prefix`; every parameter must be named."""
        weights = {}
        for key in self.arrays.files:
            if key.startswith(f"w/{prefix}"):
                *path, leaf = rename(key[2 + len(prefix) :]).split(".")
                weights[".".join([*path, _BATCH_NORM.get(leaf, leaf)])] = self[key]
        module.double().eval()
        wanted = {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}
        assert wanted == set(weights), wanted ^ set(weights)
        module.load_state_dict(weights, strict=False)
