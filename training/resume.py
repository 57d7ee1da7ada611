"""A training kept on disk as it goes, so that one that was killed at any moment goes on bit by bit as if it had not been.

One safetensors file beside the checkpoint, replaced at once: weights, the optimiser's moments, the carried membranes, the state
of torch's random numbers, and as JSON the step and what is being trained. Batches need no state: they follow from the step.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.checkpoint import configuration_values
from models.registry import name_of
from pipeline.schema.errors import ConfigurationError, InputError
from training.data import Binning, ClipSet
from training.recipes import Recipe, recipe_values

# Weights of the largest network, twice as many moments, and membranes; anything larger is no file of ours.
_MAX_BYTES = 8_000_000_000
_METADATA_KEY = "saccade-training"
# So many clips stand for the data; the labels and lengths of all of them are looked at.
_N_LOOKED_AT = 64
# What AdamW remembers of each weight.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training stands: steps done, seconds it took, membranes carried into the next step, the scale of 16-mixed."""

    step: int = 0
    seconds: float = 0.0
    carried: Mapping[str, Tensor] | None = None
    scale: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keep:
    """Where a training is kept and how often, in steps; `is_resumed`: whether it goes on where that file says."""

    path: Path
    every: int = 50
    is_resumed: bool = False

    def steps_done(self) -> int:
        """Steps behind the place where the training goes on; 0 at the beginning."""
        return int(_read(self.path)[0]["step"]) if self.is_resumed and self.path.is_file() else 0

    def remove(self) -> None:
        """Remove the file: the training is over."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Book:
    """Writes a training into the file of `keep`, and takes it up again; `about` says what is trained."""

    keep: Keep
    network: nn.Module
    optimiser: torch.optim.Optimizer
    about: dict[str, Any]

    def write(self, place: Place) -> None:
        """Write everything at once when it is due: after a crash there is the old state or the new one, never half of one."""
        if place.step % self.keep.every:
            return
        arrays = {f"weights/{name}": value for name, value in self.network.state_dict().items()}
        for name, weight in self.network.named_parameters():
            arrays |= {f"{moment}/{name}": value for moment, value in self.optimiser.state.get(weight, {}).items()}
        arrays |= {f"carried/{name}": value for name, value in (place.carried or {}).items()}
        arrays |= {f"random/{name}": value for name, value in _random_states().items()}
        plain = {name: value.detach().cpu().contiguous() for name, value in arrays.items()}
        said = {"step": place.step, "seconds": place.seconds, "scale": dict(place.scale), "about": self.about}
        _replace_at_once(self.keep.path, save(plain, {_METADATA_KEY: json.dumps(said)}))

    def load(self) -> Place:
        """Put network, optimiser and random numbers back where the file says; the beginning where there is nothing to resume.

        ConfigurationError where another network, recipe or data was trained; InputError for a file that is none of ours.
        """
        path = self.keep.path
        if not self.keep.is_resumed or not path.is_file():
            return Place()
        said, arrays = _read(path)
        _check(path, said["about"], self.about)
        try:
            self.network.load_state_dict(_below(arrays, "weights/"))
            _restore_moments(self.network, self.optimiser, arrays)
            _restore_random(_below(arrays, "random/"))
            device = next(self.network.parameters()).device
            carried = {name: value.to(device) for name, value in _below(arrays, "carried/").items()}
            return Place(int(said["step"]), float(said["seconds"]), carried or None, dict(said["scale"]))
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); leave --resume out to train from the beginning") from error


def about_run(network: nn.Module, clips: ClipSet, binning: Binning, recipe: Recipe, placement: str) -> dict[str, Any]:
    """What must be the same for a training to go on, as plain values."""
    about = {
        "network": name_of(network),
        "configuration": configuration_values(network.configuration),
        "recipe": recipe_values(recipe),
        "delta_t_us": binning.delta_t_us,
        "n_time_bins": binning.n_time_bins,
        "data": _digest(clips),
        "precision and processes": placement,
        "torch": str(torch.__version__),
    }
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain


def _digest(clips: ClipSet) -> str:
    """Tells data apart: number, classes, groups and labels of all clips, and the counts of some."""
    names = json.dumps([len(clips), list(clips.classes), clips.groups, clips.labels.tolist()])
    digest = zlib.crc32(names.encode())
    for i in np.unique(np.linspace(0, len(clips) - 1, _N_LOOKED_AT).astype(int)):
        counts = clips.counts[int(i)]
        digest = zlib.crc32(np.ascontiguousarray(counts).data, zlib.crc32(str(counts.shape).encode(), digest))
    return f"{len(clips)} clips, {digest:08x}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes are more than any training needs ({_MAX_BYTES})")
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {})[_METADATA_KEY])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no training to go on with ({error}); leave --resume out to train anew") from error
    return said, arrays


def _check(path: Path, kept: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    other = []
    for key, value in own.items():
        was = kept.get(key)
        if isinstance(value, dict) and isinstance(was, dict):
            other += [f"{name} was {was.get(name)!r}, now {value[name]!r}" for name in value if was.get(name) != value[name]]
        elif was != value:
            other.append(f"{key} was {was!r}, now {value!r}")
    if other:
        raise ConfigurationError(f"{path} is another training: {'; '.join(other)}; leave --resume out to train anew")


def _below(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _replace_at_once(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _restore_moments(network: nn.Module, optimiser: torch.optim.Optimizer, arrays: Mapping[str, Tensor]) -> None:
    for name, weight in network.named_parameters():
        found = {moment: arrays[f"{moment}/{name}"] for moment in _MOMENTS if f"{moment}/{name}" in arrays}
        if found:  # a weight that no step has reached yet has none
            optimiser.state[weight] = {key: value if key == "step" else value.to(weight.device) for key, value in found.items()}


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
