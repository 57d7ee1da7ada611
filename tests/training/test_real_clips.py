"""Versions scored on real clips are all kept."""

import json
from pathlib import Path

from training.real_clips import add_version


def test_a_version_is_added_behind_those_scored_before(tmp_path: Path) -> None:
    path = tmp_path / "real_clips.json"
    add_version(path, {"version": "first", "clips": {"correct": 7}})
    add_version(path, {"version": "second", "clips": {"correct": 6}})
    assert [line["version"] for line in json.loads(path.read_text())] == ["first", "second"]
