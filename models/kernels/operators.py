"""The LIF kernels as torch operators: one name each for CPU and GPU, seen by autograd, `torch.compile` and CUDA graphs.

`lif` and `plif` are the twins of the functions of the same names in `models.functional`, with gradients. `lif_spikes` is the
form for inference: a folded BN in front, spikes as bytes or as bits. `lif_step_` is one bin in place. Currents may be float32
or bfloat16, on a GPU float16 too; membranes are float32. Any order of axes in memory, bins outermost, is taken as it is.
"""

import importlib
import importlib.util
import logging
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from models.functional import LIFParameters
from models.kernels.affine import Affine

_LOG = logging.getLogger(__name__)

# How spikes are told: in the currents' type, as bytes, or as bits of bytes.
Form = Literal["same", "bytes", "bits"]
# The fields of LIFParameters that a kernel looks at, in their order there.
Settings = tuple[float, float, float | None, bool, bool, bool, str, float]

_DEVICES = ("cpu", "cuda")
_SETTINGS = (
    "float tau, float v_threshold, float? v_reset, bool decay_input, bool detach_reset, bool detach_membrane, "
    "str surrogate, float alpha"
)


def lif(x: Tensor, v: Tensor | None, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """Currents `x` (T, ...) and membranes `v` (...) or None to (spikes (T, ...) of x's type, membranes after, float32)."""
    spikes, membrane, _ = _lif(x, v, None, *_settings(parameters))
    return spikes, membrane


def plif(x: Tensor, v: Tensor | None, w: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """As `lif`, with the leak 1/tau = sigmoid(`w`), `w` a scalar that may require a gradient."""
    spikes, membrane, _ = _lif(x, v, torch.sigmoid(w.float()), *_settings(parameters))
    return spikes, membrane


def lif_spikes(
    x: Tensor, v: Tensor | None, parameters: LIFParameters, affine: Affine | None = None, form: Form = "same"
) -> tuple[Tensor, Tensor]:
    """As `lif` without gradients, of `affine` applied to `x`; `bits` gives uint8 (T, ceil(n / 8)) of n neurons."""
    scale, shift, inner = (None, None, 1) if affine is None else affine
    spikes, membrane = _lif_spikes(x, v, scale, shift, inner, form, *_settings(parameters))
    return spikes, membrane


def lif_step_(x: Tensor, v: Tensor, spikes: Tensor, parameters: LIFParameters, affine: Affine | None = None) -> None:
    """One bin in place: currents `x`, membranes `v` and `spikes` contiguous, of one size, or spikes as bits (ceil(n / 8),)."""
    scale, shift, inner = (None, None, 1) if affine is None else affine
    _lif_step(x, v, spikes, scale, shift, inner, *_settings(parameters))


@cache
def has_gpu_kernels() -> bool:
    """Whether a GPU's tensors can be given; else one line of the log says what is missing."""
    if importlib.util.find_spec("numba_cuda") is not None:
        return True
    _LOG.info("numba-cuda is not installed, so neurons run in plain torch on the GPU; pip install 'saccade[gpu-cu13]'")
    return False


def _settings(parameters: LIFParameters) -> Settings:
    p = parameters
    return (
        p.tau, p.v_threshold, p.v_reset, p.decay_input,
        p.detach_reset, p.detach_membrane, p.surrogate, p.alpha,
    )  # fmt: skip


def _kernels(x: Tensor) -> Any:  # a module, of which mypy knows no type
    """The twin for the device of `x`; both have `count_marks`, `forward`, `backward` and `lif_step_`."""
    return importlib.import_module("models.kernels.lif_cuda" if x.device.type == "cuda" else "models.kernels.lif_cpu")


def _dense(x: Tensor) -> Tensor:
    """`x` itself where its bins lie one after the other without gaps, else a contiguous copy."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride()[1:], x.shape[1:], strict=True) if n != 1):
        if stride != expected:
            return x.contiguous()
        expected *= size
    return x if x.shape[0] == 1 or x.stride(0) == expected else x.contiguous()


def _rows(x: Tensor) -> Tensor:
    """View (T, n) of a dense tensor, in the order of memory."""
    n = x[0].numel()
    return x.as_strided((x.shape[0], n), (n, 1))


def _membrane(v: Tensor | None, x: Tensor) -> Tensor:
    """New float32 membranes, laid out as a bin of the dense `x`: a copy of `v`, or rest."""
    membrane = torch.empty_strided(x.shape[1:], x.stride()[1:], dtype=torch.float32, device=x.device)
    return membrane.zero_() if v is None else membrane.copy_(v)


def _flat(v: Tensor) -> Tensor:
    return v.as_strided((v.numel(),), (1,))


def _like(x: Tensor, form: Form) -> Tensor:
    """Room for the spikes of the dense `x`."""
    if form == "bits":
        n = x[0].numel()
        return torch.empty((x.shape[0], -(-n // 8)), dtype=torch.uint8, device=x.device)
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype if form == "same" else torch.uint8, device=x.device)


def _affine(scale: Tensor | None, shift: Tensor | None, inner: int) -> Affine | None:
    return None if scale is None or shift is None else Affine(scale, shift, inner)


@torch.library.custom_op(
    "saccade::lif",
    mutates_args=(),
    device_types=_DEVICES,
    schema=f"(Tensor x, Tensor? v, Tensor? leak, {_SETTINGS}) -> (Tensor, Tensor, Tensor)",
)
def _lif(x: Tensor, v: Tensor | None, leak: Tensor | None, *settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, membranes after the last bin, and the membranes that backward begins again from."""
    kernels, x = _kernels(x), _dense(x)
    rows = _rows(x)
    spikes, membrane = _like(x, "same"), _membrane(v, x)
    marks = rows.new_empty((kernels.count_marks(len(rows)), rows.shape[1]), dtype=torch.float32)
    if x.numel():
        parameters = LIFParameters(*settings)
        kernels.forward(rows, _flat(membrane), _rows(spikes), parameters, leak=leak, marks=marks)
    return spikes, membrane, marks


@_lif.register_fake
def _lif_shapes(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    kernels, x = _kernels(inputs[0]), _dense(inputs[0])
    marks = x.new_empty((kernels.count_marks(x.shape[0]), x[0].numel()), dtype=torch.float32)
    return _like(x, "same"), _membrane(None, x), marks


@torch.library.custom_op(
    "saccade::lif_backward",
    mutates_args=(),
    device_types=_DEVICES,
    schema=f"(Tensor grad_s, Tensor grad_v, Tensor x, Tensor? v, Tensor? leak, Tensor marks, {_SETTINGS}) "
    "-> (Tensor, Tensor, Tensor)",
)
def _lif_backward(grad_s: Tensor, grad_v: Tensor, x: Tensor, v: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of currents, first membranes and leak."""
    leak, marks, *settings = rest
    kernels, x = _kernels(x), _dense(x)
    rows = _rows(x)
    carried = _membrane(grad_v, x)
    if not x.numel():
        return torch.empty_like(x), carried, torch.zeros((), device=x.device)
    upstream = grad_s if grad_s.stride() == x.stride() else _like(x, "same").copy_(grad_s)
    gradients, first = (_rows(upstream), _flat(carried)), _flat(_membrane(v, x))
    by_row, grad_leak = kernels.backward(gradients, rows, first, LIFParameters(*settings), leak=leak, marks=marks)
    grad_x = by_row.as_strided(x.shape, x.stride())
    return grad_x, carried, grad_leak


@_lif_backward.register_fake
def _lif_backward_shapes(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    x = _dense(inputs[2])
    return _like(x, "same"), _membrane(None, x), x.new_empty((), dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # torch's protocol for ctx has no type
    x, v, leak, *settings = inputs
    ctx.save_for_backward(x, v, leak, output[2])
    ctx.settings = settings


def _pull(ctx: Any, grad_s: Tensor, grad_v: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    x, v, leak, marks = ctx.saved_tensors
    grad_x, grad_first, grad_leak = _lif_backward(grad_s, grad_v, x, v, leak, marks, *ctx.settings)
    to_v = None if v is None else grad_first.to(v.dtype)
    to_leak = None if leak is None else grad_leak.view(leak.shape).to(leak.dtype)
    return grad_x, to_v, to_leak, *[None] * len(ctx.settings)


_lif.register_autograd(_pull, setup_context=_keep)


@torch.library.custom_op(
    "saccade::lif_spikes",
    mutates_args=(),
    device_types=_DEVICES,
    schema=f"(Tensor x, Tensor? v, Tensor? scale, Tensor? shift, int inner, str form, {_SETTINGS}) -> (Tensor, Tensor)",
)
def _lif_spikes(x: Tensor, v: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    scale, shift, inner, form, *settings = rest
    x = _dense(x)
    spikes, membrane = _like(x, form), _membrane(v, x)
    if x.numel():
        rows = spikes if form == "bits" else _rows(spikes)
        affine = _affine(scale, shift, inner)
        _kernels(x).forward(_rows(x), _flat(membrane), rows, LIFParameters(*settings), affine=affine)
    return spikes, membrane


@_lif_spikes.register_fake
def _lif_spikes_shapes(*inputs: Any) -> tuple[Tensor, Tensor]:
    x = _dense(inputs[0])
    return _like(x, inputs[5]), _membrane(None, x)


@torch.library.custom_op(
    "saccade::lif_step_",
    mutates_args=("v", "spikes"),
    device_types=_DEVICES,
    schema=f"(Tensor x, Tensor(a!) v, Tensor(b!) spikes, Tensor? scale, Tensor? shift, int inner, {_SETTINGS}) -> ()",
)
def _lif_step(x: Tensor, v: Tensor, spikes: Tensor, *rest: Any) -> None:
    scale, shift, inner, *settings = rest
    if x.numel():
        _kernels(x).lif_step_(x, v, spikes, LIFParameters(*settings), _affine(scale, shift, inner))


@_lif_step.register_fake
def _lif_step_shapes(*inputs: Any) -> None:
    """Nothing comes out."""
