"""Splits: nobody stands on both sides, what was drawn can be taken again, and a wrong split is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from training.data import ClipSet
from training.splits import Split, draw_split, groups_of, missing_of, read_split, rows_of, stored_split, write_split


def _people() -> ClipSet:
    """Four people with two recordings each, of two clips; both classes in each recording."""
    counts = [np.full((1, 2, 1, 1), i, dtype=np.uint8) for i in range(16)]
    recordings = [f"user{i // 4}_{i // 2 % 2}.aedat" for i in range(16)]
    return ClipSet(counts, np.arange(16) % 2, ("a", "b"), [f"user{i // 4}" for i in range(16)], recordings)


def _strangers() -> ClipSet:
    clips = _people()
    return replace(clips, groups=list(clips.recordings))


def test_subjects_stay_on_one_side_where_they_are_known_and_recordings_where_not() -> None:
    known = draw_split(_people(), None, 0.25, seed=3)
    assert known.kind == "subject"
    assert len(known.test) == 1
    assert sorted(known.train + known.test) == ["user0", "user1", "user2", "user3"]
    assert len(rows_of(_people(), known, "test")) == 4
    unknown = draw_split(_strangers(), None, 0.25, seed=3)
    assert unknown.kind == "recording"
    assert len(unknown.test) == 2
    with pytest.raises(ConfigurationError, match="who is seen"):
        draw_split(_strangers(), "subject", 0.25, seed=3)


def test_windows_are_split_only_when_asked_for_and_each_has_a_name() -> None:
    split = draw_split(_people(), "window", 0.25, seed=0)
    assert split.kind == "window"
    assert groups_of(_people(), "window")[:4] == ["user0_0.aedat#0", "user0_0.aedat#1", "user0_1.aedat#0", "user0_1.aedat#1"]
    assert len(split.train) + len(split.test) == 16
    assert not set(split.train) & set(split.test)


def test_the_same_seed_draws_the_same_split_in_whatever_order_clips_come() -> None:
    clips = _people()
    turned = clips.take(list(range(16))[::-1])
    assert draw_split(clips, "recording", 0.25, 7) == draw_split(turned, "recording", 0.25, 7)


def test_a_kept_split_takes_the_same_side_of_data_that_have_grown(tmp_path: Path) -> None:
    clips = _people()
    split = draw_split(clips.take(range(12)), "subject", 0.34, seed=1)
    write_split(tmp_path / "sides" / "split.json", split)
    again = read_split(tmp_path / "sides" / "split.json")
    assert again == split
    assert rows_of(clips, again, "test") == rows_of(clips.take(range(12)), split, "test")
    assert not set(rows_of(clips, again, "train")) & {12, 13, 14, 15}
    assert missing_of(clips.take(rows_of(clips, again, "train")), again, "test") == split.test


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind":"person","train":[],"test":[]}', '{"kind":"subject","train":["u"],"test":["u"]}']
)
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=r"not a split|both sides"):
        read_split(tmp_path / "split.json")


def test_a_split_of_other_data_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of the 1 groups"):
        rows_of(_people(), Split("subject", ["user0"], ["user9"]), "test")


def test_the_lists_of_a_data_set_are_its_split(tmp_path: Path) -> None:
    clips = _people()
    for name in set(clips.recordings):
        (tmp_path / name).write_text("")
    (tmp_path / "trials_to_train.txt").write_text("user0_0.aedat\nuser0_1.aedat\nuser1_0.aedat\n")
    with pytest.raises(UsageError, match="trials_to_test"):
        draw_split(clips, "trials", 0.5, 0, str(tmp_path))
    (tmp_path / "trials_to_test.txt").write_text("user3_1.aedat\n")
    split = draw_split(clips, None, 0.5, 0, str(tmp_path))
    assert split == Split("trials", ["user0_0.aedat", "user0_1.aedat", "user1_0.aedat"], ["user3_1.aedat"])
    assert rows_of(clips, split, "test") == [14, 15]
    assert draw_split(clips, "subject", 0.5, 0, str(tmp_path)).kind == "subject"


def test_a_checkpoint_keeps_its_split_and_one_of_the_first_version_is_drawn_again() -> None:
    clips = _people()
    split = draw_split(clips, "subject", 0.25, seed=3)
    assert stored_split({"split": split.as_plain()}, clips, "mine") == split
    old = stored_split({"split": {"kind": "by recording", "holdout": 0.25, "split_seed": 3}}, clips, "mine")
    assert (old.train, old.test) == (split.train, split.test)
    for training in ({}, {"split": {"kind": "own test data", "test": "other"}}):
        with pytest.raises(ConfigurationError, match="leave --side out"):
            stored_split(training, clips, "mine")
    with pytest.raises(InputError, match="damaged"):
        stored_split({"split": {"kind": "subject", "train": 3}}, clips, "mine")
