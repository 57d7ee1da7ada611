"""The benchmark of a bin on a GPU, rehearsed on the CPU: what it measures and tells, and what it says where there is no GPU."""

import pytest
import torch

from app.bench.gpu import Place, measure_bins
from app.cli import app
from models.engine.cuda_graph import run_again
from models.registry import create_network
from pipeline.schema.errors import GpuMissingError

REHEARSED = Place("cpu", run_again)


def test_bins_of_all_streams_are_timed_beside_their_floors() -> None:
    torch.manual_seed(0)
    network = create_network("tim", dim=32, depth=1, n_heads=2, n_classes=3, size=(32, 32)).eval()
    found = measure_bins(network, 3, 1, REHEARSED)
    assert found["name"] == "tim 1-32 at 2x32x32, 3 streams"
    assert (found["device"], found["precision"], found["bins"]) == ("cpu", "float32", 63)  # the 64th is a first one
    # five convolutions of the stem, six of the block, the interaction's; each with neurons, and what lies between
    assert found["calls"] > 24
    assert found["bins_per_s"] == pytest.approx(3000 / found["p50_ms"], rel=0.01)
    assert found["p99_ms"] >= found["p50_ms"] > 0
    assert min(found[name] for name in ("first_p50_ms", "replay_p50_ms", "floor_ms", "launches_ms")) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("what", ["step", "stream"])
def test_a_gpu_that_is_not_there_is_said(what: str) -> None:
    with pytest.raises(GpuMissingError, match="no NVIDIA GPU") as caught:
        app(["bench", what, "--device", "cuda"], result_action="return_value")
    assert caught.value.exit_code == 6
