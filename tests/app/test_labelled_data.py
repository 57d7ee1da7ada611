"""What train and evaluate do with data, as a user types it: splits that are kept, reading as in training, the cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import random_events

from app.cli import app
from app.labelled_data import reading_as_trained
from app.reading import AS_IT_IS, Reading
from models.checkpoint import CheckpointInfo, configuration_values, read_info, save_checkpoint
from pipeline.schema.errors import ConfigurationError, InputError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sinks.registry import open_sink

SENSOR = SensorSize(32, 32)
NETWORK = ["--set", "dim=16", "--set", "depth=1", "--set", "n_heads=2", "--set", "pools=0011"]
SMALL = [*NETWORK, "--delta-t", "10ms", "--bins", 3, "--epochs", 1, "--batch", 4, "--size", "16x16"]


def _run(*words: object) -> None:
    assert app([str(word) for word in words], result_action="return_value", exit_on_error=False) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people, each with one recording of 30 ms of each label."""
    for seed in range(6):
        path = tmp_path / "data" / ("left", "right")[seed % 2] / f"user{seed // 2:02d}_lab.aedat4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_sink(path, SENSOR) as sink:
            sink.write(random_events(6000, seed=seed, sensor=SENSOR, duration_us=30_000))
    return tmp_path / "data"


def _checkpoint(path: Path, training: dict[str, Any]) -> Path:
    import torch

    from models.registry import create_network

    torch.manual_seed(0)
    network = create_network("sdt", dim=16, depth=1, n_heads=2, pools="0011", n_classes=2, size=(16, 16))
    values = configuration_values(network.configuration)
    save_checkpoint(path, network, CheckpointInfo("sdt", values, ["left", "right"], 10_000, 3, (16, 16), training=training))
    return path


def _judged(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[dict[str, Any], str]:
    _run("evaluate", *words, "--json")
    out, complaints = capsys.readouterr()
    return json.loads(out), complaints


def test_recordings_are_judged_as_training_read_them_unless_told_otherwise(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = _checkpoint(tmp_path / "mine.safetensors", {"reading": {"filter": ["polarity=on"]}})
    plain = _checkpoint(tmp_path / "plain.safetensors", {})
    as_trained, complaints = _judged(capsys, mine, folder)
    assert complaints.count("--filter polarity=on") == 1
    assert as_trained == _judged(capsys, plain, folder, "--filter", "polarity=on")[0]
    as_they_are, complaints = _judged(capsys, mine, folder, "--as-they-are")
    assert complaints == ""
    assert as_they_are == _judged(capsys, plain, folder)[0]
    assert as_they_are["sops"] != as_trained["sops"]
    other = _judged(capsys, mine, folder, "--filter", "polarity=off")[0]
    assert other == _judged(capsys, plain, folder, "--filter", "polarity=off")[0]


def test_clips_that_are_no_recordings_are_judged_as_they_are_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = CheckpointInfo("sdt", {}, [], 1, 1, (1, 1), training={"reading": {"filter": ["polarity=on"], "chip": "dvs128"}})
    assert reading_as_trained(AS_IT_IS, info, "synthetic:gestures") == AS_IT_IS
    assert "--chip dvs128 --filter polarity=on" in capsys.readouterr().err
    assert reading_as_trained(Reading(chip="gen41"), info, "folder") == Reading(chip="gen41", filter=("polarity=on",))
    broken = CheckpointInfo("sdt", {}, [], 1, 1, (1, 1), training={"reading": {"filter": 3}})
    with pytest.raises(InputError, match="how its recordings were read"):
        reading_as_trained(AS_IT_IS, broken, "folder")


def test_a_split_is_kept_in_checkpoint_and_file_and_taken_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "mine.safetensors", tmp_path / "split.json"
    cached = ["--cache", tmp_path / "cache"]
    _run(
        "train",
        folder,
        "--out",
        out,
        *SMALL,
        "--holdout",
        0.34,
        "--split-file",
        file,
        "--filter",
        "polarity=on",
        *cached,
        "--json",
    )
    trained = json.loads(capsys.readouterr().out)
    split = json.loads(file.read_text())
    facts = read_info(out).training
    assert facts["split"] == split
    assert facts["reading"] == {"filter": ["polarity=on"]}
    assert (split["kind"], len(split["train"]), len(split["test"])) == ("subject", 2, 1)
    assert trained["n"] == 2
    for words in (["--side", "test"], ["--split-file", file]):
        assert _judged(capsys, out, folder, *words, *cached)[0] == trained
    assert _judged(capsys, out, folder, "--side", "train", *cached)[0]["n"] == 4
    assert _judged(capsys, out, folder, *cached)[0]["n"] == 6
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 6
    for path in folder.glob(f"*/{split['train'][0]}*"):
        path.unlink()
    assert f"such as {split['train'][0]}" in _judged(capsys, out, folder, "--side", "train", *cached)[1]
    file.write_text(json.dumps({**split, "train": split["test"], "test": split["train"]}))
    _run("train", folder, "--out", out, *SMALL, "--split-file", file, *cached, "--json")
    assert read_info(out).training["split"]["test"] == split["train"]
    assert "--holdout" in capsys.readouterr().err


def test_lists_of_the_gesture_set_split_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for user in ("user01", "user02"):
        with open_sink(tmp_path / f"{user}_led.aedat", SensorSize(128, 128)) as sink:
            sink.write(random_events(900, seed=int(user[-1]), sensor=SensorSize(128, 128), duration_us=90_000))
        rows = "".join(f"{gesture},{start},{start + 45_000}\n" for gesture, start in ((1, 0), (8, 45_000)))
        (tmp_path / f"{user}_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + rows)
    (tmp_path / "trials_to_train.txt").write_text("user02_led.aedat\n")
    (tmp_path / "trials_to_test.txt").write_text("user01_led.aedat\n")
    out = tmp_path / "mine.safetensors"
    _run("train", tmp_path, "--out", out, *SMALL, "--json")
    assert np.array(json.loads(capsys.readouterr().out)["confusion"]).sum() == 2
    training = read_info(out).training
    assert training["split"]["kind"] == "trials"
    assert training["split"]["test"] == ["user01_led.aedat"]
    assert "label files" in training["data_origin"]


def test_words_about_data_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    plain = _checkpoint(tmp_path / "plain.safetensors", {})
    with pytest.raises(UsageError, match="--cache-gb"):
        _run("evaluate", plain, folder, "--cache-gb", "0")
    with pytest.raises(ConfigurationError, match="leave --side out"):
        _run("evaluate", plain, folder, "--side", "test")
    with pytest.raises(UsageError, match="--split trials"):
        _run("train", folder, "--out", tmp_path / "x.safetensors", *SMALL, "--split", "trials")
