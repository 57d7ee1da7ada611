"""`python -m training.decisions` leaves figures, a picture and lines for the page of results."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import random_events

from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import create_network
from pipeline.schema.events import Events, SensorSize
from pipeline.simulator import FOREIGN_SCENES
from training import decisions
from training.data import ClipSet
from training.decision_results import decision_rows


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = create_network("sdt", dim=16, depth=1, n_heads=2, pools="0011", n_classes=2, size=(16, 16))
    path = tmp_path / "small.safetensors"
    info = CheckpointInfo("sdt", configuration_values(network.configuration), ["left", "right"], 25_000, 3, (16, 16))
    save_checkpoint(path, network, info)
    return path


def _npz(path: Path, n: int = 4, each: int = 300) -> Path:
    events = [random_events(each, seed=i, sensor=SensorSize(16, 16), duration_us=200_000) for i in range(n)]
    joined = {name: np.concatenate([clip[name] for clip in events]) for name in ("t", "x", "y", "p")}
    names = np.array([f"clip{i}" for i in range(n)])
    labels, classes = np.arange(n) % 2, np.array(["left", "right"])
    np.savez(path, **joined, offsets=np.arange(n + 1) * each, labels=labels, classes=classes, names=names, width=16, height=16)
    return path


def _noise(seed: int, duration_us: int) -> Events:
    return random_events(1000, seed=seed % 100, sensor=SensorSize(128, 128), duration_us=duration_us)


def test_the_command_keeps_curves_times_and_alarms(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(_npz(tmp_path / "clips.npz"))
    words = ["--seconds", "0.5", "--scenes", "2", "--clips", "3", "--out", str(tmp_path), "--pictures", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["decisions", str(checkpoint), data, "--name", "small", *words])
    monkeypatch.setattr(decisions, "scenes", lambda: {"noise": _noise})
    decisions.main()
    printed = json.loads(capsys.readouterr().out)
    result = json.loads((tmp_path / "decisions_small.json").read_text())
    assert result["n_clips"] == 3
    assert set(result["readouts"]) == {"window", "running"}
    # 200 ms in bins of 25 ms; before the first window is over both readouts say the same
    window, running = (result["readouts"][name]["accuracy"] for name in ("window", "running"))
    assert len(window) == len(running) == 8
    assert window[:3] == running[:3]
    assert result["alarms"]["noise"]["minutes"] == pytest.approx(2 * 0.5 / 60, rel=0.1)
    assert printed["alarms"] == result["alarms"]
    picture = (tmp_path / "decisions_small.svg").read_text()
    assert picture.count("<polyline") == 2
    assert "200 ms seen" in picture
    lines = "\n".join(decision_rows(tmp_path))
    assert "| `small`, running |" in lines
    assert "| `small` | noise | no | 0.0 |" in lines
    assert f"{running[3]:.3f}" in lines


def test_there_is_no_section_without_figures(tmp_path: Path) -> None:
    assert list(decision_rows(tmp_path)) == []


def test_the_clips_chosen_are_the_same_each_time_and_never_more_than_there_are() -> None:
    counts = [np.full((1, 2, 1, 1), i, dtype=np.uint8) for i in range(9)]
    clips = ClipSet(counts, np.arange(9) % 2, ("a", "b"), [str(i) for i in range(9)])
    chosen = decisions.choose(clips, 4)
    assert chosen.groups == decisions.choose(clips, 4).groups
    assert len(chosen) == 4
    assert decisions.choose(clips, 100).groups == clips.groups


def test_quiet_and_every_foreign_scene_of_the_simulator_are_judged() -> None:
    found = decisions.scenes()
    assert list(found) == ["quiet", *FOREIGN_SCENES]
    events = found["noise"](3, 50_000)
    assert events.size > 0
    assert int(events["t"].max()) < 50_000
