"""train, evaluate and zoo as a user types them, on clips made here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import SENSOR, random_events

from app.cli import app
from models.checkpoint import load_checkpoint
from models.registry import NETWORKS
from pipeline.schema.errors import ConfigurationError, InputError, PartialInputError, UsageError
from pipeline.sinks.registry import open_sink

NETWORK = ["--set", "dim=16", "--set", "depth=1", "--set", "n_heads=2", "--set", "pools=0011"]
SMALL = [*NETWORK, "--delta-t", "10ms", "--bins", 3, "--epochs", 2, "--batch", 4]


def _run(*words: object) -> int:
    result = app([str(word) for word in words], result_action="return_value", exit_on_error=False)
    assert isinstance(result, int)
    return result


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Eight clips of 30 ms: events left (even) or right (odd)."""
    rng = np.random.default_rng(0)
    n, each = 8, 60
    x = np.concatenate([rng.integers(0, 16, each) + 16 * (i % 2) for i in range(n)])
    path = tmp_path / "clips.npz"
    np.savez(
        path,
        t=np.concatenate([np.sort(rng.integers(0, 30_000, each)) for _ in range(n)]),
        x=x,
        y=rng.integers(0, 32, n * each),
        p=rng.integers(0, 2, n * each),
        offsets=np.arange(n + 1) * each,
        labels=np.arange(n) % 2,
        classes=np.array(["left", "right"]),
        names=np.array([f"clip{i}" for i in range(n)]),
        width=32,
        height=32,
    )
    return path


def test_train_writes_a_checkpoint_that_evaluate_judges_on_the_clips_set_aside(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "mine.safetensors", tmp_path / "log.jsonl"
    assert _run("train", clips, "--out", out, "--holdout", 0.25, *SMALL, "--size", "16x16", "--log", log, "--json") == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["n"] == 2
    assert len(log.read_text().splitlines()) == 2  # two epochs of one step: four clips, and two too few for another
    assert _run("evaluate", out, clips, "--side", "test", "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged == trained
    assert set(judged) == {"accuracy", "correct", "n", "confusion", "classes", "sops", "energy_uj"}
    assert np.array(judged["confusion"]).sum() == 2
    assert _run("evaluate", out, clips) == 0
    assert "accuracy" in capsys.readouterr().out


def test_train_can_begin_with_another_checkpoint_and_says_which(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    shown = ["--delta-t", "10ms", "--bins", 3, "--batch", 4, "--size", "16x16", "--json"]
    assert _run("train", clips, "--out", first, *NETWORK, *shown, "--epochs", 2) == 0
    # one step of a rate of nothing, so that what it began with can be seen
    assert _run("train", clips, "--out", second, "--start", first, *shown, "--epochs", 1, "--rate", 1e-30) == 0
    capsys.readouterr()
    (old, before, name), (new, info, _) = load_checkpoint(str(first)), load_checkpoint(str(second))
    assert info.training["started_from"] == {"network": name, **before.training}
    weights = dict(new.named_parameters())
    assert all(torch.allclose(value, weights[key], atol=1e-4) for key, value in old.named_parameters())
    with pytest.raises(UsageError, match="leave --network out"):
        _run("train", clips, "--out", second, "--start", first, "--network", "tim", *shown)
    with pytest.raises(ConfigurationError, match="do not fit"):
        _run("train", clips, "--out", second, "--start", first, "--set", "dim=32", *shown)


def test_damaged_recordings_are_used_as_far_as_they_can_be_read_and_end_in_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "mine.safetensors"
    for label, i in ((label, i) for label in ("left", "right") for i in range(3)):
        path = data / label / f"{i}.aedat"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_sink(path, SENSOR) as sink:
            sink.write(random_events(2000, seed=i))
    short = data / "left" / "1.aedat"
    short.write_bytes(short.read_bytes()[:-1001])
    flags = ("--cache", tmp_path / "cache", "--json")
    with pytest.raises(PartialInputError, match="1 of the recordings could not be read whole") as ended:
        _run("train", data, "--out", out, *SMALL, "--size", "16x16", *flags)
    assert (ended.value.exit_code, str(short) in str(ended.value)) == (4, True)
    assert json.loads(capsys.readouterr().out)["n"] == 2
    for words, n in (((), 6), (("--side", "test"), 2)):
        with pytest.raises(PartialInputError, match=r"left/1\.aedat"):
            _run("evaluate", out, data, *words, *flags)
        assert json.loads(capsys.readouterr().out)["n"] == n
    short.unlink()
    assert _run("evaluate", out, data, *flags) == 0


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small network at the beginning of its training."""
    import torch

    from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
    from models.registry import create_network

    torch.manual_seed(0)
    network = create_network("sdt", dim=16, depth=1, n_heads=2, pools="0011", n_classes=2, size=(16, 16))
    path = tmp_path / "small.safetensors"
    info = CheckpointInfo("sdt", configuration_values(network.configuration), ["left", "right"], 10_000, 3, (16, 16))
    save_checkpoint(path, network, info)
    return path


def test_evaluate_shows_what_each_layer_costs_and_the_rule_decides_what_counts(
    clips: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("evaluate", checkpoint, clips, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert "layers" not in plain
    assert _run("evaluate", checkpoint, clips, "--energy", "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    layers = {layer["name"]: layer for layer in judged.pop("layers")}
    assert judged == plain
    first = layers["stem.stages.0.conv"]
    # 2 channels to 2, 3x3 weights, 16 x 16 places; numbers come in
    assert first == {
        "name": "stem.stages.0.conv",
        "macs": 9216.0,
        "density": None,
        "sops": 0.0,
        "energy_uj": pytest.approx(9216 * 4.6e-6),
        "share": pytest.approx(9216 * 4.6e-6 / judged["energy_uj"]),
    }
    assert sum(layer["sops"] for layer in layers.values()) == pytest.approx(judged["sops"])
    assert sum(layer["share"] for layer in layers.values()) == pytest.approx(1.0)
    assert _run("evaluate", checkpoint, clips, "--energy", "--energy-rule", "spikingresformer", "--json") == 0
    other = json.loads(capsys.readouterr().out)
    spikes = judged["sops"] - layers["head"]["sops"]
    assert other["sops"] == judged["sops"]
    assert other["energy_uj"] == pytest.approx(0.9e-6 * spikes)
    assert {layer["name"] for layer in other["layers"] if layer["energy_uj"] == 0.0} >= {"stem.stages.0.conv", "head"}


def test_the_table_of_layers_fits_a_hundred_columns_and_ends_with_the_sum(
    clips: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("evaluate", checkpoint, clips, "--energy") == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(len(line) for line in lines) <= 100
    header = next(line for line in lines if "MACs a bin" in line)
    assert header.split("  ")[-1].strip() == "share"
    assert lines[-1].split()[0] == "all"
    assert any(line.split()[0] == "blocks.0.attn.sum" for line in lines)


@pytest.mark.timeout(300)  # counts every published network: seconds alone, minutes on a crowded machine
def test_zoo_lists_the_fields_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("zoo", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in entries} == set(NETWORKS)
    assert set(entries[0]) == {"name", "params", "macs_per_bin", "sops", "paper", "verified_by", "published"}
    spikformer = next(entry for entry in entries if entry["name"] == "spikformer")
    # 9.44 M first convolution, 364.91 M other layers, 4.19 M attention products at 2 x 128 x 128
    assert spikformer["macs_per_bin"] == 9_437_184 + 364_907_264 + 4_194_304
    assert spikformer["params"] == 2_566_923


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--size", "big"], UsageError),
        (["--set", "dim"], UsageError),
        (["--holdout", "1.5"], UsageError),
        (["--network", "resnet"], ConfigurationError),
        (["--set", "dim=17"], ConfigurationError),
        (["--filter", "polarity=on"], UsageError),
    ],
)
def test_words_that_do_not_fit_are_refused(clips: Path, tmp_path: Path, words: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        _run("train", clips, "--out", tmp_path / "x.safetensors", *SMALL, *words)


def test_evaluate_of_a_checkpoint_that_is_none_is_an_input_error(clips: Path) -> None:
    with pytest.raises(InputError):
        _run("evaluate", clips, clips)
