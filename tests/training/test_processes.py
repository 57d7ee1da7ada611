"""Several processes learn one network: each sees its share of a batch, all end with the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("in_processes.py")
ROOT = SCRIPT.parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]


def _train(folder: Path, n_processes: int, words: list[str]) -> list[dict[str, torch.Tensor]]:
    folder.mkdir()
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "tests", SCRIPT.parent))
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "LOCAL_RANK", "RANK")}
    command = [sys.executable, *words, str(SCRIPT), str(folder), str(n_processes)]
    environment["PYTHONPATH"] = paths
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert [(folder / f"{rank}.txt").read_text() for rank in range(n_processes)] == ["4", "0"][:n_processes]
    return [load_file(folder / f"{rank}.safetensors") for rank in range(n_processes)]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_end_with_the_same_weights_however_they_were_started(tmp_path: Path) -> None:
    (alone,) = _train(tmp_path / "alone", 1, [])
    first, second = _train(tmp_path / "own", 2, [])
    started, _ = _train(tmp_path / "torchrun", 2, TORCHRUN)
    # running means and variances are each process's own; the first one's are kept
    learnt = [name for name in first if name.endswith(("weight", "bias"))]
    assert all(torch.equal(first[name], second[name]) for name in learnt)
    assert all(torch.equal(first[name], started[name]) for name in first)
    # each batch norm sees half a batch, so this is another training, but not a far one
    apart = [float((first[name] - alone[name]).norm()) for name in learnt]
    moved = [float(alone[name].norm()) for name in learnt]
    assert 0.0 < sum(apart) < 0.2 * sum(moved)
