"""Checkpoints: safetensors with one JSON entry of metadata. Never pickle."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from models.registry import NETWORKS, create_network
from pipeline.schema.errors import ConfigurationError, InputError

# Networks of this zoo are below 0.4 GB; anything larger is not one of ours, and is refused before it is read.
_MAX_BYTES = 2_000_000_000
_METADATA_KEY = "saccade"

SHIPPED = Path(__file__).parent / "weights"


class CheckpointInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint says of itself. `size` is (width, height) of its spike frames, `scores` what was measured with it.

    `quiet_rate_hz`: events a second below which a scene is quieter than anything the network was trained on; 0 if unknown.
    """

    network: str
    configuration: dict[str, Any]
    classes: list[str]
    delta_t_us: int
    n_time_bins: int
    size: tuple[int, int]
    quiet_rate_hz: float = 0.0
    training: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    licence: str = ""
    version: int = 1


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo) -> None:
    """Write `network` and `info` to `path` at once: a reader sees the old file or the new one, never half of one."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(weights, partial, metadata={_METADATA_KEY: msgspec.json.encode(info).decode()})
    partial.chmod(0o644)  # safetensors writes for the owner alone; an installed checkpoint is everybody's
    partial.replace(path)


def find_checkpoint(name: str) -> Path:
    """Path of a checkpoint: a path, `default` and other shipped names, or a name in the user's data directory."""
    user = Path(platformdirs.user_data_dir("saccade")) / "checkpoints"
    candidates = [Path(name), SHIPPED / f"{name}.safetensors", user / f"{name}.safetensors"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"no checkpoint {name!r}: it is neither a file nor a name in {SHIPPED} or {user}; "
        "`saccade train DATA --out FILE` makes one"
    )


def read_info(path: Path) -> CheckpointInfo:
    """Metadata of the checkpoint at `path`, without its weights."""
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes is more than any network here needs ({_MAX_BYTES})")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors checkpoint ({error})") from error
    if _METADATA_KEY not in metadata:
        raise InputError(f"{path}: safetensors without Saccade's metadata; this version reads what `saccade train` writes")
    try:
        return msgspec.json.decode(metadata[_METADATA_KEY], type=CheckpointInfo)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: damaged metadata ({error})") from error


def load_checkpoint(name: str) -> tuple[nn.Module, CheckpointInfo, str]:
    """Network (eval mode), its info, and `network@hash` of the checkpoint `name` (a path, or a name as `default`).

    The network has the precision that was saved: float32 after training, float64 where an imported file had it.
    """
    path = find_checkpoint(name)
    info = read_info(path)
    if info.network not in NETWORKS:
        raise ConfigurationError(f"{path}: network {info.network!r} is not in this zoo ({', '.join(NETWORKS)})")
    network = create_network(info.network, **info.configuration)
    with safe_open(path, framework="pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    _fill(network, weights, path)
    if len(info.classes) != info.configuration["n_classes"]:
        raise ConfigurationError(f"{path}: {len(info.classes)} class names for {info.configuration['n_classes']} outputs")
    return network.eval(), info, f"{info.network}@{_digest(path)}"


def load_network(name: str) -> nn.Module:
    """Network (eval mode) of the checkpoint `name`."""
    return load_checkpoint(name)[0]


def configuration_values(configuration: Any) -> dict[str, Any]:
    """Plain values of a configuration dataclass, ready for JSON."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(configuration)))
    return values


def _fill(network: nn.Module, weights: dict[str, Any], path: Path) -> None:
    own = network.state_dict()
    missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    misshapen = sorted(k for k in set(own) & set(weights) if own[k].shape != weights[k].shape)
    if missing or unknown or misshapen:
        raise ConfigurationError(
            f"{path}: weights do not fit the network; missing {missing}, unknown {unknown}, of another shape {misshapen}"
        )
    if any(value.dtype == torch.float64 for value in weights.values()):
        network.double()
    network.load_state_dict(weights)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
