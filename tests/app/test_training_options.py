"""`saccade train` asked to go on, to log and to draw, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import app
from pipeline.schema.errors import ConfigurationError, UsageError

WORDS = "--set dim=16 --set depth=1 --set n_heads=2 --set pools=0011 --delta-t 10ms --bins 3 --size 16x16 --batch 4"


def _run(*words: object) -> int:
    result = app([str(word) for word in words], result_action="return_value", exit_on_error=False)
    assert isinstance(result, int)
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixteen clips of 30 ms: events left (even) or right (odd)."""
    rng = np.random.default_rng(0)
    n, each = 16, 60
    path = tmp_path / "clips.npz"
    np.savez(
        path,
        t=np.concatenate([np.sort(rng.integers(0, 30_000, each)) for _ in range(n)]),
        x=np.concatenate([rng.integers(0, 16, each) + 16 * (i % 2) for i in range(n)]),
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


class _EndedError(Exception):
    pass


@pytest.mark.timeout(300)  # seconds alone, minutes on a crowded machine
def test_a_training_that_was_ended_goes_on_to_the_same_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, log, board = tmp_path / "mine.safetensors", tmp_path / "mine.jsonl", tmp_path / "board"
    words = ["train", data, "--out", out, *WORDS.split(), "--epochs", 2, "--recipe", "people", "--keep-every", 1, "--json"]
    logging = ["--log", log, "--tensorboard", board]
    assert _run(*words, *logging) == 0
    whole = (out.read_bytes(), json.loads(capsys.readouterr().out), [line["loss"] for line in _lines(log)])
    assert not (tmp_path / "mine.safetensors.resume").exists()
    with pytest.raises(UsageError, match="is finished"):
        _run(*words, "--resume")
    out.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("app.terminal._no_progress", _end_at_step(4))
        with pytest.raises(_EndedError):
            _run(*words, *logging)
    with pytest.raises(ConfigurationError, match=r"learning_rate was 0\.001, now 0\.5"):
        _run(*words, "--resume", "--rate", 0.5)
    assert _run(*words, *logging, "--resume") == 0
    assert json.loads(capsys.readouterr().out) == whole[1]
    assert [line["loss"] for line in _lines(log)] == whole[2]
    assert _weights(out.read_bytes()) == _weights(whole[0])
    assert log.with_suffix(".svg").read_text().startswith("<svg")
    assert len(list(board.glob("events.out.tfevents.*"))) == 3


def _end_at_step(step: int) -> object:
    def progress(done: int, total: int, note: str = "") -> None:
        if note.startswith("loss") and done == step:
            raise _EndedError

    return progress


def _lines(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _weights(data: bytes) -> bytes:
    """What follows the header of a safetensors file."""
    return data[8 + int.from_bytes(data[:8], "little") :]


@pytest.mark.parametrize("words", [["--recipe", "resnet"], ["--keep-every", 0], ["--devices", 0], ["--epochs", 0]])
def test_values_that_cannot_be_are_refused_before_anything_is_read(tmp_path: Path, words: list[object]) -> None:
    with pytest.raises(UsageError):
        _run("train", tmp_path / "missing", "--out", tmp_path / "x.safetensors", *words)
