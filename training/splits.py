"""Which clips teach and which judge: by subject, recording, window or the lists of the data set; drawn once, then stored."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.sources.gesture_labels import read_trials
from training.data import ClipSet, split_by_group

Kind = Literal["subject", "recording", "window", "trials"]
Side = Literal["train", "test"]

_TRIALS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
# A split names each group once; beyond this it is none of ours.
_MAX_BYTES = 1 << 26


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two sides as names of groups. `kind` says what a group is; `share` and `seed` how it was drawn, None for lists."""

    kind: Kind
    train: list[str]
    test: list[str]
    share: float | None = None
    seed: int | None = None

    def as_plain(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def groups_of(clips: ClipSet, kind: Kind) -> list[str]:
    """The group of each clip: its subject, its recording (or list entry), or itself as `recording#number`.

    ConfigurationError where a split by subject is wanted and somebody is not known.
    """
    recordings = clips.recordings or clips.groups
    if kind in ("recording", "trials"):
        return list(recordings)
    if kind == "subject":
        unknown = sum(group == recording for group, recording in zip(clips.groups, recordings, strict=True))
        if unknown:
            raise ConfigurationError(
                f"{unknown} of {len(clips)} clips do not say who is seen; name recordings user01_… or lay them out as "
                "LABEL/SUBJECT/recording, or split by recording"
            )
        return list(clips.groups)
    seen: Counter[str] = Counter()
    names = []
    for recording in recordings:
        names.append(f"{recording}#{seen[recording]}")
        seen[recording] += 1
    return names


def draw_split(clips: ClipSet, kind: Kind | None, share: float, seed: int, data: str = "") -> Split:
    """A split of `clips`, which came from `data`; of the kind that keeps most together unless one is asked for.

    That is: the lists of the data set, where it has both; else by subject, where all are known; else by recording.
    """
    if kind == "trials" or (kind is None and _has_trials(data)):
        return _listed(clips, data)
    if not 0.0 < share < 1.0:
        raise UsageError(f"--holdout {share}: expected a share between 0 and 1, or judged data with --test")
    kind = kind if kind is not None else _widest(clips)
    groups = groups_of(clips, kind)
    train, test = split_by_group(replace(clips, groups=groups), share, seed)
    return Split(kind, _names(groups, train), _names(groups, test), share, seed)


def rows_of(clips: ClipSet, split: Split, side: Side) -> list[int]:
    """Which clips stand on that side; ConfigurationError when none of them does."""
    wanted = set(split.test if side == "test" else split.train)
    groups = groups_of(clips, split.kind)
    rows = [i for i, group in enumerate(groups) if group in wanted]
    if not rows:
        raise ConfigurationError(
            f"none of the {len(wanted)} groups of the {side} side ({', '.join(sorted(wanted)[:3])}…) is in the data "
            f"({', '.join(sorted(set(groups))[:3])}…); give the data that the split was made of"
        )
    return rows


def missing_of(clips: ClipSet, split: Split, side: Side) -> list[str]:
    """Groups of that side which the data lack, so that a score on the rest can say so."""
    return sorted(set(split.test if side == "test" else split.train) - set(groups_of(clips, split.kind)))


def write_split(path: Path, split: Split) -> None:
    """Keep a split as JSON, at once or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(split), indent=1) + b"\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: the split cannot be written ({error})") from error


def read_split(path: Path) -> Split:
    """A split that was kept; InputError when the file is none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is larger than any split")
        return _checked(msgspec.json.decode(path.read_bytes(), type=Split), str(path))
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: not a split ({error})") from error


def stored_split(training: dict[str, Any], clips: ClipSet, checkpoint: str) -> Split:
    """The split that a checkpoint keeps; one of the first version says only how it was drawn, and is drawn again."""
    stored = training.get("split", {})
    if stored.get("kind") == "by recording":
        groups = clips.groups
        train, test = split_by_group(clips, stored["holdout"], stored["split_seed"])
        kind: Kind = "recording" if not clips.recordings or groups == clips.recordings else "subject"
        return Split(kind, _names(groups, train), _names(groups, test), stored["holdout"], stored["split_seed"])
    if stored.get("kind") not in get_args(Kind):
        raise ConfigurationError(f"{checkpoint} was not trained with a split of its data; leave --side out")
    try:
        return _checked(msgspec.convert(stored, Split), checkpoint)
    except msgspec.ValidationError as error:
        raise InputError(f"{checkpoint}: damaged split ({error})") from error


def _checked(split: Split, place: str) -> Split:
    both = sorted(set(split.train) & set(split.test))
    if both:
        raise InputError(f"{place}: {both[0]!r} stands on both sides of the split")
    return split


def _has_trials(data: str) -> bool:
    return bool(data) and all((Path(data) / name).is_file() for name in _TRIALS.values())


def _listed(clips: ClipSet, data: str) -> Split:
    if not _has_trials(data):
        raise UsageError(f"--split trials: {data or 'the data'} has no {' and '.join(_TRIALS.values())}")
    train, test = ([path.name for path in read_trials(Path(data) / _TRIALS[side])] for side in ("train", "test"))
    split = _checked(Split("trials", sorted(set(train)), sorted(set(test))), data)
    rows_of(clips, split, "train")
    rows_of(clips, split, "test")
    return split


def _widest(clips: ClipSet) -> Kind:
    if clips.recordings and all(g != r for g, r in zip(clips.groups, clips.recordings, strict=True)):
        return "subject"
    return "recording"


def _names(groups: Sequence[str], rows: Sequence[int]) -> list[str]:
    return sorted({groups[i] for i in rows})
