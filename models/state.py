"""What a network remembers in mid-stream, as bytes (safetensors): saved, and restored into a fresh network of the same kind.

A state says which network it belongs to. On the way back its names, shapes and types are held against what that network
remembers, so that nothing foreign reaches it. Membranes come back bit by bit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from models.checkpoint import configuration_values
from models.neuron import State
from models.registry import NETWORKS, name_of
from pipeline.schema.errors import ConfigurationError, InputError

# A stream of the largest network remembers some 100 MB; anything larger than so many streams of it is no state of ours.
_MAX_BYTES = 4_000_000_000
_HEADER_BYTES = 8
_METADATA_KEY = "saccade-state"
# A network may begin to remember something at its second bin (TIM does).
_N_BINS = (1, 2)

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]


def pack_state(network: nn.Module, state: State) -> bytes:
    """`state` of `network`, any number of streams, as bytes that `unpack_state` reads."""
    arrays = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    about = {"network": name_of(network), "configuration": configuration_values(network.configuration)}
    return save(arrays, {_METADATA_KEY: json.dumps(about)})


def unpack_state(network: nn.Module, data: bytes) -> dict[str, Tensor]:
    """The state that `pack_state` made of the same kind of network, on the device of `network`.

    InputError for bytes that hold no state; ConfigurationError for the state of another network, configuration or precision.
    """
    try:
        arrays = load(data)
        about = json.loads(_metadata(data)[_METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{len(data)} bytes hold no state of a network ({error}); pack_state makes one") from error
    _check_owner(network, about)
    _check_arrays(network, arrays)
    device = next(network.parameters()).device
    return {name: value.to(device) for name, value in arrays.items()}


def save_state(path: Path, network: nn.Module, state: State) -> None:
    """Write `state` to `path` at once: a reader sees the old file or the new one, never half of one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(pack_state(network, state))
    partial.replace(path)


def load_state(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The state of `network` in the file at `path`; errors as `unpack_state`, with the path."""
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MAX_BYTES:
            raise InputError(f"{n_bytes} bytes are more than any state has ({_MAX_BYTES})")
        return unpack_state(network, path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _metadata(data: bytes) -> dict[str, Any]:
    """What safetensors' header carries beside the arrays; only called on bytes that `load` has accepted."""
    n_header = int.from_bytes(data[:_HEADER_BYTES], "little")
    header: dict[str, Any] = json.loads(data[_HEADER_BYTES : _HEADER_BYTES + n_header])
    return dict(header.get("__metadata__", {}))


def _check_owner(network: nn.Module, about: Mapping[str, Any]) -> None:
    name, own = name_of(network), configuration_values(network.configuration)
    if about.get("network") != name:
        raise ConfigurationError(f"this is a state of {about.get('network')!r}, not of {name}")
    saved = about.get("configuration", {})
    other = [f"{key} {saved.get(key)!r}, here {value!r}" for key, value in own.items() if saved.get(key) != value]
    if other:
        raise ConfigurationError(f"this is a state of {name} with other settings: {'; '.join(other)}")


def _check_arrays(network: nn.Module, arrays: Mapping[str, Tensor]) -> None:
    found = {name: (tuple(value.shape), value.dtype) for name, value in arrays.items()}
    n_streams = {shape[0] for shape, _ in found.values() if shape}
    if len(n_streams) != 1:
        raise ConfigurationError(f"arrays of a state must hold the same number of streams, not {sorted(n_streams)}")
    layouts = [state_layout(network, next(iter(n_streams)), n_bins) for n_bins in _N_BINS]
    if found in layouts:
        return
    wanted = layouts[-1]
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    other = [f"{name} {found[name]}, wanted {wanted[name]}" for name in wanted if name in found and found[name] != wanted[name]]
    raise ConfigurationError(f"state does not fit the network: missing {missing}, unknown {unknown}, other {other}")


def state_layout(network: nn.Module, n_streams: int, n_bins: int) -> Layout:
    """Shapes and types of what `network` remembers after `n_bins`, found by running its like without data."""
    configuration: Any = network.configuration
    dtype = next(network.parameters()).dtype
    with torch.device("meta"), torch.inference_mode():
        twin: Any = NETWORKS[name_of(network)].build(configuration).eval().to(dtype)
        width, height = configuration.size
        _, state = twin.run(torch.zeros(n_bins, n_streams, configuration.in_channels, height, width, dtype=dtype))
    return {key: (tuple(value.shape), value.dtype) for key, value in state.items()}
