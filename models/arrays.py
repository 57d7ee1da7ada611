"""Arrays of weight files that others wrote: torch's zip archives, npz, safetensors. Nothing is unpickled.

Torch's archives do hold a pickle; torch's own reader takes arrays and plain containers from it and runs nothing
(`weights_only`). What a file claims to hold is checked before memory is taken for it.
"""

import argparse
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.schema.errors import InputError, UnknownFormatError

# The largest published network takes 0.7 GB in float32; files with what an optimiser remembers take three times as much.
_MAX_BYTES = 4_000_000_000
_MAX_ENTRIES = 100_000
# Names, containers and numbers, without the arrays themselves.
_MAX_PICKLE_BYTES = 64_000_000
_LONGEST_NAME = 500
_NUMBER_KINDS = "biuf"

# Where training scripts put the weights among other things they save.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights")
# What wrappers put before every name; `w/` marks the weights among the arrays of a file of test vectors.
_PREFIXES = ("module.", "model.", "network.", "net.", "state_dict.", "_orig_mod.", "w/")

_RESAVE = (
    "where it was made: torch.save({k: v.cpu() for k, v in model.state_dict().items()}, 'weights.pth'), with torch 1.6 or later"
)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Every array of the file at `path` by name, wrappers' prefixes taken off; its kind is told by content, not by name.

    InputError where the file is none of the three kinds, is damaged, or holds more than arrays and plain containers.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes is more than any network here needs ({_MAX_BYTES})")
    arrays = _unwrapped(_read(path))
    if not arrays:
        raise InputError(f"{path}: no arrays in it; weights are saved with {_RESAVE}")
    return arrays


def _read(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"PK"):
        return _from_zip(path)
    if head[8:9] == b"{":
        return _from_safetensors(path)
    if head[:1] == b"\x80":
        raise InputError(f"{path}: a bare pickle, which is not opened, for opening it would run what it says; {_RESAVE}")
    raise UnknownFormatError(f"{path}: neither a torch archive nor npz nor safetensors")


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged safetensors ({error})") from error


def _from_zip(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            arrays = [entry for entry in entries if entry.filename.endswith(".npy")]
            if arrays:
                return {entry.filename.removesuffix(".npy"): _from_npy(archive, entry) for entry in arrays}
    except InputError:
        raise
    except Exception as error:  # zipfile, its decompressors and numpy's header parser raise a dozen kinds on damage
        raise InputError(f"{path}: this archive is damaged ({error})") from error
    if not any(Path(entry.filename).name == "data.pkl" for entry in entries):
        raise UnknownFormatError(f"{path}: a zip archive, but neither torch's nor npz")
    return _from_torch(path)


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    n_bytes = sum(entry.file_size for entry in entries)
    if n_bytes > _MAX_BYTES or len(entries) > _MAX_ENTRIES:
        raise InputError(
            f"{path}: {len(entries)} entries of {n_bytes} bytes unpacked; no network here needs more than {_MAX_BYTES}"
        )
    if any(entry.filename.endswith(".pkl") and entry.file_size > _MAX_PICKLE_BYTES for entry in entries):
        raise InputError(f"{path}: more than arrays in it: its pickle has over {_MAX_PICKLE_BYTES} bytes; {_RESAVE}")


def _from_npy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tensor:
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    if dtype.kind not in _NUMBER_KINDS:
        raise InputError(f"{archive.filename}: {entry.filename} holds {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize > entry.file_size:
        raise InputError(f"{archive.filename}: {entry.filename} claims {shape} of {dtype} in {entry.file_size} bytes")
    with archive.open(entry) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _from_torch(path: Path) -> dict[str, Tensor]:
    try:
        # timm saves the words of its command line beside the weights: a bare record, harmless
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever its parts trip over
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: holds more than arrays, or is damaged ({reason}); {_RESAVE}") from error
    return _tensors(path, loaded)


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Arrays of the innermost container that a training script may have put the weights into."""
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: a {type(loaded).__name__}, not arrays by name; {_RESAVE}")
    for key in _CONTAINERS:
        if isinstance(loaded.get(key), Mapping):
            return _tensors(path, loaded[key])
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor) and value.layout == torch.strided}


def _unwrapped(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    marked = {name: value for name, value in arrays.items() if name.startswith("w/")}
    arrays = marked or arrays
    if any(len(name) > _LONGEST_NAME for name in arrays):
        raise InputError(f"an array's name has more than {_LONGEST_NAME} characters; no network's has")
    while prefix := next((p for p in _PREFIXES if arrays and all(name.startswith(p) for name in arrays)), None):
        arrays = {name.removeprefix(prefix): value for name, value in arrays.items()}
    return arrays
