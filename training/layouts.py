"""Where labelled events come from: a folder per label, the layout of DVS128 Gesture, an npz, the simulator, tonic.

A layout names the portions of a data set and reads those that are asked for in turn. It knows neither bins nor cache.
"""

import logging
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt

from pipeline.recording import is_partial
from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.schema.messages import NOTHING
from pipeline.sources.base import EventSource
from pipeline.sources.gesture_labels import (
    GESTURE_CLASSES,
    cut_intervals,
    labelled_recordings,
    labels_of,
    read_gesture_labels,
    read_trials,
)

if TYPE_CHECKING:
    from pipeline.simulator import Variation

# Gives the source of a recording on disk, perhaps behind filters.
OpenSource = Callable[[Path], EventSource]

_LOG = logging.getLogger(__name__)
# user01_led.aedat, subject-3_wave.raw: whose movement a recording shows.
_SUBJECT = re.compile(r"((?:user|subject|person)[-_]?\d+)(?![0-9])", re.IGNORECASE)
# The files whose change makes other clips of the same recordings, or other people of the same seeds, under pipeline/.
READERS = ("sources", "filters")
SIMULATOR = ("simulator",)
# So many people of the simulator are made, and cached, together: minutes of work that an interruption may cost.
_SEEDS_A_PORTION = 32
# The one class of the simulator that is drawn anew each time, so that `other` may ask for more of it.
_OTHER = "other_gestures"
# Events of one npz are held in memory while they are binned.
_MAX_NPZ_BYTES = 16_000_000_000
_NPZ_NAMES = ("t", "x", "y", "p", "offsets", "labels", "classes", "names", "width", "height")


@dataclass(frozen=True, slots=True)
class LabelledEvents:
    """One labelled stretch of events. `recording` names what it was cut from, `subject` who is seen, "" where unknown."""

    label: str
    recording: str
    subject: str
    events: Events
    sensor_size: SensorSize


@dataclass(frozen=True, slots=True)
class Damage:
    """Says of a recording what could not be read; it comes after what could."""

    text: str


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of a data set that is read as a whole. `identity` changes when its content does; `n_clips` is a guess."""

    identity: str
    n_clips: int = 1


# Reads the portions of these indices, in this order: (index, stretch or damage), several or none of each.
ReadPortions = Callable[[Sequence[int]], Iterator[tuple[int, LabelledEvents | Damage]]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set: its portions, how they are read, and `made_by`, the rooms of pipeline that decide what comes out.

    `classes` is their order, None for the labels that are found, sorted. `origin` says in a sentence how the clips were cut,
    where that is not the reader's own choice.
    """

    portions: Sequence[Portion]
    read: ReadPortions
    made_by: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    origin: str = ""


def open_plainly(path: Path) -> EventSource:
    """Open a recording as it is."""
    from pipeline.sources.registry import open_recording

    return open_recording(path)


def layout_of(data: str, open_source: OpenSource, cut_us: int | None) -> Layout:
    """The layout that the word `data` names; UsageError or InputError when it names none."""
    kind, _, name = data.partition(":")
    if kind == "synthetic":
        return simulated(name, cut_us)
    if kind == "tonic":
        from training.tonic_sets import tonic_layout

        return tonic_layout(name, cut_us)
    path = Path(data)
    if path.is_dir():
        labelled = labelled_recordings(path)
        return gesture_set(labelled, open_source, cut_us) if labelled else folder_per_label(path, open_source, cut_us)
    if path.is_file():
        if path.name.startswith("trials_") and path.suffix == ".txt":
            return gesture_set(read_trials(path), open_source, cut_us)
        return npz_of_clips(path, cut_us)
    raise InputError(
        f"{data}: no such folder or file; DATA is a folder of recordings per label, an npz, synthetic:gestures or tonic:NAME"
    )


def cut_stream(packets: Iterable[Events], cut_us: int | None) -> Iterator[Events]:
    """The whole of a recording, or pieces of `cut_us` from its first event on, held in memory one at a time.

    Pieces without events are left out, and a last piece that is shorter than half of `cut_us`.
    """
    start_us, pieces = None, list[Events]()
    for packet in packets:
        rest = packet
        while rest.size:
            start_us = int(rest["t"][0]) if start_us is None else start_us
            end = rest.size if cut_us is None else int(np.searchsorted(rest["t"], start_us + cut_us))
            if end:
                pieces.append(rest[:end])
            rest = rest[end:]
            if rest.size and cut_us is not None:
                if pieces:
                    yield np.concatenate(pieces)
                pieces = []
                # over a silence at once, however long
                start_us += (int(rest["t"][0]) - start_us) // cut_us * cut_us
    if start_us is None or not pieces:
        return
    last_us = int(pieces[-1]["t"][-1])
    if cut_us is None or last_us + 1 - start_us >= cut_us / 2:
        yield np.concatenate(pieces)


def recordings_with_labels(
    recordings: Sequence[tuple[Path, str, str, str]], open_source: OpenSource, cut_us: int | None
) -> Layout:
    """A layout of (path, label, name, subject) recordings, each a portion of its own."""

    def read(indices: Sequence[int]) -> Iterator[tuple[int, LabelledEvents | Damage]]:
        for i in indices:
            path, label, name, subject = recordings[i]
            with open_source(path) as source:
                for events in cut_stream(source.packets(), cut_us):
                    yield i, LabelledEvents(label, name, subject, events, source.info.sensor_size)
                yield from ((i, damage) for damage in _damage_of(path, source))

    portions = [Portion("\0".join((stamp(path), label, name, subject))) for path, label, name, subject in recordings]
    return Layout(portions, read, READERS)


def folder_per_label(folder: Path, open_source: OpenSource, cut_us: int | None) -> Layout:
    """LABEL/recording or LABEL/SUBJECT/recording; without such a folder the subject is that of the name (user01_…), if any."""
    found = []
    for label in _visible(folder):
        for path in _visible(label) if label.is_dir() else ():
            files = [(file, path.name) for file in _visible(path)] if path.is_dir() else [(path, subject_of(path.stem))]
            found += [
                (file, label.name, file.relative_to(folder).as_posix(), subject) for file, subject in files if file.is_file()
            ]
    if not found:
        raise InputError(f"{folder}: no recordings; expected one folder per label with recordings inside")
    return recordings_with_labels(found, open_source, cut_us)


def gesture_set(recordings: Sequence[Path], open_source: OpenSource, cut_us: int | None) -> Layout:
    """Recordings with NAME_labels.csv beside them, as in DVS128 Gesture; `user01_led` shows user01."""

    def read(indices: Sequence[int]) -> Iterator[tuple[int, LabelledEvents | Damage]]:
        for i in indices:
            path = recordings[i]
            intervals = read_gesture_labels(labels_of(path))
            with open_source(path) as source:
                for interval, events in cut_intervals(source.packets(), intervals):
                    for piece in cut_stream([events], cut_us):
                        yield i, LabelledEvents(interval.label, path.name, _first_word(path), piece, source.info.sensor_size)
                yield from ((i, damage) for damage in _damage_of(path, source))

    portions = [Portion(f"{stamp(path)}\0{stamp(labels_of(path))}", n_clips=len(GESTURE_CLASSES)) for path in recordings]
    origin = "recordings cut by their own label files, one clip an interval"
    return Layout(portions, read, READERS, GESTURE_CLASSES, origin)


def npz_of_clips(path: Path, cut_us: int | None) -> Layout:
    """Layout: t, x, y, p of all clips one after another; `offsets`, `labels`, `classes`, `names`, `width`, `height`."""
    classes = tuple(str(name) for name in _read_npz(path, ("classes",))["classes"])

    def read(indices: Sequence[int]) -> Iterator[tuple[int, LabelledEvents]]:
        if not indices:
            return
        arrays = _read_npz(path, _NPZ_NAMES)
        offsets, names = _checked_offsets(arrays, path), [str(name) for name in arrays["names"]]
        sensor = SensorSize(int(arrays["width"]), int(arrays["height"]))
        for i, label in enumerate(arrays["labels"]):
            rows = slice(int(offsets[i]), int(offsets[i + 1]))
            events = make_events(*(arrays[name][rows] for name in ("t", "x", "y", "p")))
            for piece in cut_stream([events[np.argsort(events["t"], kind="stable")]], cut_us):
                yield 0, LabelledEvents(classes[int(label)], names[i], subject_of(names[i]), piece, sensor)

    return Layout([Portion(stamp(path))], read, (), classes)


def simulated(name: str, cut_us: int | None) -> Layout:
    """Clips of `gestures[?clips=N&seed=N&other=N&nothing=N&without=PART,…]`: each seed is a person who does every gesture once.

    `other` adds so many clips of further people who do `other_gestures` alone, the class with the most to learn. `nothing` adds
    clips of a class of that name, in which nobody does a gesture. `without` switches parts of the variation off, for ablations.
    """
    from pipeline.simulator import DVS128, GESTURES, NOTHING_SCENES

    asked, variation = _read_query(name)
    first, others, nobody = asked.get("seed", 0), asked.get("other", 0), asked.get("nothing", 0)
    n_people, step = max(1, asked.get("clips", 240) // len(GESTURES)), _SEEDS_A_PORTION * len(GESTURES)
    shows: list[tuple[range, tuple[str, ...]]] = [
        *((seeds, GESTURES) for seeds in _portions(first, n_people, _SEEDS_A_PORTION)),
        *((seeds, (_OTHER,)) for seeds in _portions(first + n_people, others, step)),
        *((seeds, ()) for seeds in _portions(first, nobody, step)),
    ]

    def read(indices: Sequence[int]) -> Iterator[tuple[int, LabelledEvents]]:
        for gestures in (GESTURES, (_OTHER,), ()):
            portion_of = {seed: i for i in indices if shows[i][1] == gestures for seed in shows[i][0]}
            for label, seed, events in _make(gestures, portion_of, variation):
                who, name = (f"person {seed}", gestures[label]) if gestures else (f"scene {seed}", NOTHING)
                for piece in cut_stream([events], cut_us):
                    yield portion_of[seed], LabelledEvents(name, f"{who}/{name}" if gestures else who, who, piece, DVS128)

    listed = []
    for seeds, gestures in shows:
        doing = f"people {seeds} doing {','.join(gestures)} {variation}"
        identity = doing if gestures else f"scenes {seeds} of {','.join(NOTHING_SCENES)}"
        listed.append(Portion(identity, n_clips=len(seeds) * max(1, len(gestures))))
    return Layout(listed, read, SIMULATOR, (*GESTURES, NOTHING) if nobody else GESTURES)


def _read_query(name: str) -> tuple[dict[str, int], "Variation"]:
    """The numbers of `gestures?clips=N&…`, and what is varied; UsageError for anything else."""
    from pipeline.simulator import Variation

    kind, _, query = name.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    off = options.pop("without", "")
    known = {"clips", "seed", "other", "nothing"}
    if kind != "gestures" or set(options) - known or not all(value.isdecimal() for value in options.values()):
        raise UsageError(
            f"synthetic:{name}: to train and judge on there is "
            "synthetic:gestures[?clips=N&seed=N&other=N&nothing=N&without=PART,…]"
        )
    return {key: int(value) for key, value in options.items()}, Variation.without(sorted(set(filter(None, off.split(",")))))


def _make(gestures: Sequence[str], seeds: Collection[int], variation: "Variation") -> Iterator[tuple[int, int, Events]]:
    """Clips of each gesture with each seed, as (index in `gestures`, seed, events); of no gesture, clips of nothing."""
    from pipeline.simulator import make_clips, make_nothing

    n_workers = os.cpu_count() or 1
    if gestures and seeds:
        yield from make_clips(gestures, seeds, n_workers=n_workers, variation=variation)
    elif seeds:
        yield from ((0, seed, events) for seed, events in make_nothing(seeds, n_workers=n_workers))


def _portions(first: int, n: int, step: int) -> list[range]:
    """`n` seeds from `first` on in ranges that end at multiples of `step`, so that more seeds find the portions of fewer."""
    edges = sorted({first, first + n, *range(-(-first // step) * step, first + n, step)})
    return [range(*pair) for pair in pairwise(edges)]


def subject_of(name: str) -> str:
    """Who is seen, by the name of a recording that begins with user, subject or person and a number; "" if it does not."""
    match = _SUBJECT.match(name)
    return match[1] if match else ""


def _first_word(path: Path) -> str:
    return path.stem.partition("_")[0]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def stamp(path: Path) -> str:
    """What changes when a file does: its place, size and time of change."""
    state = path.stat()
    return f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"


def _damage_of(path: Path, source: EventSource) -> list[Damage]:
    """What of a recording could not be read, if anything; times that had to be mended are told at once.

    Its other remarks, such as what filters dropped, are no damage.
    """
    report = source.report()
    reason = "; ".join(report.warnings) or f"{report.n_bytes_skipped} bytes were not read"
    if is_partial(report):
        return [Damage(f"{path}: only what could be read is used: {reason}")]
    if not report.is_monotonic:
        _LOG.warning("%s: %s", path, reason)
    return []


def _read_npz(path: Path, wanted: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays `wanted` of an npz of labelled clips; InputError when it is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in _NPZ_NAMES if name not in file]
            if missing:
                raise InputError(f"{path}: npz without {', '.join(missing)}; labelled clips need {', '.join(_NPZ_NAMES)}")
            n_bytes = sum(member.file_size for member in file.zip.infolist())
            if n_bytes > _MAX_NPZ_BYTES:
                raise InputError(f"{path}: {n_bytes / 1e9:.1f} GB of events; split it into recordings, which are read in turn")
            return {name: file[name] for name in wanted}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not an npz of labelled clips ({error})") from error


def _checked_offsets(arrays: dict[str, npt.NDArray[Any]], path: Path) -> npt.NDArray[Any]:
    n_events, n_clips = arrays["t"].shape[0], arrays["labels"].shape[0]
    offsets = arrays["offsets"]
    if offsets.shape != (n_clips + 1,) or np.any(np.diff(offsets) < 0) or offsets[0] < 0 or offsets[-1] > n_events:
        raise InputError(f"{path}: offsets do not cut {n_events} events into {n_clips} clips")
    labels, n_classes = arrays["labels"], arrays["classes"].shape[0]
    if arrays["names"].shape != (n_clips,) or np.any(labels < 0) or np.any(labels >= n_classes):
        raise InputError(f"{path}: {n_clips} clips need a name and a label from 0 to {n_classes - 1} each")
    return offsets
