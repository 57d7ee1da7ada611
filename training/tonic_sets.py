"""Public data sets as the package tonic stores them: `tonic:NAME?root=FOLDER&split=train&download=1`.

tonic is GPL-3.0 and therefore only an extra; it is imported here alone, when such a set is asked for. It downloads nothing
unless told to. What its copy of a set did to the recordings is said in `origin`, which goes into checkpoints.
"""

import hashlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from platformdirs import user_data_path

from pipeline.schema.errors import InputError, MissingExtraError, UsageError
from pipeline.schema.events import Events, SensorSize, empty_events, make_events
from pipeline.sources.gesture_labels import GESTURE_CLASSES
from training.layouts import LabelledEvents, Layout, Portion, cut_stream, open_plainly, stamp

# Sides beyond this are no pixels of any sensor in these sets.
_MAX_SIDE_PX = 4096
# Portions of so many clips: few files in the cache, little work lost.
_CLIPS_A_PORTION = 256


@dataclass(frozen=True, slots=True)
class _TonicSet:
    """What must be known of a set beside what tonic says: whether it has two sides, its classes, and how it was cut."""

    cut: str
    has_sides: bool = True
    classes: tuple[str, ...] | None = None


_SACCADES = "one file a clip, whole, times in microseconds"
TONIC_SETS = {
    "DVSGesture": _TonicSet(
        "tonic's own copy, already cut into clips and stored as numpy, times rounded to milliseconds; not comparable with cuts "
        "of the AEDAT recordings by their label files",
        classes=GESTURE_CLASSES,
    ),
    "NMNIST": _TonicSet(f"{_SACCADES}, all three saccades"),
    "CIFAR10DVS": _TonicSet("one AEDAT 4 file a clip, read by Saccade itself, no official sides", has_sides=False),
    "NCALTECH101": _TonicSet(
        f"{_SACCADES}, each moved so that its smallest coordinates are 0 and binned as large as it is, no official sides",
        has_sides=False,
    ),
    "POKERDVS": _TonicSet(
        "clips of single cards stored as numpy, tonic's own sides", classes=("club", "heart", "diamond", "spade")
    ),
    "ASLDVS": _TonicSet(
        "one MATLAB file a clip, y turned to grow downwards, no official sides and no subjects in the files", has_sides=False
    ),
}


def tonic_layout(name: str, cut_us: int | None) -> Layout:
    """The layout of `NAME[?root=FOLDER&split=train|test&download=1]`; the folder is tonic's, in which NAME is a folder."""
    kind, query = name.partition("?")[::2]
    options = dict(parse_qsl(query, keep_blank_values=True))
    if kind not in TONIC_SETS:
        raise UsageError(f"tonic:{kind}: there is no such set; there are {', '.join(TONIC_SETS)}")
    known = TONIC_SETS[kind]
    split = _checked_split(kind, options, known)
    root = Path(options.get("root") or user_data_path("saccade") / "tonic").expanduser()
    dataset = _open(kind, root, split, may_download=options.get("download") == "1")
    names, subjects = _names(dataset, root / kind), _subjects(dataset)
    if not names:
        raise InputError(f"tonic:{kind}: nothing below {root / kind}; put the files there as tonic does, or add download=1")
    classes = known.classes or _classes(dataset)
    portions = [range(start, min(start + _CLIPS_A_PORTION, len(names))) for start in range(0, len(names), _CLIPS_A_PORTION)]

    def read(indices: Sequence[int]) -> Iterator[tuple[int, LabelledEvents]]:
        for portion, i in ((number, i) for number in indices for i in portions[number]):
            events, sensor = _read(dataset, i, names[i])
            target = dataset.targets[i]
            label = target if isinstance(target, str) else classes[int(target)]
            for piece in cut_stream([events], cut_us):
                yield portion, LabelledEvents(label, names[i], subjects[i], piece, sensor)

    origin = f"tonic {_version()} {kind}{f', side {split}' if split else ''}: {known.cut}"
    stamps = [[_stamp(dataset.data[i]) for i in rows] for rows in portions]
    listed = [Portion("\0".join((origin, *words)), len(words)) for words in stamps]
    return Layout(listed, read, (), classes, origin)


def _checked_split(kind: str, options: dict[str, str], known: _TonicSet) -> str:
    """`train` or `test`, or "" for a set without sides; UsageError for options that mean nothing."""
    unknown = sorted(set(options) - {"root", "split", "download"})
    if unknown or options.get("download", "0") not in ("0", "1"):
        raise UsageError(f"tonic:{kind}: options are root=FOLDER, split=train or test, download=1, not {', '.join(unknown)}")
    split = options.get("split", "train" if known.has_sides else "")
    if known.has_sides and split not in ("train", "test"):
        raise UsageError(f"tonic:{kind}: split={split!r}; it has the sides train and test")
    if not known.has_sides and split:
        raise UsageError(f"tonic:{kind} has no official sides; leave split out and let --split and --holdout draw one")
    return split


def _open(kind: str, root: Path, split: str, *, may_download: bool) -> Any:
    """The set as an object of tonic, which looks for files below `root`/`kind`."""
    # one of the sets uses it without importing it
    importlib.import_module("numpy.lib.recfunctions")
    base = getattr(_tonic().datasets, kind)
    # tonic downloads what it thinks incomplete: told that everything is there, it takes the files that are
    kept = base if may_download else type(kind, (base,), {"_check_exists": lambda _: True})
    try:
        return kept(save_to=str(root), **({"train": split == "train"} if split else {}))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"tonic:{kind}: tonic cannot open what lies below {root / kind} ({error})") from error


def _tonic() -> Any:
    try:
        importlib.import_module("tonic.datasets")
        return importlib.import_module("tonic")
    except ImportError as error:
        raise MissingExtraError("datasets", error.name or "tonic") from error


def _version() -> str:
    return str(getattr(_tonic(), "__version__", "of unknown version"))


def _classes(dataset: Any) -> tuple[str, ...]:
    """Class names in the order of tonic's numbers; `0 - zero` is called 0. Folder names where tonic has no numbers."""
    named = getattr(dataset, "classes", None)
    if named is None:
        return tuple(sorted({str(target) for target in dataset.targets}))
    ordered = sorted(named, key=named.__getitem__) if isinstance(named, dict) else named
    return tuple(str(name).partition(" - ")[0] for name in ordered)


def _names(dataset: Any, folder: Path) -> list[str]:
    """Where each clip lies below `folder`, or its number in a set that tonic holds in memory."""
    return [_relative(row, folder) if isinstance(row, str) else f"clip {i}" for i, row in enumerate(dataset.data)]


def _relative(path: str, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else path


def _subjects(dataset: Any) -> list[str]:
    users = getattr(dataset, "users", None)
    return [f"user{int(user):02d}" for user in users] if users is not None else [""] * len(dataset.data)


def _stamp(row: Any) -> str:
    """What changes when a clip does: place, size and time of a file, or the bytes of an array."""
    if not isinstance(row, str):
        return hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest()
    return stamp(Path(row))


def _read(dataset: Any, i: int, name: str) -> tuple[Events, SensorSize]:
    """Events and sensor size of clip `i`; AEDAT 4 by our own reader, for which tonic needs another package."""
    if name.endswith(".aedat4"):
        with open_plainly(Path(dataset.data[i])) as source:
            return next(cut_stream(source.packets(), None), empty_events()), source.info.sensor_size
    try:
        records, _ = dataset[i]
    except ImportError as error:
        raise MissingExtraError("datasets", error.name or "a package that tonic needs") from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
        raise InputError(f"{name}: tonic cannot read it ({error})") from error
    return _events(records, dataset.sensor_size, name)


def _events(records: Any, sensor_size: Any, name: str) -> tuple[Events, SensorSize]:
    """Our events of tonic's records (any order of fields, any integer type), those outside the sensor left out; its size."""
    x, y, t = (records[column].reshape(-1).astype(np.int64) for column in ("x", "y", "t"))
    width, height = sensor_size[:2] if sensor_size else (int(x.max(initial=0)) + 1, int(y.max(initial=0)) + 1)
    if max(width, height) > _MAX_SIDE_PX:
        raise InputError(f"{name}: coordinates up to {width}x{height}, which no sensor of this set has")
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    order = np.flatnonzero(inside)[np.argsort(t[inside], kind="stable")]
    p = records["p"].reshape(-1) > 0
    return make_events(t[order], x[order], y[order], p[order]), SensorSize(int(width), int(height))
