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
_LEAVES = {"weight", "bias", "alpha", "w", "lam", *_BATCH_NORM}


class Golden:
    """One golden file: `g["in/x"]` in float64, `load(module)` for its weights."""

    def __init__(self, folder: Path, name: str) -> None:
        self.arrays = np.load(folder / f"{name}.npz", allow_pickle=False)
        self.description: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key].astype(np.float64))

    def load(self, module: nn.Module, prefix: str = "", rename: Callable[[str], str] = str) -> None:
        """Fill `module` (made float64, eval) with the weights under `prefix`; every parameter must be named.

        A linear layer's (out, in) fills a 1x1 convolution.
        """
        weights = {}
        for key in self._weight_keys(prefix):
            *path, leaf = rename(key.removeprefix("w/").removeprefix(prefix)).split(".")
            weights[".".join([*path, _BATCH_NORM.get(leaf, leaf)])] = self[key]
        module.double().eval()
        wanted = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
        assert set(wanted) == set(weights), set(wanted) ^ set(weights)
        module.load_state_dict({name: weights[name].view_as(value) for name, value in wanted.items()}, strict=False)

    def _weight_keys(self, prefix: str) -> list[str]:
        """Those of golden/ stand under `w/`; those of golden_b/ beside the inputs and outputs, known by how they end."""
        keys: list[str] = self.arrays.files
        if any(key.startswith("w/") for key in keys):
            return [key for key in keys if key.startswith(f"w/{prefix}")]
        return [key for key in keys if key.startswith(prefix) and key.rsplit(".", 1)[-1] in _LEAVES]
