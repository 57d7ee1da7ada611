"""Clips on disk: the same as in memory, made once, within bounds, and never all in memory at a time."""

import os
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders import random_events

import training.cache
import training.data
from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sinks.registry import open_sink
from training.augmentation import NONE
from training.batches import batches
from training.cache import ClipCache, ClipLabel, ShelvedCounts, key_of
from training.data import Binning, ClipSet, load_clips
from training.train import Recipe, train_checkpoint

BINNING = Binning(delta_t_us=10_000, size=(16, 12), n_time_bins=4)
SENSOR = SensorSize(64, 64)


def _recordings(folder: Path, n_each: int = 2, duration_us: int = 100_000) -> Path:
    """`n_each` recordings of 200 events for each of the labels a and b."""
    for i in range(2 * n_each):
        path = folder / "ab"[i % 2] / f"{i:02d}.aedat4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_sink(path, SENSOR) as sink:
            sink.write(random_events(200, seed=i, sensor=SENSOR, duration_us=duration_us))
    return folder


def _clip(n_bins: int, value: int) -> tuple[ClipLabel, np.ndarray]:
    return ClipLabel("a", f"r{value}", "", n_bins), np.full((n_bins, 2, 3, 4), value, dtype=np.uint8)


def test_cached_clips_equal_those_in_memory_and_are_read_from_recordings_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(_recordings(tmp_path / "data"))
    plain = load_clips(data, BINNING)
    first = load_clips(data, BINNING, cache=ClipCache(tmp_path / "cache"))
    monkeypatch.setattr(training.data, "_binned", None)  # whoever bins again fails
    again = load_clips(data, BINNING, cache=ClipCache(tmp_path / "cache"))
    for clips in (first, again):
        assert clips.groups == plain.groups == ["a/00.aedat4", "a/02.aedat4", "b/01.aedat4", "b/03.aedat4"]
        assert clips.labels.tolist() == plain.labels.tolist() == [0, 0, 1, 1]
        assert all(np.array_equal(own, wanted) for own, wanted in zip(clips.counts, plain.counts, strict=True))
    assert np.array_equal(again.take([3, 0]).counts[0], plain.counts[3])
    assert np.array_equal(again.with_classes(["b"]).counts[1:][0], plain.counts[3])


def test_other_bins_and_a_changed_recording_are_made_anew(tmp_path: Path) -> None:
    data = _recordings(tmp_path / "data", n_each=1)
    cache = tmp_path / "cache"
    load_clips(str(data), BINNING, cache=ClipCache(cache))
    assert len(list(cache.glob("*.npy"))) == 2
    finer = load_clips(str(data), Binning(5_000, (16, 12), 4), cache=ClipCache(cache))
    assert [counts.shape[0] for counts in finer.counts] == [20, 20]
    assert len(list(cache.glob("*.npy"))) == 4
    with open_sink(data / "a" / "00.aedat4", SENSOR) as sink:
        sink.write(random_events(77, seed=9, sensor=SENSOR))
    changed = load_clips(str(data), BINNING, cache=ClipCache(cache))
    assert [int(counts.sum()) for counts in changed.counts] == [77, 200]


def test_recordings_opened_in_a_way_that_nothing_tells_are_never_cached(tmp_path: Path) -> None:
    data = str(_recordings(tmp_path / "data", n_each=1))
    binning = Binning(10_000, (16, 12), 4, open_source=partial(training.data.open_plainly))
    assert isinstance(load_clips(data, binning, cache=ClipCache(tmp_path / "cache")).counts, list)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.timeout(300)  # seconds alone, minutes on a crowded machine
def test_an_archive_larger_than_memory_may_be_trains_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = str(_recordings(tmp_path / "data", n_each=16, duration_us=400_000))
    binning = Binning(5_000, (64, 64), 2)
    # 32 clips of 80 bins of 2 x 64 x 64 bytes are 21 MB
    monkeypatch.setattr(training.data, "_MAX_BYTES", 4_000_000)
    with pytest.raises(UsageError, match="cache"):
        load_clips(data, binning)
    recipe = Recipe(epochs=1, batch=4, augmentation=NONE)
    few = ClipSet([np.zeros((2, 2, 64, 64), dtype=np.uint8)], np.array([0]), ("a",), ["r"])
    next(batches(few, binning, recipe, 0))  # imported and compiled before memory is watched
    tracemalloc.start()
    try:
        clips = load_clips(data, binning, cache=ClipCache(tmp_path / "cache"))
        n_seen = sum(labels.shape[0] for _, labels in batches(clips, binning, recipe, 0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_seen == 32
    assert sum(counts.nbytes for counts in clips.counts) > 20_000_000
    assert peak < 8_000_000
    lines: list[dict[str, object]] = []
    settings = {"dim": 16, "depth": 1, "n_heads": 2, "pools": "1111", "lif": {"detach_membrane": False}}
    train_checkpoint("tim", settings, clips, binning, recipe, lines.append)
    assert len(lines) == 8


def test_clips_used_longest_ago_give_way_and_those_in_use_never(tmp_path: Path) -> None:
    # 24 bytes a bin: 1,200 bytes of counts behind a header of 128
    old = ClipCache(tmp_path, max_bytes=3_000)
    for name in ("first", "second"):
        old.put(name, (4, 3), [_clip(50, 1)])
    for age, name in ((9_000, "second"), (8_000, "first")):
        os.utime(tmp_path / f"{name}.json", (0, (tmp_path / f"{name}.json").stat().st_mtime - age))
    young = ClipCache(tmp_path, max_bytes=3_000)
    young.put("third", (4, 3), [_clip(50, 3)])
    assert young.find("second") is None
    assert young.find("first") is not None
    assert young.find("third") is not None
    with pytest.raises(UsageError, match="--cache-gb"):
        young.put("fourth", (4, 3), [_clip(50, 4)])
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("damage", ["short", "text", "version", "huge"])
def test_a_damaged_shelf_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    cache = ClipCache(tmp_path)
    cache.put("key", (4, 3), [_clip(2, 1), _clip(1, 2)])
    assert cache.find("key") is not None
    labels = tmp_path / "key.json"
    if damage == "short":
        os.truncate(tmp_path / "key.npy", 150)
    elif damage == "text":
        labels.write_text("{")
    elif damage == "version":
        labels.write_text(labels.read_text().replace('"version":1', '"version":0'))
    else:
        labels.write_text(labels.read_text().replace('"n_bins":2', '"n_bins":200000000000'))
    assert cache.find("key") is None


def test_a_shelf_keeps_what_was_damaged_even_where_no_clip_is_left(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path)
    cache.put("whole", (4, 3), [_clip(2, 1)])
    cache.put("damaged", (4, 3), [_clip(2, 1), "a: cut short", _clip(1, 2), "b: cut short"])
    cache.put("empty", (4, 3), ["c: nothing left"])
    found = {key: cache.find(key) for key in ("whole", "damaged", "empty")}
    assert {key: shelf and (len(shelf.clips), shelf.damage) for key, shelf in found.items()} == {
        "whole": (1, []),
        "damaged": (2, ["a: cut short", "b: cut short"]),
        "empty": (0, ["c: nothing left"]),
    }
    # a shelf of before damage was kept looks like a whole one
    assert "damage" not in (tmp_path / "whole.json").read_text()


@pytest.mark.parametrize("mapped_from", [0, 1 << 20])
def test_a_shelf_is_an_ordinary_npy_and_what_is_written_into_a_clip_stays_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_from: int
) -> None:
    monkeypatch.setattr(training.cache, "_MAP_BYTES", mapped_from)
    cache = ClipCache(tmp_path)
    cache.put("key", (4, 3), [_clip(2, 1), _clip(1, 2)])
    assert np.load(tmp_path / "key.npy", allow_pickle=False)[:, 0, 0, 0].tolist() == [1, 1, 2]
    shelf = cache.find("key")
    assert shelf is not None
    counts = ShelvedCounts(shelf.places)
    counts[1][:] = 7
    assert counts[1].max() == 2
    (tmp_path / "key.npy").unlink()
    with pytest.raises(SaccadeError, match="run the command again"):
        counts[0]


def test_an_interrupted_portion_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> object:
        yield _clip(2, 1)
        raise UsageError("stop")

    cache = ClipCache(tmp_path)
    with pytest.raises(UsageError, match="stop"):
        cache.put("key", (4, 3), broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--cache"):
        ClipCache(tmp_path / "file" / "clips")


def test_the_key_knows_the_words_and_the_code_that_made_the_clips() -> None:
    keys = {key_of(words, made_by) for words in (("a", "b"), ("ab",)) for made_by in ((), ("filters",), ("simulator",))}
    assert len(keys) == 6
    assert key_of(("a", "b"), ()) == key_of(("a", "b"), ())
