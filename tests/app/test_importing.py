"""import-weights as a user types it: every released layout becomes a checkpoint that answers as its own code does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import released_forward as released
import torch
from safetensors.torch import save_file
from torch import Tensor

from app.cli import app
from models.checkpoint import load_network, read_info
from models.recogniser import load_recogniser
from models.registry import create_network
from pipeline.schema.errors import ConfigurationError, UsageError


@dataclass(frozen=True)
class Case:
    """One released file: its network, what must be said, its frames (channels, height, width) and how its code answers."""

    network: str
    said: str
    frames: tuple[int, int, int]
    forward: Callable[[dict[str, Tensor], Tensor], Tensor]
    layout: str = ""
    often: float = 1.0


_WRITTEN = {"mixing": 0.5, "into": 0.3, "out": 0.5}
_ALL_ONE = {"mixing": 0.5, "into": 1.0, "out": 1.0}
_SUBNET = {"dim": 64, "mlp_ratio": [3.5, 3.0], "threshold": [0.8, 1.2], "tau": [2.0, 1.25]}
_SUBNET_SAID = "dim=64 depth=2 n_heads=8 mlp_ratio=3.5,3.0 v_threshold=0.8,1.2 tau=2.0,1.25"
_DVS, _SMALL = (2, 64, 64), (2, 32, 32)

CASES = {
    "spikformer_dvs128": Case("spikformer", "n_heads=4", _DVS, partial(released.spikformer, n_heads=4)),
    "tim_spikformer_dvs64": Case(
        "tim", "n_heads=4 mixing=0.5 thresholds=written", _DVS, partial(released.spikformer, n_heads=4, tim=_WRITTEN)
    ),
    "tim, as it runs": Case(
        "tim",
        "n_heads=4 mixing=0.5 thresholds=released",
        _DVS,
        partial(released.spikformer, n_heads=4, tim=_ALL_ONE, attention=1.0),
        "tim_spikformer_dvs64",
        often=1.6,
    ),
    "qkformer_dvs128": Case("qkformer", "n_heads=16", _DVS, partial(released.qkformer, n_heads=16)),
    "sdt_c10dvs64": Case(
        "sdt",
        "n_heads=4 pools=0011 attention_pool=true",
        _SMALL,
        partial(released.sdt, n_heads=4, pools="0011", spread=True),
    ),
    "sdt_gesture128": Case(
        "sdt", "n_heads=4 pools=0111 attention_pool=false", _SMALL, partial(released.sdt, n_heads=4, pools="0111", spread=False)
    ),
    "spikingresformer_dvsg64": Case("spikingresformer", "size=32x32", (3, 32, 32), released.spikingresformer),
    "semm_whole": Case("semm", "pools=0011", _SMALL, released.semm),
    "autost_whole": Case("autost", "n_heads=4,8,4", _SMALL, partial(released.autost, n_heads=(4, 8, 4))),
    "autospik_whole_eval": Case(
        "autospikformer", _SUBNET_SAID, _SMALL, partial(released.autospikformer, n_heads=8, sample=_SUBNET)
    ),
    "best_cifar_whole": Case("bestformer", "file=cifar", _SMALL, partial(released.bestformer, is_cifar=True)),
    "best_imagenet_whole": Case("bestformer", "file=imagenet", _SMALL, partial(released.bestformer, is_cifar=False)),
}


def _run(*words: object) -> int:
    result = app([str(word) for word in words], result_action="return_value", exit_on_error=False)
    assert isinstance(result, int)
    return result


def _said(said: str) -> list[str]:
    return [word for pair in said.split() for word in ("--set", pair)]


def _weights(shared_models: Path, name: str) -> dict[str, Tensor]:
    layout = shared_models / "weights_layout" / f"{CASES[name].layout or name}.json"
    return released.released_weights(layout, seed=5, often=CASES[name].often)


def _counts(frames: tuple[int, int, int]) -> Tensor:
    """Counts (T, B, channels, H, W), busier in one stream than in the other; a third channel is the sum of two."""
    channels, height, width = frames
    rate = torch.tensor([0.5, 1.5], dtype=torch.float64).view(1, 2, 1, 1, 1).expand(4, 2, 2, height, width)
    x = torch.poisson(rate, generator=torch.Generator().manual_seed(2))
    return x if channels == 2 else torch.cat([x, x.sum(2, keepdim=True)], dim=2)


def test_every_layout_is_tried(shared_models: Path) -> None:
    files = {path.stem for path in (shared_models / "weights_layout").glob("*.json")}
    assert files == {case.layout or name for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_imported_network_answers_as_the_released_code(name: str, shared_models: Path, tmp_path: Path) -> None:
    case, weights = CASES[name], _weights(shared_models, name)
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "best.pth")
    out = tmp_path / "imported.safetensors"
    assert _run("import-weights", tmp_path / "best.pth", out, "--network", case.network, *_said(case.said)) == 0
    x = _counts(case.frames)
    network = load_network(str(out))
    with torch.no_grad():
        wanted, logits = case.forward(weights, x), network(x)
        in_float32 = network.float()(x.float())
    assert (wanted[0] - wanted[1]).abs().max() > 0.02  # the streams differ, so that a dead layer would show
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(in_float32.double(), wanted, rtol=0, atol=0.1)


def test_sum_channel_is_added_to_frames_that_come_without(shared_models: Path, tmp_path: Path) -> None:
    weights, case = _weights(shared_models, "spikingresformer_dvsg64"), CASES["spikingresformer_dvsg64"]
    save_file(weights, tmp_path / "released.safetensors")
    out = tmp_path / "imported.safetensors"
    _run("import-weights", tmp_path / "released.safetensors", out, "--network", case.network, "--size", "32x32")
    network, x = load_network(str(out)), _counts(case.frames)
    with torch.no_grad():
        torch.testing.assert_close(network(x[:, :, :2]), network(x), rtol=0, atol=1e-9)


def test_file_trained_with_on_first_is_fed_the_right_way_round(shared_models: Path, tmp_path: Path) -> None:
    case, weights = CASES["autost_whole"], _weights(shared_models, "autost_whole")
    torch.save(weights, tmp_path / "best.pth")
    out = tmp_path / "imported.safetensors"
    _run("import-weights", tmp_path / "best.pth", out, "--network", "autost", "--on-first", *_said(case.said))
    x = _counts(case.frames)
    with torch.no_grad():
        torch.testing.assert_close(load_network(str(out))(x.flip(2)), case.forward(weights, x), rtol=0, atol=1e-6)


def test_checkpoint_says_what_was_told_of_it(shared_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(_weights(shared_models, "tim_spikformer_dvs64"), tmp_path / "best.pth")
    out = tmp_path / "imported.safetensors"
    words = ["--network", "tim", *_said(CASES["tim_spikformer_dvs64"].said), "--labels", ",".join("abcdefghijk")]
    assert _run("import-weights", tmp_path / "best.pth", out, *words, "--delta-t", "10ms", "--licence", "MIT", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["read"]["dim"], said["read"]["depth"], said["read"]["size"]) == (64, 2, [64, 64])
    assert said["unused"] == []
    info = read_info(out)
    assert info.classes == list("abcdefghijk")
    assert (info.delta_t_us, info.n_time_bins, info.size, info.licence) == (10_000, 10, (64, 64), "MIT")
    assert info.training == {"imported_from": "best.pth"}


def test_labels_that_are_too_few_are_refused(tmp_path: Path) -> None:
    torch.save(create_network("sdt", dim=16, n_heads=2, n_classes=3).state_dict(), tmp_path / "ours.pth")
    said = _said("n_heads=2 pools=0111 attention_pool=false")
    with pytest.raises(UsageError, match="expected 3 different names"):
        _run("import-weights", tmp_path / "ours.pth", tmp_path / "x.safetensors", "--network", "sdt", *said, "--labels", "a,b")


def test_what_no_shape_tells_is_asked_for_all_at_once(shared_models: Path, tmp_path: Path) -> None:
    torch.save(_weights(shared_models, "sdt_gesture128"), tmp_path / "best.pth")
    with pytest.raises(ConfigurationError, match="no shape tells n_heads, pools, attention_pool of this sdt") as told:
        _run("import-weights", tmp_path / "best.pth", tmp_path / "x.safetensors", "--network", "sdt")
    assert "--set pools=0111" in str(told.value)


def test_network_for_images_is_imported_with_a_word_of_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image: dict[str, Any] = {"dim": 16, "depth": 1, "n_heads": 2, "n_classes": 3, "in_channels": 3, "qkv_bias": True}
    torch.save(create_network("spikformer", **image).state_dict(), tmp_path / "ours.pth")
    out = tmp_path / "image.safetensors"
    assert _run("import-weights", tmp_path / "ours.pth", out, "--network", "spikformer", "--set", "n_heads=2") == 0
    assert read_info(out).configuration["pools"] == "0011"  # the file with biases of q, k and v is that for CIFAR
    said = capsys.readouterr()
    assert "sees 3 channels" in said.err
    assert "pools=0011, scale=0.125" in said.out


def test_imported_checkpoint_is_judged_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = create_network("sdt", dim=16, depth=1, n_heads=2, n_classes=2, size=(16, 16)).double()
    torch.save(small.state_dict(), tmp_path / "ours.pth")
    rng, n = np.random.default_rng(0), 80
    np.savez(
        tmp_path / "clips.npz",
        t=np.concatenate([np.sort(rng.integers(0, 100_000, n)) for _ in range(2)]),
        x=rng.integers(0, 16, 2 * n),
        y=rng.integers(0, 16, 2 * n),
        p=rng.integers(0, 2, 2 * n),
        offsets=np.array([0, n, 2 * n]),
        labels=np.array([0, 1]),
        classes=np.array(["left", "right"]),
        names=np.array(["a", "b"]),
        width=16,
        height=16,
    )
    out = tmp_path / "imported.safetensors"
    said = [*_said("n_heads=2 pools=0111 attention_pool=false"), "--labels", "left,right", "--bins", "4", "--size", "16x16"]
    assert _run("import-weights", tmp_path / "ours.pth", out, "--network", "sdt", *said) == 0
    assert next(load_network(str(out)).parameters()).dtype == torch.float64  # as the file had it
    capsys.readouterr()
    assert _run("evaluate", out, tmp_path / "clips.npz", "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert (judged["n"], judged["classes"]) == (2, ["left", "right"])
    assert load_recogniser(str(out)).info.n_time_bins == 4
