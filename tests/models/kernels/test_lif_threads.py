"""What a thread of a GPU does, compiled for the CPU: the code that moves values and the arithmetic, as on the card.

The launching functions of `lif_cuda` are asked, with loops over the threads in the place of kernels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lif_cases import check_agreement, make_currents
from numba import njit
from numba.extending import intrinsic

from models.functional import LIFParameters
from models.kernels import arithmetic, lif_cuda, operators, vectors
from models.kernels.lif_threads import (
    BACKWARD_WIDTH,
    FORWARD_WIDTH,
    HELD_BINS,
    BackwardForm,
    ForwardForm,
    Tools,
    make_backward,
    make_forward,
)

TOOLS = Tools(
    njit,
    lambda kind, width, is_constant: vectors.make_load(kind, width, is_constant, intrinsic),
    lambda kind, width: vectors.make_store(kind, width, intrinsic),
    njit(arithmetic.decaying_exp),
)


def forward_loop(form: ForwardForm) -> Callable[..., None]:
    body = make_forward(form, TOOLS)

    @njit
    def run(n_threads: int, sizes: Any, addresses: Any, constants: Any) -> None:
        registers = (np.empty(FORWARD_WIDTH, np.float32), np.empty(FORWARD_WIDTH, np.float32))
        more = (np.empty(FORWARD_WIDTH, np.float32), np.empty(FORWARD_WIDTH, np.float32))
        for i in range(n_threads):
            body(i, sizes, addresses, constants, (registers[0], registers[1], more[0], more[1]))

    return run


def backward_loop(form: BackwardForm) -> Callable[..., None]:
    body = make_backward(form, TOOLS)
    store = TOOLS.make_store("float32", 1)

    @njit
    def run(n_threads: int, sizes: Any, addresses: Any, constants: Any) -> None:
        held = np.empty((HELD_BINS, BACKWARD_WIDTH), np.float32)
        a, b, c, d, e = [np.empty(BACKWARD_WIDTH, np.float32) for _ in range(5)]
        for i in range(n_threads):
            b[0] = body(i, sizes, addresses[:7], constants, (held, a, b, c, d, e))
            if addresses[7] != 0:
                store(addresses[7] + 4 * i, b, 0)

    return run


@pytest.fixture
def threads_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(kernel: Callable[..., None], n_threads: int, numbers: tuple[Any, ...], _: object) -> None:
        kernel(n_threads, *numbers)

    monkeypatch.setattr(lif_cuda, "IS_SIMULATED", True)
    monkeypatch.setattr(lif_cuda, "_launch", launch)
    monkeypatch.setattr(lif_cuda, "_forward_kernel", forward_loop)
    monkeypatch.setattr(lif_cuda, "_backward_kernel", backward_loop)
    monkeypatch.setattr(operators, "_kernels", lambda x: lif_cuda)


@pytest.mark.usefixtures("threads_on_the_cpu")
def test_vectors_of_whole_rows_agree_with_the_plain_step() -> None:
    # more bins than registers hold, so that backward begins again from marks
    check_agreement(operators, make_currents(HELD_BINS + 3, 40), LIFParameters(), ("plif",))


@pytest.mark.usefixtures("threads_on_the_cpu")
def test_rows_that_no_vector_fits_agree_with_the_plain_step() -> None:
    parameters = LIFParameters(v_reset=None, detach_reset=False, surrogate="atan", alpha=2.0, decay_input=False)
    check_agreement(operators, make_currents(HELD_BINS + 3, 13), parameters, ("lif",))


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16", "uint8"])
@pytest.mark.parametrize("width", [1, 8])
def test_values_come_back_as_they_were_stored(kind: vectors.Kind, width: int) -> None:
    dtype = getattr(torch, kind)
    # 1 + 2^-9 lies between two bfloat16 and goes to the even one, 1
    values = torch.tensor([1.0, 0.0, 3.0, 2.0, 1.0 + 2**-9, 5.0, 255.0, 0.0])[:width]
    memory, registers = torch.zeros(width, dtype=dtype), np.zeros(width, np.float32)
    load, store = TOOLS.make_load(kind, width, is_constant=False), TOOLS.make_store(kind, width)

    @njit
    def there_and_back(address: int, given: Any, found: Any) -> None:
        store(address, given, 0)
        load(address, found, 0)

    there_and_back(memory.data_ptr(), values.numpy(), registers)
    assert torch.equal(memory, values.to(dtype))
    assert registers.tolist() == memory.float().tolist()
    in_python = np.zeros(width, np.float32)
    vectors.write(kind, width)(memory.data_ptr(), values.numpy(), 0)
    vectors.read(kind, width, is_constant=False)(memory.data_ptr(), in_python, 0)
    assert in_python.tolist() == registers.tolist()
