"""import-weights: released checkpoints become checkpoints of ours. torch is imported inside."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from app.settings import read_settings, read_size
from app.terminal import complain, print_json, print_pairs
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import UsageError

if TYPE_CHECKING:
    from models.checkpoint import CheckpointInfo
    from models.interop import Imported


@dataclass(frozen=True)
class FrameOptions:
    """What a released file says nothing of: the frames that the network is to see, and its answers' names.

    Parameters
    ----------
    labels
        Names of the classes, separated by commas; class_0, class_1, ... without it.
    delta_t
        Duration of one time bin.
    bins
        Time bins of one window, T; those of the released code without it.
    size
        Width x height of the frames; read from the file where it tells, or the network's published one.
    licence
        What the released file may be used for, kept in the checkpoint.
    """

    labels: str | None = None
    delta_t: str = "25ms"
    bins: int | None = None
    size: str | None = None
    licence: str = ""


_FRAME_OPTIONS = FrameOptions()


def import_weights(
    released: Path,
    out: Path,
    *,
    network: str,
    setting: Annotated[list[str] | None, Parameter(name="--set")] = None,
    on_first: bool = False,
    frames: Annotated[FrameOptions, Parameter(name="*")] = _FRAME_OPTIONS,
    json: bool = False,
) -> int:
    """Make a checkpoint of a network that its authors released.

    Parameters
    ----------
    released
        A torch archive (.pth), npz or safetensors file of weights.
    out
        Checkpoint to write (safetensors).
    network
        A name of the zoo.
    setting
        One setting of the network as key=value (n_heads=16, pools=0011); may be repeated. What no shape tells must be said.
    on_first
        The released network was trained on frames whose first channel is ON; ours begin with OFF.
    json
        Print the result as one JSON object.
    """
    from models.checkpoint import save_checkpoint
    from models.interop import import_released

    settings = read_settings(setting or [])
    if frames.size is not None:
        settings["size"] = read_size(frames.size)
    imported = import_released(network, released, settings, on_first=on_first)
    info = _info(network, released, imported, frames)
    save_checkpoint(out, imported.network, info)
    n_channels = info.configuration["in_channels"]
    if n_channels != 2:
        complain(f"{out} sees {n_channels} channels; recordings have two, so that it runs from Python alone")
    _print(out, info, imported, as_json=json)
    return 0


def _info(network: str, released: Path, imported: "Imported", frames: FrameOptions) -> "CheckpointInfo":
    from models.checkpoint import CheckpointInfo, configuration_values

    configuration = configuration_values(imported.network.configuration)
    n_classes = configuration["n_classes"]
    labels = [f"class_{i}" for i in range(n_classes)]
    if frames.labels is not None:
        labels = [label.strip() for label in frames.labels.split(",")]
    if len(labels) != n_classes or len(set(labels)) != n_classes:
        raise UsageError(f"--labels {frames.labels!r}: expected {n_classes} different names, separated by commas")
    n_time_bins = imported.n_time_bins if frames.bins is None else frames.bins
    if not 1 <= n_time_bins <= 4096:
        raise UsageError(f"--bins {n_time_bins}: expected 1 to 4096")
    width, height = configuration["size"]
    return CheckpointInfo(
        network=network,
        configuration=configuration,
        classes=labels,
        delta_t_us=parse_duration_us(frames.delta_t),
        n_time_bins=n_time_bins,
        size=(width, height),
        training={"imported_from": released.name},
        licence=frames.licence,
    )


def _print(out: Path, info: "CheckpointInfo", imported: "Imported", *, as_json: bool) -> None:
    n_parameters = sum(parameter.numel() for parameter in imported.network.parameters())
    if as_json:
        result = {"read": imported.read, "as_released": imported.as_released, "unused": imported.unused}
        print_json({"checkpoint": str(out), "network": info.network, "params": n_parameters, **result})
        return
    print(f"{out}: {info.network}, {n_parameters:,} parameters")
    width, height = info.size
    print_pairs(
        [
            ("read from shapes", _listed(imported.read)),
            ("as released", _listed(imported.as_released)),
            ("frames", f"{width}x{height}, {info.delta_t_us / 1000:g} ms a bin, {info.n_time_bins} bins"),
            ("never looked at", ", ".join(imported.unused) or "nothing"),
        ]
    )


def _listed(settings: Any) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in settings.items() if value is not None) or "nothing"


def _short(value: Any) -> str:
    if isinstance(value, dict):  # the neurons' constants
        return f"tau {value['tau']:g}, v_threshold {value['v_threshold']:g}, {value['surrogate']}"
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
