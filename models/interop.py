"""Released checkpoints of the networks' own authors, as networks of this zoo.

    network = load_released("spikformer", "released.pth", n_heads=16)
    logits = network(counts)  # (T, B, 2, H, W) to (B, K)

Names are known from `models.released`. What shapes tell is read from them; what they do not tell must be given, and is named
when it is missing. Arrays that are unknown, missing or of another shape are listed, and nothing is made up.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.arrays import read_arrays
from models.registry import NETWORKS, NetworkEntry, read_configuration
from models.released import RELEASED, Family
from models.released.family import AnchorMissingError, Shapes
from pipeline.schema.errors import ConfigurationError

# Names listed of each kind of misfit before the rest is counted: enough for every array of a small network.
_MOST_LISTED = 200
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Imported:
    """A released network, in evaluation, of the file's precision, and how its settings came about.

    `read`: settings from shapes. `as_released`: settings that no shape tells and that all released code shares. `unused`: names
    of the file's arrays that its own network never looks at.
    """

    network: nn.Module
    read: Mapping[str, Any]
    as_released: Mapping[str, Any]
    unused: tuple[str, ...]
    n_time_bins: int


def load_released(name: str, path: str | Path, *, on_first: bool = False, **settings: Any) -> nn.Module:
    """Network `name` with the weights of the released file at `path`: torch's archive, npz or safetensors.

    `settings` are fields of its configuration, as in `create_network`. The network has the precision of the file (float32 or
    float64) and is in evaluation. `on_first`: as in `import_released`.
    """
    return import_released(name, Path(path), settings, on_first=on_first).network


def import_released(name: str, path: Path, settings: Mapping[str, Any], *, on_first: bool = False) -> Imported:
    """As `load_released`, and what was read, taken and left out.

    Channels keep their places: the first of the file's network is fed with the first of the frames, OFF. `on_first` says that
    it was trained on frames whose first channel is ON; the first convolution's columns are exchanged to fit ours.
    """
    entry = NETWORKS.get(name)
    if entry is None:
        raise ConfigurationError(f"no network called {name!r}; there are: {', '.join(NETWORKS)}")
    family = RELEASED[name]
    arrays, origins, unused = _own_arrays(family, path)
    given = _with_words(name, family, settings)
    read = _infer(name, family, arrays, path, given)
    settings = _nested(entry, {**family.as_released, **read, **given})
    _check_asked(name, family, settings, path)
    configuration = read_configuration(entry.configuration, name, settings)
    with torch.device("meta"):
        network = entry.build(configuration)
    weights, beyond = _fit(network, arrays, origins, family, f"{path} does not fit {name}")
    if on_first:
        weights[family.first] = _exchanged(weights[family.first])
    network.load_state_dict(weights, assign=True)
    told = {**dataclasses.asdict(configuration)}
    return Imported(
        network=network.eval(),
        read={key: value for key, value in read.items() if key not in given},
        as_released={key: value for key, value in told.items() if key not in read and key not in given and key != "size"},
        unused=(*unused, *beyond),
        n_time_bins=int(told.get("n_time_bins", family.n_time_bins)),
    )


def _own_arrays(family: Family, path: Path) -> tuple[dict[str, Tensor], dict[str, str], tuple[str, ...]]:
    """The file's arrays by our names, the names they had, and the names of those that never run (arrays under those names)."""
    arrays: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    unused = []
    for released, value in read_arrays(path).items():
        own = family.own_name(released)
        if own is None:
            unused.append(released)
        own = own or released
        if own in arrays:
            raise ConfigurationError(f"{path}: {origins[own]} and {released} are the same array under two names; keep one")
        arrays[own], origins[own] = value, released
    return arrays, origins, tuple(unused)


def _with_words(name: str, family: Family, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with every word that stands for several replaced by them; what is said apart goes before."""
    given = dict(settings)
    for word, meanings in family.words.items():
        if word not in given:
            continue
        meaning = given.pop(word)
        if meaning not in meanings:
            raise ConfigurationError(f"{name}: {word} {meaning!r} is not one of: {', '.join(meanings)}")
        given = {**meanings[meaning], **given}
    return given


def _infer(name: str, family: Family, arrays: Mapping[str, Tensor], path: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return family.infer(Shapes({own: tuple(value.shape) for own, value in arrays.items()}, given))
    except AnchorMissingError as error:
        few = ", ".join(list(arrays)[:5])
        raise ConfigurationError(
            f"{path} holds no {name}: {error.args[0]} is missing (our name for it). It has {len(arrays)} arrays: {few}, ..."
        ) from None


def _check_asked(name: str, family: Family, settings: Mapping[str, Any], path: Path) -> None:
    """ConfigurationError with every setting that is still unknown, what it means and how it may be typed."""
    missing = [key for key in family.asked if not _is_known(family, key, settings)]
    if missing:
        lines = [f"  --set {family.asked[key].example:<28} {family.asked[key].meaning}" for key in missing]
        raise ConfigurationError(
            f"{path}: no shape tells {', '.join(missing)} of this {name}; say it, for example:\n" + "\n".join(lines)
        )


def _is_known(family: Family, key: str, settings: Mapping[str, Any]) -> bool:
    if key not in family.words:
        return key in settings
    meaning = next(iter(family.words[key].values()))
    return all(part in settings for part in meaning)


def _nested(entry: NetworkEntry, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`lif.tau` and its like gathered in `lif`, what is not said as in the network's default."""
    parts = {key.removeprefix("lif."): value for key, value in settings.items() if key.startswith("lif.")}
    whole = {key: value for key, value in settings.items() if not key.startswith("lif.")}
    if parts:
        whole["lif"] = dataclasses.asdict(entry.configuration().lif) | parts
    return whole


def _fit(
    network: nn.Module, arrays: Mapping[str, Tensor], origins: Mapping[str, str], family: Family, title: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights for every name of `network`, and the released names of a supernet's layers beyond it."""
    weights: dict[str, Tensor] = {}
    missing, misshapen, no_numbers = [], [], []
    own = network.state_dict()
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in arrays.values()) else torch.float32
    for name, wanted in own.items():
        if name.endswith(_COUNTER):
            weights[name] = torch.zeros((), dtype=torch.int64)
        elif name not in arrays:
            missing.append(name)
        elif (value := _shaped(arrays[name], tuple(wanted.shape), is_slice=family.is_supernet)) is None:
            misshapen.append(f"{origins[name]} {tuple(arrays[name].shape)} instead of {tuple(wanted.shape)}")
        elif not (value.is_floating_point() and value.isfinite().all()):
            no_numbers.append(origins[name])
        else:
            weights[name] = value.to(dtype, copy=True).contiguous()
    left = [name for name in arrays if name not in own and family.own_name(origins[name]) is not None]
    beyond = [name for name in left if family.is_supernet and name.startswith("blocks.")]
    unknown = [origins[name] for name in left if name not in beyond]
    _check_misfits(
        title,
        {
            "missing (by our names)": missing,
            "unknown": unknown,
            "of another shape": misshapen,
            "not of finite real numbers": no_numbers,
        },
    )
    return weights, tuple(origins[name] for name in beyond)


def _check_misfits(title: str, misfits: Mapping[str, list[str]]) -> None:
    lines = []
    for kind, names in misfits.items():
        if names:
            rest = f", and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            lines.append(f"  {kind}: {', '.join(names[:_MOST_LISTED])}{rest}")
    if lines:
        raise ConfigurationError("\n".join([f"{title}:", *lines]))


def _shaped(value: Tensor, wanted: tuple[int, ...], *, is_slice: bool) -> Tensor | None:
    """`value` (or its leading slice) in the shape `wanted`, None where it has another; ones at the end of a shape do not count.

    So a linear layer (out, in) fills a 1x1 convolution (out, in, 1, 1).
    """
    n_axes = max(value.dim(), len(wanted))
    have = (*value.shape, *(1,) * (n_axes - value.dim()))
    need = (*wanted, *(1,) * (n_axes - len(wanted)))
    fits = all(h >= n for h, n in zip(have, need, strict=True)) if is_slice else have == need
    if not fits:
        return None
    return value.reshape(have)[tuple(slice(n) for n in need)].reshape(wanted)


def _exchanged(weight: Tensor) -> Tensor:
    """First convolution (out, in, k, k) with its first two input channels exchanged."""
    if weight.shape[1] < 2:
        raise ConfigurationError(f"a network of {weight.shape[1]} input channel has no polarities to exchange")
    return torch.cat([weight[:, :2].flip(1), weight[:, 2:]], dim=1).contiguous()
