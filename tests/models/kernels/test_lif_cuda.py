"""The kernels for a GPU: in numba's simulator everywhere, and on the card where there is one (`pytest -m gpu`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lif_cases import CASES, check_agreement, make_currents

from models import functional
from models.functional import LIFParameters
from models.kernels import operators

SIMULATED = Path(__file__).with_name("simulated_lif.py")
ROOT = Path(__file__).parents[3]
HAS_GPU = torch.cuda.is_available()

on_a_gpu = pytest.mark.skipif(not HAS_GPU, reason="no NVIDIA GPU that torch can use")


def test_kernels_agree_in_the_simulator() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SIMULATED)]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert " passed" in run.stdout


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("parameters", CASES)
@pytest.mark.parametrize("shape", [(16, 4, 8, 64, 64), (4, 3, 1001), (37, 1 << 12)])
def test_spikes_membranes_and_gradients_agree_on_the_card(parameters: LIFParameters, shape: tuple[int, ...]) -> None:
    check_agreement(operators, make_currents(*shape, device="cuda"), parameters)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_agree_on_the_card(dtype: torch.dtype) -> None:
    x, v, upstream = (tensor.cuda() for tensor in make_currents(16, 1 << 14))
    x, upstream = x.to(dtype), upstream.to(dtype)
    leaf, plain_leaf = x.clone().requires_grad_(), x.float().requires_grad_()
    spikes, _ = operators.lif(leaf, v, LIFParameters())
    plain, _ = functional.lif(plain_leaf, v, LIFParameters())
    assert torch.equal(spikes.float(), plain)
    spikes.backward(upstream)
    plain.backward(upstream.float())
    assert leaf.grad is not None
    assert plain_leaf.grad is not None
    torch.testing.assert_close(leaf.grad.float(), plain_leaf.grad, rtol=2**-8, atol=1e-5)


@pytest.mark.gpu
@on_a_gpu
def test_channels_last_on_the_card_stays_channels_last() -> None:
    x, v, upstream = (tensor.cuda() for tensor in make_currents(4, 2, 16, 16, 8))
    x, v, upstream = x.permute(0, 1, 4, 2, 3), v.permute(0, 3, 1, 2), upstream.permute(0, 1, 4, 2, 3)
    assert operators.lif(x, v, LIFParameters())[0].stride() == x.stride()
    check_agreement(operators, (x, v, upstream), LIFParameters())


@pytest.mark.gpu
@on_a_gpu
def test_kernels_run_in_the_current_stream_after_what_was_put_there() -> None:
    x, v, _ = make_currents(16, 1 << 20, device="cuda")
    plain, _ = functional.lif(2.0 * x, v, LIFParameters())
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        # long enough that a kernel in another stream would read the currents before they are doubled
        torch.cuda._sleep(50_000_000)
        doubled = x.mul(2.0)
        spikes, _ = operators.lif(doubled, v, LIFParameters())
    stream.synchronize()
    assert torch.equal(spikes, plain)


@pytest.mark.gpu
@on_a_gpu
def test_step_in_place_can_be_recorded_in_a_graph() -> None:
    x, v, spikes = torch.full((4096,), 1.5, device="cuda"), torch.zeros(4096, device="cuda"), torch.zeros(4096, device="cuda")
    operators.lif_step_(x, v.clone(), spikes, LIFParameters())
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operators.lif_step_(x, v, spikes, LIFParameters())
    fired = []
    for _ in range(3):
        graph.replay()
        fired.append(float(spikes.sum()))
    assert fired == [0.0, 4096.0, 0.0]


@pytest.mark.gpu
@on_a_gpu
def test_whole_window_can_be_recorded_in_a_graph() -> None:
    x, _, _ = make_currents(16, 1 << 12, device="cuda")
    wanted, _ = operators.lif(x, None, LIFParameters())
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        spikes, _ = operators.lif(x, None, LIFParameters())
    spikes.zero_()
    graph.replay()
    assert torch.equal(spikes, wanted)


@pytest.mark.gpu
@on_a_gpu
def test_compiled_network_gives_the_same_on_the_card() -> None:
    x, _, _ = make_currents(5, 4096, device="cuda")

    def network(currents: torch.Tensor) -> torch.Tensor:
        return operators.lif(currents * 2.0, None, LIFParameters())[0].sum(dim=0)

    assert torch.equal(torch.compile(network, fullgraph=True)(x), functional.lif(x * 2.0, None, LIFParameters())[0].sum(dim=0))


@pytest.mark.gpu
@on_a_gpu
def test_operator_keeps_what_it_says_of_itself_on_the_card() -> None:
    x, v, _ = make_currents(3, 64, device="cuda")
    settings = (2.0, 1.0, 0.0, True, True, False, "sigmoid", 4.0)
    found = torch.library.opcheck(torch.ops.saccade.lif.default, (x.requires_grad_(), v.requires_grad_(), None, *settings))
    assert set(found.values()) == {"SUCCESS"}
