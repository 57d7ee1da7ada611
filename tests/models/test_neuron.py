"""The choice between the plain LIF step and its numba twin, and that it can be forced."""

from collections.abc import Iterator

import pytest
import torch

from models.functional import LIFParameters
from models.neuron import LIF, Backend, Memory, force_backend


@pytest.fixture
def free_choice() -> Iterator[None]:
    """Puts the choice back."""
    yield
    force_backend("auto")


def _uses_numba(x: torch.Tensor, backend: Backend) -> bool:
    force_backend(backend)
    spikes = LIF(LIFParameters())(x.requires_grad_(), Memory(None))
    return type(spikes.grad_fn).__name__ != "StackBackward0"


@pytest.mark.usefixtures("free_choice")
def test_numba_is_chosen_for_large_float32_and_either_can_be_forced() -> None:
    large, small = torch.zeros(4, 1, 8192), torch.zeros(4, 1, 8)
    assert _uses_numba(large, "auto")
    assert not _uses_numba(small, "auto")
    assert not _uses_numba(large, "plain")
    assert _uses_numba(small, "numba")
    assert not _uses_numba(large.detach().double(), "numba")


@pytest.mark.usefixtures("free_choice")
def test_both_give_the_same_spikes_and_leave_the_same_membrane() -> None:
    x = torch.randn(5, 2, 50, generator=torch.Generator().manual_seed(0)) + 0.6
    results = []
    for backend in ("plain", "numba"):
        force_backend(backend)  # type: ignore[arg-type]  # a literal of the tuple
        memory = Memory(None)
        results.append((LIF(LIFParameters())(x, memory), memory.new[""]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
