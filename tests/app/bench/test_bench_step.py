"""The benchmark of a bin: its events and its floor are what they are said to be. The figures are for quiet machines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.bench import latency
from app.bench.latency import measure_streams
from app.bench.step import floor_of, make_frames
from models.engine.compiled import compile_network
from models.registry import create_network
from pipeline.schema.errors import SaccadeError

# Kernels that no run has compiled before take a minute of a busy machine.
pytestmark = pytest.mark.timeout(600)


def test_frames_have_about_the_events_asked_for_and_are_the_same_each_time() -> None:
    frames = make_frames(2000)
    assert frames.shape == (16, 2, 128, 128)
    assert np.allclose(frames.sum(axis=(1, 2, 3)), 2000, rtol=0.1)
    assert np.array_equal(frames, make_frames(2000))
    assert not make_frames(0).any()


def test_floor_is_one_product_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_network("spikformer", dim=32, depth=1, n_heads=4, n_classes=3, size=(32, 32)).eval()
    floor = floor_of(compile_network(network))
    asked: list[int] = []
    monkeypatch.setattr(torch, "mm", lambda left, right, out: asked.append(left.shape[0] * left.shape[1] * right.shape[1]))
    floor()
    stem = [2 * 9 * 4 * 32**2, 4 * 9 * 8 * 16**2, 8 * 9 * 16 * 8**2, 16 * 9 * 32 * 4**2, 32 * 9 * 32 * 2**2]
    block = [32 * 32 * 4] * 4 + [32 * 128 * 4] * 2
    assert asked == stem + block


def _label(seq: int, total_ms: float) -> dict[str, Any]:
    latency_ms = {"queue": 0.5, "infer": 1.0, "total": total_ms}
    start_us = 10_000 * seq
    return {
        "type": "label",
        "host_ns": 1_000_000 * (10 * seq),  # long before any pause that the watch may see
        "seq": seq,
        "start_us": start_us,
        "end_us": start_us + 10_000,
        "latency_ms": latency_ms,
        "network": "n",
    }


def test_stream_tells_quantiles_of_all_streams_and_bins_that_went_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [_label(seq, 2.0) for seq in range(105)]
    broken = [_label(seq, 4.0) for seq in range(110) if seq not in (50, 51)]
    monkeypatch.setattr(latency, "_replay_side_by_side", lambda *_: [whole, broken])
    found = measure_streams(2, 1)
    # the first five of each are left out: 100 of 2 ms, 103 of 4 ms
    assert (found["labels"], found["bins_without_label"]) == (203, 2)
    assert (found["p50_ms"], found["p99_ms"], found["bin_ms"]) == (4.0, 4.0, 10.0)


def test_a_replay_that_fails_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], **options: Any) -> Any:
        options["stdout"].write(json.dumps(_label(0, 1.0)).encode())
        return type("Process", (), {"wait": lambda *_: 3})()

    monkeypatch.setattr(latency.subprocess, "Popen", failing)
    with pytest.raises(SaccadeError, match=r"\[3\] after \[1\] labels"):
        measure_streams(1, 1, tmp_path / "none.aedat4")
