"""`bench neuron`: which rows it gives, and what they count."""

import json

import pytest
import torch

from app.bench.neuron import Setting, measure
from app.cli import app
from pipeline.schema.errors import GpuMissingError, UsageError


def test_rows_count_the_bytes_that_must_move() -> None:
    rows = {row["name"]: row["bytes"] for row in measure(Setting(), 64, 1)}
    currents = 16 * 64 * 4
    assert rows["forward, float32, 1 core"] == 2 * currents
    assert rows["forward to bits, float32, 1 core"] == currents + 16 * 64 // 8
    assert rows["backward, sigmoid, float32, 1 core"] == 3 * currents
    assert rows["forward and backward, float32, 1 core"] == rows["plain forward and backward, float32, 1 core"] == 5 * currents


def test_share_is_of_the_copy_rate_of_the_same_run() -> None:
    for row in measure(Setting(), 4096, 1):
        # rates are told in hundredths: on a busy machine so small a run may have few of them
        least = (row["gb_s"] - 0.005) / (row["copy_gb_s"] + 0.005)
        most = (row["gb_s"] + 0.005) / max(row["copy_gb_s"] - 0.005, 1e-9)
        assert least - 0.001 <= row["share_of_copy"] <= most + 0.001


def test_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert app(["bench", "neuron", "--events", "1024", "--repeats", "1", "--json"], result_action="return_value") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["what"] == "neuron"
    assert {"name", "bytes", "median_ms", "spread_ms", "gb_s", "copy_gb_s", "share_of_copy"} == result["rows"][0].keys()
    assert any("bfloat16" in row["name"] for row in result["rows"])


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(UsageError, match="15 currents"):
        app(["bench", "neuron", "--events", "15"], result_action="return_value")
    assert torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(GpuMissingError, match="--device"):
        app(["bench", "neuron", "--device", "cuda"], result_action="return_value")


def test_device_is_no_word_of_other_measurements() -> None:
    with pytest.raises(UsageError, match="--device"):
        app(["bench", "bin", "--device", "cuda"], result_action="return_value")
