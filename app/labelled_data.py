"""What train and evaluate may be told about labelled data; how it is opened, cached and split. training is imported inside."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from app.reading import AS_IT_IS, Reading, open_part
from app.settings import read_size
from app.terminal import complain, progress_bar
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import InputError, PartialInputError, UsageError

if TYPE_CHECKING:
    from models.checkpoint import CheckpointInfo
    from training.cache import ClipCache
    from training.data import Binning, ClipSet
    from training.layouts import OpenSource
    from training.splits import Split


@dataclass(frozen=True)
class CacheOptions:
    """Where binned clips are kept.

    Parameters
    ----------
    cache
        Folder of binned clips, made once and used again; without it one in the user's cache.
    cache_gb
        What that folder may hold; the clips used longest ago give way.
    """

    cache: Path | None = None
    cache_gb: float = 20.0

    def open(self) -> "ClipCache":
        """The cache itself."""
        from training.cache import ClipCache

        if not self.cache_gb > 0:
            raise UsageError(f"--cache-gb {self.cache_gb}: expected gigabytes above 0")
        return ClipCache(self.cache, int(self.cache_gb * 1e9))


@dataclass(frozen=True)
class DataOptions:
    """How recordings become clips, and which clips are judged.

    Parameters
    ----------
    test
        Judged data of its own; without it a part of the data is set aside before training.
    split
        What is set aside whole: all of a subject, or a recording. By window is for data of a single recording, and flatters:
        windows of one recording are much alike. trials takes the lists trials_to_train.txt and trials_to_test.txt beside the
        recordings. Left out: trials where there are such lists, else subject where all are known, else recording.
    holdout
        Share of each class's subjects or recordings set aside for judging.
    split_seed
        Seed of that draw, independent of the training's.
    split_file
        JSON file of both sides: used if it is there, else written.
    classes
        Only these classes, separated by commas.
    delta_t
        Duration of one time bin.
    bins
        Time bins of one window, T.
    size
        Width x height of the frames the network sees.
    cut
        Cut recordings into clips of this duration.
    """

    test: str | None = None
    split: Literal["subject", "recording", "window", "trials"] | None = None
    holdout: float = 0.2
    split_seed: int = 0
    split_file: Path | None = None
    classes: str | None = None
    delta_t: str = "25ms"
    bins: int = 16
    size: str = "64x64"
    cut: str | None = None

    def binning(self, data: str, reading: Reading) -> "Binning":
        """How `data` is binned when recordings are read in this way."""
        from training.data import Binning

        opener, words = open_source(data, reading)
        cut_us = None if self.cut is None else parse_duration_us(self.cut)
        return Binning(parse_duration_us(self.delta_t), read_size(self.size), self.bins, cut_us, opener, words)


def load(data: str, binning: "Binning", cache: CacheOptions, classes: str | None = None) -> "ClipSet":
    """The clips of `data` through the cache, with a bar; only of `classes`, names with commas, if given."""
    from training.data import load_clips

    with progress_bar("binning") as progress:
        clips = load_clips(data, binning, progress, cache.open())
    return clips if classes is None else clips.with_classes([name.strip() for name in classes.split(",")])


def open_source(data: str, reading: Reading) -> tuple["OpenSource", str]:
    """How recordings are opened, and the same in words; UsageError where there are none to which the flags could apply."""
    from training.layouts import open_plainly

    if reading == AS_IT_IS:
        return open_plainly, ""
    if holds_clips(data):
        raise UsageError(f"{data} holds clips, not recordings; leave the options that say how recordings are read out")
    return partial(open_part, reading=reading), msgspec.json.encode(reading_values(reading), order="sorted").decode()


def holds_clips(data: str) -> bool:
    """Whether `data` gives clips that nobody reads from recordings of the user's."""
    return data.startswith(("synthetic:", "tonic:")) or data.endswith(".npz")


def reading_values(reading: Reading) -> dict[str, Any]:
    """The flags that were given, as plain values; a checkpoint keeps them."""
    return {name: value for name, value in dataclasses.asdict(reading).items() if value is not None}


def reading_as_trained(given: Reading, info: "CheckpointInfo", data: str) -> Reading:
    """How recordings were read for training, each flag that is given now instead; says so on stderr.

    Clips are judged as they are, and stderr says what training did.
    """
    stored = info.training.get("reading", {})
    if not stored:
        return given
    try:
        trained = msgspec.convert(stored, Reading)
    except msgspec.ValidationError as error:
        raise InputError(f"the checkpoint says in no known way how its recordings were read ({error})") from error
    words = " ".join(f"--{name.replace('_', '-')} {part}" for name, part in _flags(trained))
    if holds_clips(data):
        complain(f"trained on recordings read with {words}; {data} holds clips, which are judged as they are")
        return given
    complain(f"reading recordings as for training, with {words} (--as-they-are leaves that out)")
    return dataclasses.replace(trained, **reading_values(given))


def _flags(reading: Reading) -> list[tuple[str, object]]:
    return [
        (name, part) for name, value in reading_values(reading).items() for part in (value if name == "filter" else [value])
    ]


def sides(
    clips: "ClipSet", data: str, options: DataOptions, binning: "Binning", cache: CacheOptions
) -> tuple["ClipSet", "ClipSet", dict[str, Any]]:
    """Clips to train on, clips to judge on, and what the checkpoint keeps of the split."""
    from training.splits import draw_split, read_split, rows_of, write_split

    if options.test is not None:
        judged = load(options.test, binning, cache).with_classes(clips.classes)
        return clips, judged, {"kind": "own test data", "test": options.test}
    file = options.split_file
    if file is not None and file.is_file():
        split = read_split(file)
        complain(f"the split of {file}, by {split.kind}; --split, --holdout and --split-seed are not asked")
    else:
        split = draw_split(clips, options.split, options.holdout, options.split_seed, data)
        if file is not None:
            write_split(file, split)
    return clips.take(rows_of(clips, split, "train")), clips.take(rows_of(clips, split, "test")), split.as_plain()


def one_side(
    clips: "ClipSet", side: Literal["train", "test"], file: Path | None, info: "CheckpointInfo", checkpoint: str
) -> "ClipSet":
    """The clips on `side` of the split in `file`, else of the checkpoint's own; says on stderr what is missing."""
    from training.splits import missing_of, read_split, rows_of, stored_split

    split: Split = read_split(file) if file is not None else stored_split(info.training, clips, checkpoint)
    rows = rows_of(clips, split, side)
    missing = missing_of(clips, split, side)
    if missing:
        complain(f"{len(missing)} of the {side} side's groups are not in the data, such as {missing[0]}")
    return clips.take(rows)


def end_with_damage(*clips: "ClipSet") -> None:
    """PartialInputError where recordings of these clips could not be read whole; for when everything is done with the rest."""
    damage = list(dict.fromkeys(text for part in clips for text in part.damage))
    if damage:
        raise PartialInputError(f"{len(damage)} of the recordings could not be read whole; the first is {damage[0]}")


def facts_of(data: str, clips: "ClipSet", split: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """What a checkpoint keeps of its data: its name, how the data set itself cut it, the split, how recordings were read."""
    facts = {"data": data, "data_origin": clips.origin, "split": split, "reading": reading_values(reading)}
    return {name: value for name, value in facts.items() if value}
