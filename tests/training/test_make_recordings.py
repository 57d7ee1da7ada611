import hashlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pipeline.schema.events import make_events
from pipeline.simulator import GESTURES, Act
from pipeline.sources.registry import open_recording
from training.make_recordings import Recording, Segment, digest_events, lay_out, main, write_recordings

FOLDER = Path(__file__).parents[2] / "recordings"
THREE = make_events([5, 7, 9], [1, 2, 3], [4, 5, 6], [1, 0, 1])


def shipped():
    return tomllib.loads((FOLDER / "manifest.toml").read_text(encoding="utf-8"))["recording"]


def test_shipped_recordings_are_exactly_those_of_the_manifest_and_small():
    files = {path.name: path.stat().st_size for path in FOLDER.glob("*.aedat*")}
    assert files == {entry["path"]: entry["n_bytes"] for entry in shipped()}
    assert sum(files.values()) < 6_000_000


@pytest.mark.parametrize("name", ["demo.aedat4", "hand_clapping.aedat", "arm_roll_aedat3.aedat"])
def test_shipped_recording_holds_what_the_manifest_says(name):
    (entry,) = (entry for entry in shipped() if entry["path"] == name)
    path = FOLDER / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["file_sha256"]
    with open_recording(path) as source:
        events = np.concatenate(list(source.packets()))
        report = source.report()
        assert (source.info.format, source.info.encoding) == (entry["format"], entry["encoding"])
        assert source.info.sensor_size == (entry["width"], entry["height"])
    assert not report.is_truncated
    assert report.is_monotonic
    assert digest_events(events) == entry["events_sha256"]
    assert (len(events), events["p"].sum()) == (entry["events"], entry["on_events"])
    assert (events["t"][0], events["t"][-1]) == (entry["first_us"], entry["last_us"])


def test_demo_shows_gestures_in_their_order_once_and_rests_between():
    (demo,) = (entry for entry in shipped() if entry["path"] == "demo.aedat4")
    segments = demo["segments"]
    labels = [segment["label"] for segment in segments[::2]]
    assert labels == [gesture for gesture in GESTURES if gesture in labels]
    assert len(labels) >= 6
    assert {segment["label"] for segment in segments[1::2]} == {"nothing"}
    assert [segment["start_us"] for segment in segments[1:]] == [segment["end_us"] for segment in segments[:-1]]


def test_acts_lie_one_after_another():
    acts = [Act("arm_roll", None, 300), Act(None, None, 200)]
    assert lay_out(acts) == (Segment("arm_roll", 0, 300), Segment("nothing", 300, 500))


def test_digest_is_that_of_the_columns_in_little_endian():
    columns = (5, 7, 9), (1, 2, 3), (4, 5, 6), (1, 0, 1)
    sizes = (8, 2, 2, 1)
    content = b"".join(value.to_bytes(size, "little") for column, size in zip(columns, sizes, strict=True) for value in column)
    assert digest_events(THREE) == hashlib.sha256(content).hexdigest()


def test_written_manifest_describes_the_written_file(tmp_path):
    recording = Recording("three.aedat4", "aedat4", THREE, (Segment("arm_roll", 0, 10),))
    write_recordings([recording], tmp_path)
    write_recordings([recording], tmp_path)  # again: replaced, not refused
    (entry,) = tomllib.loads((tmp_path / "manifest.toml").read_text(encoding="utf-8"))["recording"]
    assert (entry["path"], entry["events"], entry["on_events"]) == ("three.aedat4", 3, 2)
    assert (entry["first_us"], entry["last_us"]) == (5, 9)
    assert entry["segments"] == [{"label": "arm_roll", "start_us": 0, "end_us": 10}]
    assert (tmp_path / "three.aedat4").stat().st_size == entry["n_bytes"]


def test_negative_seed_ends_the_command_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_recordings", "--seed", "-1"])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 2
    assert "seed -1" in capsys.readouterr().err


def test_command_writes_into_the_folder_it_is_given(tmp_path, monkeypatch, capsys):
    recording = Recording("three.aedat4", "aedat4", THREE, (Segment("arm_roll", 0, 10),))
    monkeypatch.setattr("training.make_recordings.make_recordings", lambda seed: (recording,))
    monkeypatch.setattr(sys, "argv", ["make_recordings", "--out", str(tmp_path / "made")])
    main()
    assert (tmp_path / "made" / "three.aedat4").exists()
    assert "made" in capsys.readouterr().out
