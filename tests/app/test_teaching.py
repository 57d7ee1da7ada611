"""`saccade teach` as a user runs it: from files, and live through a running Saccade."""

import json
import shutil

import pytest
import torch
from builders import SENSOR, random_events

from app.commands.learning import CacheOptions, evaluate
from app.commands.teaching import LiveShowing, Showing, teach
from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import create_network
from models.taught import load_taught
from pipeline.schema.errors import BusError, InputError, UsageError
from pipeline.sinks.registry import open_sink


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with `small.safetensors` and four clips of half a second."""
    folder = tmp_path_factory.mktemp("teach")
    torch.manual_seed(3)
    settings = {"dim": 32, "depth": 1, "n_heads": 4, "n_classes": 2, "size": (16, 16), "pools": "0111"}
    network = create_network("spikformer", **settings).eval()
    info = CheckpointInfo("spikformer", configuration_values(network.configuration), ["up", "down"], 10_000, 4, (16, 16))
    save_checkpoint(folder / "small.safetensors", network, info)
    for i in range(4):
        with open_sink(folder / f"clip-{i}.aedat4", SENSOR) as sink:
            sink.write(random_events(4000, seed=i, duration_us=500_000))
    return folder


def showing(made, to, *names, **options):
    files = tuple(made / name for name in names)
    return Showing(from_=files, to=to, network=str(made / "small.safetensors"), background=(made / "clip-3.aedat4",), **options)


def test_a_class_is_taught_grown_renamed_and_removed(made, tmp_path, capsys):
    to = tmp_path / "my.taught"
    teach("wave", showing=showing(made, to, "clip-0.aedat4", "clip-1.aedat4"), json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["taught"] == [{"name": "wave", "n_examples": 2}]
    assert report["home"] == str(to)
    teach("wave", showing=showing(made, to, "clip-2.aedat4"))
    assert load_taught(to).classes[0].n_examples == 3
    teach(rename=("wave", "hello"), showing=Showing(to=to))
    assert load_taught(to).names == ("hello",)
    capsys.readouterr()
    teach(show=True, showing=Showing(to=to))
    assert "hello" in capsys.readouterr().out
    teach(remove="hello", showing=Showing(to=to))
    assert load_taught(to).names == ()


def test_only_taught_leaves_the_networks_own_classes_out(made, tmp_path):
    to = tmp_path / "my.taught"
    teach("wave", showing=showing(made, to, "clip-0.aedat4", only_taught=True))
    from models.pupil import load_pupil

    assert load_pupil(str(to)).info.classes == ("wave",)


def test_taught_classes_are_found_when_the_checkpoint_moves_along(made, tmp_path):
    to = tmp_path / "there" / "my.taught"
    to.parent.mkdir()
    moved = tmp_path / "here"
    shutil.copytree(made, moved)
    teach("wave", showing=showing(moved, to, "clip-0.aedat4"))
    shutil.copy(moved / "small.safetensors", to.parent)
    shutil.rmtree(moved)
    teach(show=True, showing=Showing(to=to))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, UsageError),
        ({"name": "wave", "show": True}, UsageError),
        ({"name": "wave"}, UsageError),
        ({"show": True}, InputError),
        ({"name": "wave", "live": LiveShowing(live=True, clips=0)}, UsageError),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        teach(**arguments)


def test_nobody_at_the_address_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("app.requests._HELLO_MS", 50)
    with pytest.raises(BusError, match="nobody publishes"):
        teach(remove="wave", live=LiveShowing(live=True, at="ipc:///tmp/saccade-nobody-is-here"))


def test_a_running_saccade_learns_within_seconds(made, tmp_path, monkeypatch, capsys):
    """In one process: inference is stepped whenever the command asks something."""
    from inference_bench import Bench

    from models.pupil import load_pupil

    bench = Bench((b"hello/", b"label/"), load_pupil(str(made / "small.safetensors")))
    seq = iter(range(10_000))

    def ask(_, request):
        reply = bench.service.answer(request)
        assert reply.ok, reply.text
        for _ in range(20):
            bench.send_frame(next(seq), shape=(16, 16))
        return reply.text

    monkeypatch.setattr("app.commands.teaching.ask", ask)
    monkeypatch.setattr("app.commands.teaching.find_control", lambda url: url)
    try:
        teach("wave", live=LiveShowing(live=True, at=f"inproc://{id(bench)}", clips=2, seconds=0.3, pause=0), json=True)
        report = json.loads(capsys.readouterr().out)
        assert report["taught"] == [{"name": "wave", "n_examples": 2}]
        assert bench.service._hello.classes == ["up", "down", "wave"]
        assert bench.received("label")[-1][0].label == "wave"
    finally:
        bench.close()


def test_evaluate_tells_what_lessons_cost_the_networks_own_classes(made, tmp_path, capsys):
    to = tmp_path / "my.taught"
    teach("wave", showing=showing(made, to, "clip-0.aedat4", "clip-1.aedat4"), json=True)
    for label, clip in (("up", 0), ("down", 1), ("down", 3), ("wave", 2)):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(made / f"clip-{clip}.aedat4", tmp_path / "data" / label)
    capsys.readouterr()
    judged = {}
    for name in (to, made / "small.safetensors"):
        evaluate(str(name), str(tmp_path / "data"), cache=CacheOptions(cache=tmp_path / "cache"), json=True)
        judged[name.suffix] = json.loads(capsys.readouterr().out)
    with_lessons, alone = judged[".taught"], judged[".safetensors"]
    assert (with_lessons["n"], with_lessons["own"]["n"], with_lessons["taught"]["n"]) == (4, 3, 1)
    assert with_lessons["own"]["correct"] + with_lessons["taught"]["correct"] == with_lessons["correct"]
    assert with_lessons["own_before"] == {name: alone[name] for name in ("accuracy", "correct", "n")}
    # the clip of "up" is the very first example of "wave"
    assert with_lessons["confusion"][0][2] == 1
    assert "own" not in alone
    evaluate(str(to), str(tmp_path / "data"), cache=CacheOptions(cache=tmp_path / "cache"))
    assert f"own, before {alone['accuracy']:.3f} ({alone['correct']}/3)" in capsys.readouterr().out


def test_own_classes_are_shown_from_labelled_data(made, tmp_path, capsys):
    network = tmp_path / "small.safetensors"
    shutil.copy(made / "small.safetensors", network)
    for label in ("up", "down"):
        (tmp_path / "data" / label).mkdir(parents=True)
        shutil.copy(made / "clip-0.aedat4", tmp_path / "data" / label)
    teach(own=str(tmp_path / "data"), showing=Showing(network=str(network)), json=True)
    assert json.loads(capsys.readouterr().out) == {"own": str(tmp_path / "small.own")}
    assert load_taught(tmp_path / "small.own").names == ("up", "down")
    with pytest.raises(UsageError, match="say one of"):
        teach("wave", own="data", showing=Showing(network=str(network)))
