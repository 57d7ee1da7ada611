"""Labelled clips as binned frames, whatever the layout of the data: held in memory, or kept on disk by a cache.

Everything is cut by `pipeline.binning`, the same binner that runs live.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.binning import bin_events
from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.schema.events import Events, SensorSize, make_events
from training.cache import ClipCache, ClipLabel, Piece, Place, ShelvedCounts, key_of
from training.layouts import (
    Damage,
    Layout,
    OpenSource,
    cut_stream,
    layout_of,
    open_plainly,
    recordings_with_labels,
    subject_of,
)

Counts = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

_LOG = logging.getLogger(__name__)
# Clips without a cache are held in memory; beyond this they would push a 16 GB machine into swap.
_MAX_BYTES = 8_000_000_000


@dataclass(frozen=True, slots=True)
class Binning:
    """How clips become frames: bin length, frame (width, height), bins of one window T, and where to cut long recordings.

    `open_source` is how recordings are opened; clips that are no recordings (npz, simulator) never meet it. `reading` says the
    same in words, for the cache: clips opened in a way that nothing tells are never cached.
    """

    delta_t_us: int
    size: tuple[int, int]
    n_time_bins: int
    cut_us: int | None = None
    open_source: OpenSource = open_plainly
    reading: str = ""


@dataclass(frozen=True, slots=True)
class ClipSet:
    """Labelled clips. `counts[i]` is uint8 (n_bins_i, 2, H, W); `labels[i]` indexes `classes`.

    `groups[i]` names who is seen, or the recording where that is not known: what a split keeps on one side unless told
    otherwise. `recordings[i]` names the recording; empty where it is the group. `counts` may lie on disk: each `counts[i]`
    reads anew. `origin` says how the clips were cut where the data set decided that; `damage` what of the data set's recordings
    could not be read, a sentence each.
    """

    counts: Sequence[Counts]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    groups: list[str]
    recordings: list[str] = field(default_factory=list)
    origin: str = ""
    damage: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.counts)

    def take(self, indices: Sequence[int]) -> "ClipSet":
        """The clips at `indices`, in that order."""
        rows = [int(i) for i in indices]
        counts = self.counts
        return replace(
            self,
            counts=counts.take(rows) if isinstance(counts, ShelvedCounts) else [counts[i] for i in rows],
            labels=self.labels[rows],
            groups=[self.groups[i] for i in rows],
            recordings=[self.recordings[i] for i in rows] if self.recordings else [],
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


def load_clips(data: str, binning: Binning, progress: Progress | None = None, cache: ClipCache | None = None) -> ClipSet:
    """Clips named by `data`: `synthetic:gestures[?clips=..&seed=..]`, `tonic:NAME[?..]`, an npz, or a folder of recordings.

    The folder has one folder per label, or recordings with `_labels.csv` beside them as in DVS128 Gesture; of these a list such
    as `trials_to_train.txt` names a part. With a cache only what it does not hold is read, and nothing stays in memory.
    """
    return _clips_of_layout(layout_of(data, binning.open_source, binning.cut_us), binning, progress, cache)


def from_recordings(recordings: Sequence[tuple[Path, str]], binning: Binning, progress: Progress | None = None) -> ClipSet:
    """Clips of (path, label) pairs; each recording is a group of its own, unless its name says who is seen."""
    named = [(path, label, str(path), subject_of(path.stem)) for path, label in recordings]
    return _clips_of_layout(recordings_with_labels(named, binning.open_source, binning.cut_us), binning, progress, None)


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
    for piece in cut_stream([events], binning.cut_us):
        yield _binned(piece, sensor, binning)


def read_recording(path: Path, open_source: OpenSource = open_plainly) -> tuple[Events, SensorSize]:
    """All events of one recording, and its sensor size."""
    with open_source(path) as source:
        packets = list(source.packets())
        return (np.concatenate(packets) if packets else make_events([], [], [], [])), source.info.sensor_size


def _binned(events: Events, sensor: SensorSize, binning: Binning) -> Counts:
    counts, _ = bin_events(events, sensor, SensorSize(*binning.size), binning.delta_t_us)
    return counts


def _clips_of_layout(layout: Layout, binning: Binning, progress: Progress | None, cache: ClipCache | None) -> ClipSet:
    is_told = binning.open_source is open_plainly or binning.reading
    counts: Sequence[Counts]
    if cache is None or not is_told:
        counts, labels, damage = _in_memory(layout, binning, progress)
    else:
        counts, labels, damage = _on_disk(layout, binning, progress, cache)
    for text in damage:
        _LOG.warning("%s", text)
    order = layout.classes if layout.classes is not None else tuple(sorted({label.label for label in labels}))
    if not labels:
        raise InputError("no clip with events found in the data")
    index = {name: i for i, name in enumerate(order)}
    return ClipSet(
        counts,
        np.array([index[label.label] for label in labels], dtype=np.int64),
        order,
        [label.subject or label.recording for label in labels],
        [label.recording for label in labels],
        layout.origin,
        tuple(damage),
    )


def _in_memory(layout: Layout, binning: Binning, progress: Progress | None) -> tuple[list[Counts], list[ClipLabel], list[str]]:
    counts, labels, damage, n_bytes = list[Counts](), list[ClipLabel](), list[str](), 0
    for _, piece in _read(layout, range(len(layout.portions)), binning, progress):
        if isinstance(piece, str):
            damage.append(piece)
            continue
        label, clip = piece
        n_bytes += clip.nbytes
        if n_bytes > _MAX_BYTES:
            raise UsageError(
                f"binned clips need more than {_MAX_BYTES // 10**9} GB of memory; use a cache, longer bins or a smaller size"
            )
        counts.append(clip)
        labels.append(label)
    return counts, labels, damage


def _on_disk(
    layout: Layout, binning: Binning, progress: Progress | None, cache: ClipCache
) -> tuple[ShelvedCounts, list[ClipLabel], list[str]]:
    """Fill the cache with what it lacks, then say where everything lies."""
    words = (*(str(number) for number in (binning.delta_t_us, *binning.size, binning.cut_us)), binning.reading)
    keys = [key_of((portion.identity, *words), layout.made_by) for portion in layout.portions]
    shelves = [cache.find(key) for key in keys]
    missing = [i for i, shelf in enumerate(shelves) if shelf is None]
    pieces = _Portions(_read(layout, missing, binning, progress))
    for i in missing:
        cache.put(keys[i], binning.size, pieces.of(i))
        shelves[i] = cache.find(keys[i])
    labels, places, damage = list[ClipLabel](), list[Place](), list[str]()
    for key, shelf in zip(keys, shelves, strict=True):
        if shelf is None:
            raise InputError(f"the cache lost clips that it had just been given ({key}); run the command again")
        labels += shelf.clips
        places += shelf.places
        damage += shelf.damage
    return ShelvedCounts(places), labels, damage


class _Portions:
    """Pieces that come in the order of their portions, each with its number, handed out portion by portion."""

    def __init__(self, pieces: Iterator[tuple[int, Piece]]) -> None:
        self._pieces = pieces
        self._next = next(pieces, None)

    def of(self, i: int) -> Iterator[Piece]:
        """The pieces of portion `i`, which may be none; to be run to its end."""
        while self._next is not None and self._next[0] == i:
            yield self._next[1]
            self._next = next(self._pieces, None)


def _read(layout: Layout, indices: Sequence[int], binning: Binning, progress: Progress | None) -> Iterator[tuple[int, Piece]]:
    """Binned clips and damage of these portions, telling `progress` how many of all expected clips are there."""
    sizes = [portion.n_clips for portion in layout.portions]
    n_total = sum(sizes)
    n_before, n_here, current = n_total - sum(sizes[i] for i in indices), 0, None
    for i, stretch in layout.read(indices):
        if isinstance(stretch, Damage):
            yield i, stretch.text
            continue
        counts = _binned(stretch.events, stretch.sensor_size, binning)
        yield i, (ClipLabel(stretch.label, stretch.recording, stretch.subject, counts.shape[0]), counts)
        if current is not None and i != current:
            n_before, n_here = n_before + sum(sizes[j] for j in _between(indices, current, i)), 0
        current, n_here = i, n_here + 1
        if progress is not None:
            progress(n_before + min(n_here, sizes[i]), n_total)
    if progress is not None:
        progress(n_total, n_total)


def _between(indices: Iterable[int], first: int, end: int) -> list[int]:
    """Those of ascending `indices` in `[first, end)`."""
    return [i for i in indices if first <= i < end]
