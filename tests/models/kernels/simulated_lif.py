"""The kernels for a GPU in numba's simulator: a run of its own, started by `test_lif_cuda.py` with NUMBA_ENABLE_CUDASIM=1."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lif_cases import CASES, apply_affine, check_agreement, make_currents
from torch import nn

from models import functional
from models.engine.cuda_graph import record_network, run_again
from models.functional import LIFParameters
from models.kernels import lif_cuda, operators
from models.kernels.affine import Affine
from models.neuron import LIF, Memory, SpikingNetwork, State, name_memories
from pipeline.schema.errors import ConfigurationError


@pytest.fixture(autouse=True)
def gpu_kernels_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lif_cuda.IS_SIMULATED
    monkeypatch.setattr(operators, "_kernels", lambda x: lif_cuda)


@pytest.mark.parametrize("parameters", CASES)
@pytest.mark.parametrize(("n_bins", "n"), [(3, 16), (18, 5)])
def test_spikes_membranes_and_gradients_agree(parameters: LIFParameters, n_bins: int, n: int) -> None:
    check_agreement(operators, make_currents(n_bins, n), parameters)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_are_summed_up_in_float32(dtype: torch.dtype) -> None:
    x, v, upstream = make_currents(4, 16)
    x, upstream = x.to(dtype), upstream.to(dtype)
    leaf, plain_leaf = x.clone().requires_grad_(), x.float().requires_grad_()
    spikes, membrane = operators.lif(leaf, v, LIFParameters())
    plain, plain_membrane = functional.lif(plain_leaf, v, LIFParameters())
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), plain)
    torch.testing.assert_close(membrane, plain_membrane, rtol=1e-5, atol=1e-6)
    spikes.backward(upstream)
    plain.backward(upstream.float())
    torch.testing.assert_close(leaf.grad.float(), plain_leaf.grad, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(("n_channels", "inner"), [(4, 1), (3, 4)])
def test_folded_bn_is_applied_by_channel(n_channels: int, inner: int) -> None:
    scale, shift = torch.linspace(0.5, 2.0, n_channels), torch.linspace(-0.5, 1.0, n_channels)
    x, v, _ = make_currents(3, 2 * n_channels * inner)
    plain, membrane = functional.lif(apply_affine(x, scale, shift, inner), v, LIFParameters())
    spikes, after = operators.lif_spikes(x, v, LIFParameters(), Affine(scale, shift, inner))
    assert torch.equal(spikes, plain)
    torch.testing.assert_close(after, membrane, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [5, 16])
def test_spikes_as_bytes_and_bits_are_those_as_numbers(n: int) -> None:
    x, v, _ = make_currents(3, n)
    spikes, _ = operators.lif(x, v, LIFParameters())
    as_bytes, _ = operators.lif_spikes(x, v, LIFParameters(), form="bytes")
    as_bits, _ = operators.lif_spikes(x, v, LIFParameters(), form="bits")
    assert torch.equal(as_bytes.float(), spikes)
    assert np.array_equal(as_bits.numpy(), np.packbits(spikes.numpy().astype(np.uint8), axis=1, bitorder="little"))


def test_prepared_step_keeps_its_membrane_from_bin_to_bin() -> None:
    x, v, spikes = torch.full((3,), 1.5), torch.zeros(3), torch.empty(3, dtype=torch.uint8)
    step = lif_cuda.prepare_step(x, v, spikes, LIFParameters())
    fired = []
    for _ in range(3):
        step()
        fired.append(int(spikes[0]))
    assert fired == [0, 1, 0]
    assert v.tolist() == [0.75] * 3


def test_what_would_be_misread_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="float64"):
        lif_cuda.lif_step_(torch.zeros(4, dtype=torch.float64), torch.zeros(4), torch.zeros(4), LIFParameters())
    with pytest.raises(ConfigurationError, match=r"\(5,\)"):
        lif_cuda.lif_step_(torch.zeros(4), torch.zeros(5), torch.zeros(4), LIFParameters())
    affine = Affine(torch.ones(2), torch.ones(2), 1)
    with pytest.raises(ConfigurationError, match="7 neurons"):
        lif_cuda.lif_step_(torch.zeros(7), torch.zeros(7), torch.zeros(7), LIFParameters(), affine)


class OneLayer(SpikingNetwork):
    """A convolution with its norm, neurons, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.lif = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), LIF(LIFParameters())
        self.head = nn.Linear(4, 3)
        self.configuration: Any = SimpleNamespace(size=(4, 4), in_channels=2, n_classes=3)
        name_memories(self)

    def run(self, x: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        memory = Memory(state)
        spikes = self.lif(self.bn(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2]), memory)
        return self.head(spikes.mean(dim=(3, 4))), memory.new


def test_a_bin_to_be_recorded_fires_through_the_kernel_with_the_bias_of_its_convolution() -> None:
    torch.manual_seed(0)
    network = OneLayer().eval()
    nn.init.normal_(network.bn.bias)
    network.bn.running_var.fill_(0.1)
    batch, state, n_spikes = record_network(network, 2, recorder=run_again), None, 0.0
    for i in range(3):
        batch.counts[:] = np.random.default_rng(i).poisson(0.5, batch.counts.shape)
        with torch.inference_mode():
            wanted, state = network.step(torch.from_numpy(batch.counts).float(), state)
        torch.testing.assert_close(batch.step(np.full(2, i == 0)), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(batch.state()["lif"], state["lif"], rtol=0, atol=1e-5)
        n_spikes += float((state["lif"] == 0).float().mean())
    assert 0.1 < n_spikes < 2.9
