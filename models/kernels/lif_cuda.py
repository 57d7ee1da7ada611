"""Numba-CUDA twin of the LIF step: all T bins in one launch forward, one backward, and one bin in place for streams.

Kernels take addresses and numbers, so a launch wraps no array; they run on torch's current stream and nothing waits for them.
A form is compiled when it is first met, for which a CUDA graph must not be recording. One thread sees to a few neighbouring
neurons through all bins (`models.kernels.lif_threads`). Without a GPU the same kernels run in numba's simulator, on tensors of
the CPU, where NUMBA_ENABLE_CUDASIM=1 was set before numba was loaded.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import types
from torch import Tensor

from models.functional import LIFParameters
from models.kernels import vectors
from models.kernels.affine import Affine
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
from models.kernels.vectors import Kind
from pipeline.schema.errors import ConfigurationError

# in the simulator numba puts another module in this one's place, so there is no type to it
cuda: Any = importlib.import_module("numba.cuda")
_config: Any = importlib.import_module("numba").config

IS_SIMULATED = bool(_config.ENABLE_CUDASIM)
# Threads of a block; a simulated one is a thread of the machine.
_BLOCK = 8 if IS_SIMULATED else 128
# A vector instruction moves so many bytes, from an address that they divide.
_ALIGNMENT = 16

# numba warns of small grids, which a stream's single bin has by nature
_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

_KINDS: dict[torch.dtype, Kind] = {
    torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16", torch.uint8: "uint8",
}  # fmt: skip


def _numbers(n_integers: int, n_addresses: int, n_floats: int) -> Any:
    tuples = ((types.int64, n_integers), (types.int64, n_addresses), (types.float32, n_floats))
    return types.void(*(types.UniTuple(kind, count) for kind, count in tuples))  # type: ignore[no-untyped-call]  # numba's


def _decaying_exp(z: Any) -> Any:
    # two instructions, relative error below 1e-6 where it matters; numba has no such function outside of this module
    return cuda.libdevice.fast_expf(-z)


def _simulated_exp(z: Any) -> Any:
    return np.exp(-z)


def _tools() -> Tools:
    jit = cuda.jit(device=True)
    if IS_SIMULATED:
        return Tools(jit, vectors.read, vectors.write, _simulated_exp)
    # numba-cuda has an own one for its own target
    from numba.cuda.extending import intrinsic

    return Tools(
        jit,
        lambda kind, width, is_constant: vectors.make_load(kind, width, is_constant, intrinsic),
        lambda kind, width: vectors.make_store(kind, width, intrinsic),
        jit(_decaying_exp),
    )


@cache
def _forward_kernel(form: ForwardForm) -> Any:
    body = make_forward(form, _tools())

    def lif_forward(sizes: Any, addresses: Any, constants: Any) -> None:
        membrane = cuda.local.array(FORWARD_WIDTH, types.float32)
        current = cuda.local.array(FORWARD_WIDTH, types.float32)
        gains = cuda.local.array(FORWARD_WIDTH, types.float32)
        biases = cuda.local.array(FORWARD_WIDTH, types.float32)
        i = cuda.grid(1)
        if i * FORWARD_WIDTH < sizes[0]:
            body(i, sizes, addresses, constants, (membrane, current, gains, biases))

    return cuda.jit(_numbers(4, 7, 4))(lif_forward)


@cache
def _backward_kernel(form: BackwardForm) -> Any:
    body = make_backward(form, _tools())
    store = _tools().make_store("float32", 1)

    def lif_backward(sizes: Any, addresses: Any, constants: Any) -> None:
        held = cuda.local.array((HELD_BINS, BACKWARD_WIDTH), types.float32)
        membrane = cuda.local.array(BACKWARD_WIDTH, types.float32)
        current = cuda.local.array(BACKWARD_WIDTH, types.float32)
        carried = cuda.local.array(BACKWARD_WIDTH, types.float32)
        later = cuda.local.array(BACKWARD_WIDTH, types.float32)
        start = cuda.local.array(BACKWARD_WIDTH, types.float32)
        i = cuda.grid(1)
        if i * BACKWARD_WIDTH < sizes[0]:
            total = body(i, sizes, addresses[:7], constants, (held, membrane, current, carried, later, start))
            # a sum for each thread, added up afterwards: the same result every time
            current[0] = total
            if addresses[7] != 0:
                store(addresses[7] + 4 * i, current, 0)

    return cuda.jit(_numbers(2, 8, 5))(lif_backward)


def count_marks(n_bins: int) -> int:
    """How many rows of membranes forward leaves for backward to begin again from."""
    return (n_bins - 1) // HELD_BINS


def forward(
    x: Tensor,
    v: Tensor,
    spikes: Tensor,
    parameters: LIFParameters,
    *,
    leak: Tensor | None = None,
    affine: Affine | None = None,
    marks: Tensor | None = None,
) -> None:
    """T bins: fills `spikes` from currents `x` (T, n) float32, bfloat16 or float16, changing membranes `v` (n,) float32.

    `spikes` is (T, n) of those types or uint8, or uint8 (T, ceil(n / 8)) with eight neurons in a byte, the first in the lowest
    bit. `leak`, a float32 scalar there, takes the place of 1/tau. `marks` float32 (count_marks(T), n) are filled for backward.
    """
    _prepare((x, v, spikes), parameters, leak, affine, marks)()


def lif_step_(x: Tensor, v: Tensor, spikes: Tensor, parameters: LIFParameters, affine: Affine | None = None) -> None:
    """One bin in place: `x` and `v` (n,), `spikes` (n,) or packed as in `forward`."""
    prepare_step(x, v, spikes, parameters, affine)()


def prepare_step(
    x: Tensor, v: Tensor, spikes: Tensor, parameters: LIFParameters, affine: Affine | None = None
) -> Callable[[], None]:
    """`lif_step_` of buffers that stay where they are, as a function without arguments; any contiguous shapes."""
    return _prepare((x.view(1, -1), v.view(-1), spikes.view(1, -1)), parameters, None, affine, None)


def _prepare(
    tensors: tuple[Tensor, Tensor, Tensor],
    parameters: LIFParameters,
    leak: Tensor | None,
    affine: Affine | None,
    marks: Tensor | None,
) -> Callable[[], None]:
    x, v, s = tensors
    _check(x, v, s, *(() if affine is None else affine[:2]))
    n_bins, n = x.shape
    form = ForwardForm(
        currents=_KINDS[x.dtype],
        spikes=_KINDS[s.dtype] if s.shape == x.shape else None,
        is_whole=_is_whole(n, (x, v, s, *(() if marks is None else (marks,)))),
        is_hard=parameters.v_reset is not None,
        is_leak_learned=leak is not None,
        decays_input=parameters.decay_input,
        has_affine=affine is not None,
    )
    channels = (1, 1) if affine is None else (affine.scale.numel(), affine.inner)
    if n % (channels[0] * channels[1]):
        raise ConfigurationError(f"{n} neurons are no whole number of times {channels[0]} channels of {channels[1]} neurons")
    addresses = _addresses(x, v, s, marks, leak, *((None, None) if affine is None else affine[:2]))
    constants = _constants(parameters)[:4]
    kernel = _forward_kernel(form)
    # the tensors stay with the launch, for their addresses must stay theirs
    return lambda: _launch(kernel, -(-n // FORWARD_WIDTH), ((n, n_bins, *channels), addresses, constants), (*tensors, affine))


def backward(
    gradients: tuple[Tensor, Tensor],
    x: Tensor,
    v: Tensor,
    parameters: LIFParameters,
    *,
    leak: Tensor | None = None,
    marks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """From gradients of spikes (T, n) and last membrane (n,), which is changed to the first one's, to (currents', leak's).

    `x`, `v` and `marks` are what forward was given and filled; the leak's gradient, a scalar, is zero unless `leak` was given.
    """
    grad_s, grad_v = gradients
    grad_x = torch.empty_like(x)
    n_bins, n = x.shape
    _check(x, v, grad_s, grad_v)
    form = BackwardForm(
        currents=_KINDS[x.dtype],
        is_whole=_is_whole(n, (x, v, grad_s, grad_v, grad_x, *(() if marks is None else (marks,)))),
        is_hard=parameters.v_reset is not None,
        is_leak_learned=leak is not None,
        decays_input=parameters.decay_input,
        is_reset_detached=parameters.detach_reset,
        is_membrane_detached=parameters.detach_membrane,
        surrogate=parameters.surrogate,
    )
    n_threads = -(-n // BACKWARD_WIDTH)
    shares = torch.empty(n_threads if leak is not None else 0, dtype=torch.float32, device=x.device)
    addresses = _addresses(x, grad_s, v, grad_v, grad_x, marks, leak, shares)
    _launch(_backward_kernel(form), n_threads, ((n, n_bins), addresses, _constants(parameters)), (x,))
    return grad_x, shares.sum(dtype=torch.float64).float()


def _launch(kernel: Any, n_threads: int, numbers: tuple[Any, ...], kept: tuple[Any, ...]) -> None:
    """Put a kernel into torch's current stream of the tensors' GPU."""
    grid = -(-n_threads // _BLOCK)
    if IS_SIMULATED:
        kernel[grid, _BLOCK](*numbers)
        return
    with torch.cuda.device(kept[0].device):
        kernel[grid, _BLOCK, _stream(torch.cuda.current_stream().cuda_stream)](*numbers)


@cache
def _stream(handle: int) -> Any:
    return cuda.external_stream(handle) if handle else cuda.default_stream()


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    return tuple(0 if tensor is None or tensor.numel() == 0 else tensor.data_ptr() for tensor in tensors)


def _constants(parameters: LIFParameters) -> tuple[np.float32, ...]:
    """Keep, gain, threshold, reset and alpha; a learned leak takes the place of the first two."""
    share, p = 1.0 / parameters.tau, parameters
    values = (1.0 - share, share if p.decay_input else 1.0, p.v_threshold, p.v_reset or 0.0, p.alpha)
    return tuple(np.float32(value) for value in values)


def _is_whole(n: int, tensors: tuple[Tensor, ...]) -> bool:
    return n % FORWARD_WIDTH == 0 and all(tensor.data_ptr() % _ALIGNMENT == 0 for tensor in tensors)


def _check(x: Tensor, v: Tensor, s: Tensor, *others: Tensor) -> None:
    """Refuse what the kernels would misread."""
    n_bins, n = x.shape
    is_packed = s.dtype == torch.uint8 and s.shape == (n_bins, -(-n // 8))
    if v.shape != (n,) or not (s.shape == x.shape or is_packed):
        raise ConfigurationError(f"currents {tuple(x.shape)}, membranes {tuple(v.shape)}, spikes {tuple(s.shape)} do not fit")
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16) or s.dtype not in _KINDS:
        raise ConfigurationError(f"currents {x.dtype} and spikes {s.dtype} are not among {', '.join(_KINDS.values())}")
    if any(tensor.dtype != torch.float32 for tensor in (v, *others)):
        raise ConfigurationError("membranes, scale and shift must be float32")
    if not all(tensor.is_contiguous() and tensor.device == x.device for tensor in (v, s, x, *others)):
        raise ConfigurationError(f"currents, membranes and spikes must be contiguous and on one device, {x.device}")
    if x.device.type != ("cpu" if IS_SIMULATED else "cuda"):
        raise ConfigurationError(
            f"tensors on {x.device}: kernels for a GPU take those of a GPU, in the simulator those of the CPU"
        )
