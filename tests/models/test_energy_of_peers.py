"""Our counts beside SpikingJelly's, on a network built of its own neurons from the same weights and input."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import Lively
from small_networks import counts
from torch import nn

from models.energy import SpikeMeter
from models.registry import create_network

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-peers" / "bin" / "python"
_SCRIPT = _ROOT / "tests" / "oracles" / "spikingjelly_counts.py"
pytestmark = pytest.mark.skipif(
    not any(_PYTHON.parents[1].glob("lib/*/site-packages/spikingjelly")),
    reason="no SpikingJelly; make it with: make bench-peers",
)


def test_additions_of_a_small_spikformer_equal_those_that_spikingjelly_counts(
    tmp_path: Path, lively: Lively[nn.Module]
) -> None:
    torch.manual_seed(3)
    settings = {"dim": 16, "depth": 1, "n_heads": 2, "n_classes": 3, "size": (16, 16), "pools": "0111"}
    network = lively(create_network("spikformer", **settings))
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.constant_(layer.bias, 1.2)  # so small a network would be silent
    x = counts(network, 3, 2)
    weights = {f"w/{name}": value.numpy() for name, value in network.state_dict().items()}
    np.savez(tmp_path / "in.npz", x=x.numpy(), pools="0111", n_heads=2, scale=0.25, **weights)
    run = [str(_PYTHON), str(_SCRIPT), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    peer = np.load(tmp_path / "out.npz", allow_pickle=False)

    meter = SpikeMeter(network)
    with torch.no_grad():
        logits = network(x)
    layers = meter.read().layers
    np.testing.assert_allclose(logits.numpy(), peer["logits"], rtol=0, atol=1e-9)
    theirs = {name.removeprefix("sops/"): int(peer[name]) for name in peer.files if name.startswith("sops/")}
    ours = {name: layer.sops for name, layer in layers.items() if not layer.is_dense}
    theirs.pop("stem.stages.0.conv")  # the counts of events, which we charge as multiply-accumulates
    assert ours == theirs
    assert min(ours.values()) > 0
