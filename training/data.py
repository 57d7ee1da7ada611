"""Labelled clips as binned frames: from recordings (a folder per label, or in the layout of DVS128 Gesture), npz, simulator.

Everything is cut by `pipeline.binning`, the same binner that runs live.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt

from pipeline.binning import bin_events
from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sources.base import EventSource
from pipeline.sources.gesture_labels import (
    GESTURE_CLASSES,
    cut_intervals,
    labelled_recordings,
    labels_of,
    read_gesture_labels,
    read_trials,
)

Counts = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

# Binned clips are held in memory; beyond this they would push a 16 GB machine into swap.
_MAX_BYTES = 8_000_000_000


# Gives the source of a recording on disk, perhaps behind filters.
OpenSource = Callable[[Path], EventSource]


def open_plainly(path: Path) -> EventSource:
    """Open a recording as it is."""
    from pipeline.sources.registry import open_recording

    return open_recording(path)


@dataclass(frozen=True, slots=True)
class Binning:
    """How clips become frames: bin length, frame (width, height), bins of one window T, and where to cut long recordings.

    `open_source` is how recordings are opened; clips that are no recordings (npz, simulator) never meet it.
    """

    delta_t_us: int
    size: tuple[int, int]
    n_time_bins: int
    cut_us: int | None = None
    open_source: OpenSource = open_plainly


@dataclass(frozen=True, slots=True)
class ClipSet:
    """Labelled clips. `counts[i]` is uint8 (n_bins_i, 2, H, W); `labels[i]` indexes `classes`; `groups[i]` names the recording.

    Clips of one recording (of one simulated person) share a group and never stand on both sides of a split.
    """

    counts: list[Counts]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    groups: list[str]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.counts)

    def take(self, indices: Sequence[int]) -> "ClipSet":
        """The clips at `indices`, in that order."""
        rows = [int(i) for i in indices]
        return replace(
            self, counts=[self.counts[i] for i in rows], labels=self.labels[rows], groups=[self.groups[i] for i in rows]
        )

    def with_classes(self, classes: Sequence[str]) -> "ClipSet":
        """The clips of `classes` only, labels renumbered to that order; ConfigurationError if none is left."""
        keep = [i for i, label in enumerate(self.labels) if self.classes[label] in classes]
        if not keep:
            raise ConfigurationError(f"data has classes {', '.join(self.classes)}; none of them is in {', '.join(classes)}")
        part = self.take(keep)
        order = {name: i for i, name in enumerate(classes)}
        labels = np.array([order[self.classes[label]] for label in part.labels], dtype=np.int64)
        return replace(part, labels=labels, classes=tuple(classes))


def split_by_group(clips: ClipSet, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of (train, test): within each class a `share` of its groups, at least one, goes to the test side.

    The draw depends on `seed` and the group names alone. A class with a single group cannot be split: ConfigurationError.
    """
    rng = np.random.default_rng(seed)
    test_groups: set[str] = set()
    for label, name in enumerate(clips.classes):
        groups = sorted({g for g, own in zip(clips.groups, clips.labels, strict=True) if own == label})
        if len(groups) == 1:
            raise ConfigurationError(f"class {name!r} has one recording only; give judged data with --test")
        open_groups = [group for group in groups if group not in test_groups]
        n_wanted = max(1, round(share * len(groups))) if groups else 0
        n_more = max(0, n_wanted - (len(groups) - len(open_groups)))
        test_groups.update(rng.permutation(open_groups)[:n_more].tolist())
    test = [i for i, group in enumerate(clips.groups) if group in test_groups]
    train = [i for i, group in enumerate(clips.groups) if group not in test_groups]
    return train, test


def load_clips(data: str, binning: Binning, progress: Progress | None = None) -> ClipSet:
    """Clips named by `data`: `synthetic:gestures[?clips=..&seed=..]`, an npz of labelled clips, or a folder of recordings.

    The folder has one folder per label, or recordings with `_labels.csv` beside them as in DVS128 Gesture; of these a list such
    as `trials_to_train.txt` names a part.
    """
    if data.startswith("synthetic:"):
        return _from_simulator(data.removeprefix("synthetic:"), binning, progress)
    if data.startswith("tonic:"):
        raise UsageError(f"{data}: tonic data sets are not built yet in this version; use a folder, an npz or synthetic:")
    path = Path(data)
    if path.is_dir():
        labelled = labelled_recordings(path)
        return _from_labelled(labelled, binning, progress) if labelled else _from_folder(path, binning, progress)
    if path.is_file():
        if path.name.startswith("trials_") and path.suffix == ".txt":
            return _from_labelled(read_trials(path), binning, progress)
        return _from_npz(path, binning, progress)
    raise InputError(f"{data}: no such folder or file; DATA is a folder of recordings per label, an npz, or synthetic:gestures")


def windows(counts: Counts, n_time_bins: int) -> Iterator[Counts]:
    """Consecutive windows (T, 2, H, W) of a clip; a clip shorter than T is padded with empty bins, a tail is left out."""
    n = counts.shape[0] // n_time_bins
    if n == 0:
        yield padded(counts, n_time_bins)
    for i in range(n):
        yield counts[i * n_time_bins : (i + 1) * n_time_bins]


def padded(counts: Counts, n_time_bins: int) -> Counts:
    """The first T bins, with empty bins behind where the clip is shorter."""
    missing = n_time_bins - counts.shape[0]
    if missing <= 0:
        return counts[:n_time_bins]
    return np.concatenate([counts, np.zeros((missing, *counts.shape[1:]), dtype=np.uint8)])


def clips_of(events: Events, sensor: SensorSize, binning: Binning) -> Iterator[Counts]:
    """Binned clips of one recording: the whole, or pieces of `cut_us` (a last piece shorter than half of it is left out)."""
    if events.size == 0:
        return
    if binning.cut_us is None:
        yield _binned(events, sensor, binning)
        return
    first, last = int(events["t"][0]), int(events["t"][-1])
    for start in range(first, last + 1, binning.cut_us):
        if last + 1 - start < binning.cut_us / 2:
            return
        begin, end = np.searchsorted(events["t"], [start, start + binning.cut_us])
        if begin < end:
            yield _binned(events[begin:end], sensor, binning)


def _binned(events: Events, sensor: SensorSize, binning: Binning) -> Counts:
    counts, _ = bin_events(events, sensor, SensorSize(*binning.size), binning.delta_t_us)
    return counts


def _gather(pieces: Iterator[tuple[str, str, Counts]], classes: Sequence[str] | None = None) -> ClipSet:
    """Put (label, group, counts) pieces together, within the memory bound."""
    counts, names, groups, n_bytes = [], [], [], 0
    for label, group, clip in pieces:
        n_bytes += clip.nbytes
        if n_bytes > _MAX_BYTES:
            raise UsageError(
                f"binned clips need more than {_MAX_BYTES // 10**9} GB; use longer bins, a smaller size or fewer clips"
            )
        counts.append(clip)
        names.append(label)
        groups.append(group)
    order = tuple(classes) if classes is not None else tuple(sorted(set(names)))
    if not counts:
        raise InputError("no clip with events found in the data")
    index = {name: i for i, name in enumerate(order)}
    return ClipSet(counts, np.array([index[name] for name in names], dtype=np.int64), order, groups)


def read_recording(path: Path, open_source: OpenSource = open_plainly) -> tuple[Events, SensorSize]:
    """All events of one recording, and its sensor size."""
    with open_source(path) as source:
        packets = list(source.packets())
        return (np.concatenate(packets) if packets else make_events([], [], [], [])), source.info.sensor_size


def from_recordings(recordings: Sequence[tuple[Path, str]], binning: Binning, progress: Progress | None = None) -> ClipSet:
    """Clips of (path, label) pairs; each recording is a group of its own."""

    def pieces() -> Iterator[tuple[str, str, Counts]]:
        for done, (path, label) in enumerate(recordings):
            events, sensor = read_recording(path, binning.open_source)
            for clip in clips_of(events, sensor, binning):
                yield label, str(path), clip
            if progress is not None:
                progress(done + 1, len(recordings))

    return _gather(pieces())


def _from_folder(folder: Path, binning: Binning, progress: Progress | None) -> ClipSet:
    recordings = [
        (path, label.name)
        for label in sorted(folder.iterdir())
        if label.is_dir() and not label.name.startswith(".")
        for path in sorted(label.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    if not recordings:
        raise InputError(f"{folder}: no recordings; expected one folder per label with recordings inside")
    return from_recordings(recordings, binning, progress)


def _from_labelled(recordings: Sequence[Path], binning: Binning, progress: Progress | None) -> ClipSet:
    """Clips of recordings with labels beside them; all recordings of a person (`user01_led` is of user01) are one group."""

    def pieces() -> Iterator[tuple[str, str, Counts]]:
        for done, path in enumerate(recordings):
            intervals = read_gesture_labels(labels_of(path))
            with binning.open_source(path) as source:
                for interval, events in cut_intervals(source.packets(), intervals):
                    for clip in clips_of(events, source.info.sensor_size, binning):
                        yield interval.label, path.stem.partition("_")[0], clip
            if progress is not None:
                progress(done + 1, len(recordings))

    return _gather(pieces(), GESTURE_CLASSES)


def _from_npz(path: Path, binning: Binning, progress: Progress | None) -> ClipSet:
    """Layout: t, x, y, p of all clips one after another; `offsets`, `labels`, `classes`, `names`, `width`, `height`."""
    arrays = _read_npz(path)
    offsets, labels = arrays["offsets"], arrays["labels"]
    classes = [str(name) for name in arrays["classes"]]
    names = [str(name) for name in arrays["names"]]
    sensor = SensorSize(int(arrays["width"]), int(arrays["height"]))

    def pieces() -> Iterator[tuple[str, str, Counts]]:
        for i, label in enumerate(labels):
            rows = slice(int(offsets[i]), int(offsets[i + 1]))
            events = make_events(*(arrays[name][rows] for name in ("t", "x", "y", "p")))
            for clip in clips_of(events[np.argsort(events["t"], kind="stable")], sensor, binning):
                yield classes[int(label)], names[i], clip
            if progress is not None:
                progress(i + 1, len(labels))

    return _gather(pieces(), classes)


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    wanted = ("t", "x", "y", "p", "offsets", "labels", "classes", "names", "width", "height")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file]
            if missing:
                raise InputError(f"{path}: npz without {', '.join(missing)}; labelled clips need {', '.join(wanted)}")
            arrays = {name: file[name] for name in wanted}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path}: not an npz of labelled clips ({error})") from error
    n_events, n_clips = arrays["t"].shape[0], arrays["labels"].shape[0]
    offsets = arrays["offsets"]
    if offsets.shape != (n_clips + 1,) or np.any(np.diff(offsets) < 0) or offsets[0] < 0 or offsets[-1] > n_events:
        raise InputError(f"{path}: offsets do not cut {n_events} events into {n_clips} clips")
    return arrays


def _from_simulator(name: str, binning: Binning, progress: Progress | None) -> ClipSet:
    from pipeline.simulator import GESTURES, make_clips

    kind, _, query = name.partition("?")
    options = dict(parse_qsl(query))
    if kind != "gestures" or set(options) - {"clips", "seed"}:
        raise UsageError(f"synthetic:{name}: there is synthetic:gestures[?clips=N&seed=N] to train and judge on")
    n_clips, seed = int(options.get("clips", 240)), int(options.get("seed", 0))
    seeds = range(seed, seed + max(1, n_clips // len(GESTURES)))

    def pieces() -> Iterator[tuple[str, str, Counts]]:
        n = len(seeds) * len(GESTURES)
        for done, (label, clip_seed, events) in enumerate(make_clips(GESTURES, seeds, n_workers=os.cpu_count() or 1)):
            yield GESTURES[label], f"person {clip_seed}", _binned(events, SensorSize(128, 128), binning)
            if progress is not None:
                progress(done + 1, n)

    return _gather(pieces(), GESTURES)
