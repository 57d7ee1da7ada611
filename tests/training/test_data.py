"""Labelled clips: the three kinds of data, splits that keep recordings whole, and refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import random_events

from pipeline.filters import parse_filters
from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sinks.registry import open_sink
from pipeline.sources.filtered import FilteredSource
from pipeline.sources.registry import open_recording
from training.data import Binning, ClipSet, clips_of, load_clips, padded, split_by_group, windows

BINNING = Binning(delta_t_us=10_000, size=(16, 12), n_time_bins=4)


def _npz(path: Path, n_clips: int = 6, **changes: Any) -> Path:
    clips = [random_events(50, seed=i) for i in range(n_clips)]
    events = np.concatenate(clips)
    arrays: dict[str, Any] = {name: events[name] for name in ("t", "x", "y", "p")}
    arrays |= {
        "offsets": np.arange(n_clips + 1) * 50,
        "labels": np.arange(n_clips) % 2,
        "classes": np.array(["left", "right"]),
        "names": np.array([f"clip{i}" for i in range(n_clips)]),
        "width": 32,
        "height": 24,
    }
    np.savez(path, **(arrays | changes))
    return path


def _clips(labels: list[int], groups: list[str]) -> ClipSet:
    counts = [np.full((2, 2, 1, 1), i, dtype=np.uint8) for i in range(len(labels))]
    return ClipSet(counts, np.array(labels), ("a", "b"), groups)


def test_npz_of_clips_keeps_every_event_label_and_name(tmp_path: Path) -> None:
    clips = load_clips(str(_npz(tmp_path / "clips.npz")), BINNING)
    assert [int(counts.sum()) for counts in clips.counts] == [50] * 6
    assert clips.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert clips.groups[2] == "clip2"
    assert clips.counts[0].shape[1:] == (2, 12, 16)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"offsets": np.array([0, 50])}, "offsets"), ({"offsets": np.arange(7) * 500}, "offsets")],
)
def test_npz_whose_offsets_do_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load_clips(str(_npz(tmp_path / "clips.npz", **changes)), BINNING)


def test_npz_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = _npz(tmp_path / "clips.npz", classes=np.array(["a", {"b": 1}], dtype=object))
    with pytest.raises(InputError, match="not an npz of labelled clips"):
        load_clips(str(path), BINNING)


def test_foreign_file_missing_file_and_unknown_simulation_say_what_is_wanted(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("hello")
    with pytest.raises(InputError, match="not an npz"):
        load_clips(str(foreign), BINNING)
    with pytest.raises(InputError, match="folder of recordings per label"):
        load_clips(str(tmp_path / "nowhere"), BINNING)
    with pytest.raises(UsageError, match="synthetic:gestures"):
        load_clips("synthetic:dances", BINNING)


def test_split_keeps_each_recording_on_one_side_and_depends_on_its_seed_alone() -> None:
    clips = _clips([0, 0, 0, 0, 1, 1, 1, 1], ["r1", "r1", "r2", "r3", "r4", "r4", "r5", "r6"])
    train, test = split_by_group(clips, 0.34, seed=1)
    assert sorted(train + test) == list(range(8))
    assert not {clips.groups[i] for i in train} & {clips.groups[i] for i in test}
    assert {int(clips.labels[i]) for i in test} == {0, 1}
    assert split_by_group(clips, 0.34, seed=1) == (train, test)


def test_class_with_one_recording_cannot_be_split() -> None:
    with pytest.raises(ConfigurationError, match="class 'b' has one recording only"):
        split_by_group(_clips([0, 0, 1], ["r1", "r2", "r3"]), 0.5, seed=0)


def test_chosen_classes_are_renumbered_in_the_order_asked_for() -> None:
    clips = _clips([0, 1, 1], ["r1", "r2", "r3"]).with_classes(["b", "c"])
    assert clips.labels.tolist() == [0, 0]
    assert clips.classes == ("b", "c")
    with pytest.raises(ConfigurationError, match="none of them"):
        clips.with_classes(["z"])


def test_cutting_a_recording_loses_only_a_short_tail() -> None:
    events = random_events(2000, duration_us=105_000)
    binning = Binning(10_000, (32, 24), 4, cut_us=40_000)
    pieces = list(clips_of(events, SensorSize(32, 24), binning))
    # 105 ms: two whole pieces and one of 25 ms, more than half of 40 ms
    assert len(pieces) == 3
    assert sum(int(piece.sum()) for piece in pieces) == 2000


def test_windows_are_consecutive_and_a_short_clip_is_padded_behind() -> None:
    counts = np.arange(9, dtype=np.uint8)[:, None, None, None]
    assert [w[:, 0, 0, 0].tolist() for w in windows(counts, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [w[:, 0, 0, 0].tolist() for w in windows(counts[1:3], 4)] == [[1, 2, 0, 0]]
    assert padded(counts, 2).shape[0] == 2


def test_recordings_with_gesture_labels_beside_them_become_clips_grouped_by_person(tmp_path: Path) -> None:
    for number, name in enumerate(("user01_led", "user01_lab", "user02_led")):
        events = random_events(300, seed=number, sensor=SensorSize(128, 128))
        with open_sink(tmp_path / f"{name}.aedat", SensorSize(128, 128)) as sink:
            sink.write(events)
        (tmp_path / f"{name}_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,40000\n8,20000,100000\n")
    (tmp_path / "trials_to_test.txt").write_text("user02_led.aedat\n")
    clips = load_clips(str(tmp_path), BINNING)
    assert [clips.classes[label] for label in clips.labels] == ["hand_clapping", "arm_roll"] * 3
    assert clips.groups == ["user01"] * 4 + ["user02"] * 2
    assert len(clips.classes) == 11
    t = random_events(300, seed=2, sensor=SensorSize(128, 128))["t"]
    judged = load_clips(str(tmp_path / "trials_to_test.txt"), BINNING)
    assert judged.groups == ["user02"] * 2
    assert [int(counts.sum()) for counts in judged.counts] == [int((t < 40_000).sum()), int((t >= 20_000).sum())]


def test_recordings_are_opened_as_the_binning_says(tmp_path: Path) -> None:
    events = random_events(300, sensor=SensorSize(128, 128))
    for name in ("a/1.aedat", "b/2.aedat", "user01.aedat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with open_sink(tmp_path / name, SensorSize(128, 128)) as sink:
            sink.write(events)
    chain = parse_filters(["polarity=on", "roi=0,0,64x128"])
    binning = replace(BINNING, open_source=lambda path: FilteredSource(open_recording(path), chain))
    n_kept = int(np.count_nonzero((events["p"] == 1) & (events["x"] < 64)))
    assert [int(counts.sum()) for counts in load_clips(str(tmp_path), binning).counts] == [n_kept] * 2
    (tmp_path / "user01_labels.csv").write_text("1,0,100000\n")
    assert [int(counts.sum()) for counts in load_clips(str(tmp_path), binning).counts] == [n_kept]
