"""Taught classes on disk: a small safetensors file on top of a checkpoint, which it names and without which it is nothing.

It keeps what was shown (features, float16), not what was learnt from it, so that classes can be added, removed and renamed at
any time and everything is learnt anew in milliseconds. Never pickle.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.checkpoint import find_checkpoint
from models.prototypes import ClassExamples, Vectors
from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.schema.messages import NOTHING

_LOG = logging.getLogger(__name__)

ENDING = ".taught"
# Beside a checkpoint, under its name: windows of the network's own classes, in a file of the same kind.
OWN_ENDING = ".own"
# Windows kept of one example, of an own class, and of the background: enough for a mean, few enough for a small file.
MOST_VECTORS = 8
MOST_OWN = 16
MOST_BACKGROUND = 64
_MAX_BYTES = 50_000_000
_METADATA_KEY = "saccade-taught"
_BACKGROUND = "background"


class TaughtInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of taught classes says of itself. `network` is `name@hash` of the checkpoint it belongs to.

    `checkpoint` is where that was found; `only_taught`: the checkpoint's own classes are left out.
    """

    network: str
    checkpoint: str
    classes: list[str]
    only_taught: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class Taught:
    """Everything that was shown to one network: classes in the order in which they were taught, and what is none of them."""

    network: str
    checkpoint: str
    classes: tuple[ClassExamples, ...] = ()
    background: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))
    only_taught: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(shown.name for shown in self.classes)

    def with_example(self, name: str, vectors: Vectors) -> "Taught":
        """One more example of `name`, which may be new: features (n, D) of its windows, of which a few are kept."""
        vectors = thin(vectors, MOST_VECTORS)
        known = next((shown for shown in self.classes if shown.name == name), None)
        if known is None:
            return replace(self, classes=(*self.classes, ClassExamples(name, vectors, np.zeros(len(vectors), np.int64))))
        number = int(known.example.max()) + 1
        grown = ClassExamples(
            name,
            np.concatenate([known.vectors, vectors]),
            np.concatenate([known.example, np.full(len(vectors), number, np.int64)]),
        )
        return replace(self, classes=tuple(grown if shown is known else shown for shown in self.classes))

    def with_background(self, vectors: Vectors) -> "Taught":
        """Windows (n, D) of none of the classes, instead of those there were."""
        return replace(self, background=thin(vectors, MOST_BACKGROUND))

    def without(self, name: str) -> "Taught":
        """Without this class; UsageError when it was never taught."""
        self._check_known(name)
        return replace(self, classes=tuple(shown for shown in self.classes if shown.name != name))

    def renamed(self, old: str, new: str) -> "Taught":
        """With another name for a class; UsageError when there is no such class, or one of the new name."""
        self._check_known(old)
        if new in self.names:
            raise UsageError(f"{new!r} is taught already; remove it first, or choose another name")
        return replace(self, classes=tuple(replace(s, name=new) if s.name == old else s for s in self.classes))

    def _check_known(self, name: str) -> None:
        if name not in self.names:
            raise UsageError(f"{name!r} was never taught; there are: {', '.join(self.names) or 'none'}")


def check_name(name: str, own_classes: Sequence[str]) -> str:
    """Give the name of a class to be taught; UsageError when it cannot be told from what is there already."""
    if name in own_classes:
        raise UsageError(f"{name!r} is a class of the network itself; choose another name")
    if name == NOTHING or not name.strip() or len(name) > 64 or not name.isprintable():
        raise UsageError(f"{name!r} is no name for a class; take up to 64 letters, and not {NOTHING!r}")
    return name


def thin(vectors: Vectors, n: int) -> Vectors:
    """At most `n` rows, evenly spread, rounded as they are kept on disk."""
    rows = np.unique(np.linspace(0, max(0, len(vectors) - 1), min(n, len(vectors))).round().astype(int))
    kept: Vectors = vectors[rows].astype(np.float16).astype(np.float32)
    return kept


def is_taught(path: Path) -> bool:
    """Whether the file at `path` holds taught classes (a checkpoint, or anything else, does not)."""
    try:
        with safe_open(path, framework="numpy") as file:
            return _METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def save_taught(path: Path, taught: Taught) -> None:
    """Write at once: a reader sees the old file or the new one, never half of one."""
    arrays = {_BACKGROUND: taught.background.astype(np.float16)}
    for k, shown in enumerate(taught.classes):
        arrays[f"vectors.{k}"] = shown.vectors.astype(np.float16)
        arrays[f"example.{k}"] = shown.example.astype(np.int32)
    info = TaughtInfo(taught.network, taught.checkpoint, list(taught.names), taught.only_taught)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        save_file(arrays, partial, metadata={_METADATA_KEY: msgspec.json.encode(info).decode()})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be written: {error}") from None


def load_taught(path: Path) -> Taught:
    """The taught classes of a file; InputError when it is none or damaged."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are more than taught classes need ({_MAX_BYTES})")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _METADATA_KEY not in metadata:
                raise InputError(f"{path} holds no taught classes; `saccade teach` makes such a file")
            info = msgspec.json.decode(metadata[_METADATA_KEY], type=TaughtInfo)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no mapping
        classes = tuple(
            ClassExamples(name, arrays[f"vectors.{k}"].astype(np.float32), arrays[f"example.{k}"].astype(np.int64))
            for k, name in enumerate(info.classes)
        )
        background = arrays[_BACKGROUND].astype(np.float32)
    except (SafetensorError, OSError, msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged, or no file of taught classes ({error})") from None
    taught = Taught(info.network, info.checkpoint, classes, background, info.only_taught)
    _check_arrays(path, taught)
    return taught


def find_owner(path: Path, taught: Taught) -> str:
    """The checkpoint that a file of taught classes was made for: where it says, or beside it; InputError when neither is."""
    beside = path.parent / Path(taught.checkpoint).name
    if not Path(taught.checkpoint).is_file() and beside.is_file():
        return str(beside)
    try:
        return str(find_checkpoint(taught.checkpoint))
    except InputError:
        raise InputError(
            f"{path} was taught to {taught.network}, whose checkpoint {taught.checkpoint} is gone; put it beside {path.name}"
        ) from None


def load_own(checkpoint: Path, network: str) -> tuple[ClassExamples, ...]:
    """Windows of the own classes of `network` (`name@hash`), kept beside its checkpoint; none where that lies alone.

    A file of another network is passed over, and logged: the checkpoint was trained anew.
    """
    path = checkpoint.with_suffix(OWN_ENDING)
    if not path.is_file():
        return ()
    own = load_taught(path)
    if own.network != network:
        _LOG.warning("%s is of %s, not of %s; `saccade teach --own DATA` makes it anew", path, own.network, network)
        return ()
    return own.classes


def check_owner(what: object, taught: Taught, network: str) -> None:
    """ConfigurationError when these classes were taught to another network than `network` (`name@hash`)."""
    if taught.network != network:
        raise ConfigurationError(f"{what} was taught to {taught.network}, not to {network}; teach it anew with --from")


def _check_arrays(path: Path, taught: Taught) -> None:
    for shown in taught.classes:
        n = len(shown.vectors)
        is_whole = shown.vectors.ndim == 2 and n > 0 and shown.example.shape == (n,) and bool(np.isfinite(shown.vectors).all())
        if not is_whole or shown.vectors.shape[1] != taught.classes[0].vectors.shape[1]:
            raise InputError(f"{path}: damaged: the examples of {shown.name!r} have shape {shown.vectors.shape}")
    if len(set(taught.names)) != len(taught.names):
        raise InputError(f"{path}: damaged: two classes of one name")
    is_there = taught.background.size > 0
    if is_there and (taught.background.ndim != 2 or not np.isfinite(taught.background).all()):
        raise InputError(f"{path}: damaged: background of shape {taught.background.shape}")
