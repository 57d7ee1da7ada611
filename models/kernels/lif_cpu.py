"""Numba CPU twin of the LIF step: one pass over memory forward, one backward, and one bin in place for streams.

For one bin of a stream: `lif_step_(x, v, spikes, parameters, affine)` once, or `prepare_step` with the same words for buffers
that stay where they are, which gives a function without arguments that costs microseconds to call. Both change `v` and
`spikes` and allocate nothing.

Everything below works on flat numpy arrays; bfloat16 comes as its bits in uint16. Backward keeps nothing but the currents: the
potentials of a block are found again in the cache, which moves fewer bytes than storing and reading them. Agreement with
`models.functional` is tested; shares of this machine's copy rate are measured by `saccade bench neuron`.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, prange
from torch import Tensor

from models.functional import LIFParameters
from models.kernels import arithmetic
from models.kernels.affine import Affine
from models.kernels.bfloats import narrow, widen
from pipeline.schema.errors import ConfigurationError

# Neurons handled together: of 16 bins, currents, potentials and gradients of one block stay in a core's second-level cache.
_BLOCK = 2048
# Fewer neurons times bins than these take one core less time than waking the others.
_PARALLEL_FROM = 1 << 16

# numba's own scheduler, which it falls back on, ends the process when two threads enter it at once.
_ONE_AT_A_TIME = threading.Lock()

Array = npt.NDArray[Any]
_leaf = njit(nogil=True, error_model="numpy")
_charge = _leaf(arithmetic.charge)
_settle = _leaf(arithmetic.settle)
_through = _leaf(arithmetic.through)
# a slope may be rounded once where it says twice; potentials may not, for forward and backward must find the same
_curve = njit(nogil=True, error_model="numpy", fastmath={"contract"})
_decaying_exp = _curve(arithmetic.decaying_exp)
_sigmoid_slope = _curve(arithmetic.sigmoid_slope)
_atan_slope = _leaf(arithmetic.atan_slope)
_triangle_slope = _leaf(arithmetic.triangle_slope)


@_leaf
def _fill_slopes(h: Array, threshold: np.float32, surrogate: tuple[int, np.float32], slopes: Array) -> None:
    """Surrogate gradients of a row of potentials; a loop for each surrogate, so that each vectorises."""
    kind, alpha = surrogate
    if kind == 0:
        for i in range(h.size):
            slopes[i] = _sigmoid_slope(_decaying_exp(abs(alpha * (h[i] - threshold))), alpha)
    elif kind == 1:
        for i in range(h.size):
            slopes[i] = _atan_slope(h[i] - threshold, alpha)
    else:
        for i in range(h.size):
            slopes[i] = _triangle_slope(h[i] - threshold, alpha)


@_leaf
def _pull(h: Array, grad_s: Array, slopes: Array, carried: Array, grad_x: Array, rule: Any) -> None:
    """One bin back: gradients of the potentials into `carried` (times the factor of `rule`: of the membrane after the bin)."""
    threshold, reset, is_hard, by_reset, factor, gain = rule
    like = grad_x.dtype.type(0)
    for i in range(h.size):
        passed = _through(h[i], slopes[i] * by_reset, threshold, reset, is_hard)
        grad_h = widen(grad_s[i]) * slopes[i] + carried[i] * factor * passed
        grad_x[i] = narrow(grad_h * gain, like)
        carried[i] = grad_h


def _make_plain_pull(slope: Any) -> Any:
    """`_fill_slopes` and `_pull` in one loop, for a hard reset that is detached: a neuron that fired passes nothing on."""

    def pull(h: Array, grad_s: Array, carried: Array, grad_x: Array, rule: Any) -> None:
        threshold, alpha, factor, gain = rule
        like, none = grad_x.dtype.type(0), np.float32(0.0)
        for i in range(h.size):
            kept = none if h[i] >= threshold else carried[i] * factor
            grad_h = widen(grad_s[i]) * slope(h[i] - threshold, alpha) + kept
            grad_x[i] = narrow(grad_h * gain, like)
            carried[i] = grad_h

    return _curve(pull)


@_curve
def _sigmoid_slope_at(u: np.float32, alpha: np.float32) -> np.float32:
    return _sigmoid_slope(_decaying_exp(abs(alpha * u)), alpha)


_pull_sigmoid, _pull_atan, _pull_triangle = (
    _make_plain_pull(slope) for slope in (_sigmoid_slope_at, _atan_slope, _triangle_slope)
)


@_leaf
def _pull_plainly(h: Array, grad_s: Array, carried: Array, grad_x: Array, surrogate: tuple[int, np.float32], rule: Any) -> None:
    """One bin back through a hard, detached reset; a loop for each surrogate, so that each vectorises."""
    kind, alpha = surrogate
    threshold, factor, gain = rule
    whole = (threshold, alpha, factor, gain)
    if kind == 0:
        _pull_sigmoid(h, grad_s, carried, grad_x, whole)
    elif kind == 1:
        _pull_atan(h, grad_s, carried, grad_x, whole)
    else:
        _pull_triangle(h, grad_s, carried, grad_x, whole)


@_leaf
def _fire(x: Array, v: Array, s: Array, gain: np.float32, bias: np.float32, rule: Any) -> None:
    """One bin of a row of neurons of one channel; `rule` is (keep, threshold, reset, is_hard, mark of silence, of a spike)."""
    keep, threshold, reset, is_hard, silent, fired = rule
    for i in range(x.size):
        h = _charge(v[i], widen(x[i]), keep, gain, bias)
        s[i] = fired if h >= threshold else silent
        v[i] = _settle(h, threshold, reset, is_hard)


@_leaf
def _fire_each(x: Array, v: Array, s: Array, gains: Array, biases: Array, rule: Any) -> None:
    """One bin of a row of neurons of which each has a channel of its own."""
    keep, threshold, reset, is_hard, silent, fired = rule
    for i in range(x.size):
        h = _charge(v[i], widen(x[i]), keep, gains[i], biases[i])
        s[i] = fired if h >= threshold else silent
        v[i] = _settle(h, threshold, reset, is_hard)


@_leaf
def _pack(fired: Array, packed: Array) -> None:
    """Eight neurons a byte, the first in the lowest bit; `fired` 0/1, neurons that lack to the last byte are silent."""
    for i in range(packed.size):
        byte = np.uint8(0)
        for k in range(min(8, fired.size - 8 * i)):
            byte |= np.uint8(np.uint8(fired[8 * i + k]) << np.uint8(k))
        packed[i] = byte


@_leaf
def _fire_unit(x: Array, v: Array, s: Array, affine: Any, rule: Any, span: Any) -> None:
    """One bin of neurons span[0] .. span[1] of `x` and `v` (n,), to the same places of `s` less span[2]."""
    gains, biases, inner = affine
    at, stop, origin = span
    width = gains.size if inner == 1 else inner
    while at < stop:
        channel = at // inner % gains.size
        end = min(stop, (at // width + 1) * width)
        if inner == 1:
            rows = gains[channel : channel + end - at], biases[channel : channel + end - at]
            _fire_each(x[at:end], v[at:end], s[at - origin : end - origin], rows[0], rows[1], rule)
        else:
            _fire(x[at:end], v[at:end], s[at - origin : end - origin], gains[channel], biases[channel], rule)
        at = end


@njit(cache=True, nogil=True, error_model="numpy")
def _forward_units(currents: Any, s: Array, affine: Any, rule: Any, is_packed: bool, units: tuple[int, int]) -> None:
    """Spikes `s` (T, n, or bytes of eight) of units[0] .. units[1] from x (T, n), changing v (n,); `currents` is (x, v)."""
    x, v = currents
    n_bins, n = x.shape
    for unit in range(units[0], units[1]):
        start = unit * _BLOCK
        stop = min(n, start + _BLOCK)
        fired = np.empty(stop - start if is_packed else 0, s.dtype)
        for t in range(n_bins):
            if is_packed:
                _fire_unit(x[t], v, fired, affine, rule, (start, stop, start))
                _pack(fired, s[t, start // 8 : (stop + 7) // 8])
            else:
                _fire_unit(x[t], v, s[t], affine, rule, (start, stop, 0))


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _forward_all(currents: Any, s: Array, affine: Any, rule: Any, is_packed: bool, n_units: int) -> None:
    for unit in prange(n_units):
        _forward_units(currents, s, affine, rule, is_packed, (unit, unit + 1))


@_leaf
def _recall(x: Array, v: Array, h: Array, constants: Any, is_hard: bool) -> None:
    """One bin of a block forward again: potentials `h` from membranes `v`, which go on; a loop for each kind of reset."""
    keep, threshold, reset, gain = constants
    none = np.float32(0.0)
    if is_hard:
        for i in range(h.size):
            potential = _charge(v[i], widen(x[i]), keep, gain, none)
            h[i], v[i] = potential, _settle(potential, threshold, reset, is_hard=True)
    else:
        for i in range(h.size):
            potential = _charge(v[i], widen(x[i]), keep, gain, none)
            h[i], v[i] = potential, _settle(potential, threshold, reset, is_hard=False)


@_leaf
def _add_leak(h: Array, t: int, v: Array, carried: Array, leak: Array, rule: Any) -> None:
    """Bin `t`'s share of the leak's gradient times the gain; `v` are the first membranes of the block.

    To the leak, H's derivative is x - v with decay_input, that is (H - v) / gain, and -v without, where the gain is 1.
    """
    threshold, reset, is_hard, by_input = rule
    earlier = h[max(t - 1, 0)]
    for i in range(v.size):
        before = v[i] if t == 0 else _settle(earlier[i], threshold, reset, is_hard)
        leak[i] += carried[i] * (by_input * h[t, i] - before)


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_units(arrays: Any, constants: Any, flags: Any, surrogate: Any, leaks: Array, units: tuple[int, int]) -> None:
    """Gradients of currents (T, n), of the first membrane in place of the last one's (n,), and of the leak by unit.

    `arrays`: currents and gradients of spikes (T, n), first membrane and gradient of the last (n,), gradient of currents (T, n)
    to fill. `flags`: hard reset, detached reset, detached membrane, decay_input, leak wanted.
    """
    x, grad_s, v, grad_v, grad_x = arrays
    is_hard, is_reset_detached, is_membrane_detached, decays_input, wants_leak = flags
    keep, threshold, reset, gain = constants
    none = np.float32(0.0)
    by_reset = none if is_reset_detached else np.float32(1.0)
    by_input = np.float32(1.0) if decays_input else none
    n_bins, n = x.shape
    h, slopes = np.empty((n_bins, _BLOCK), np.float32), np.empty(_BLOCK, np.float32)
    membrane, leak, carried = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for unit in range(units[0], units[1]):
        start = unit * _BLOCK
        stop = min(n, start + _BLOCK)
        size = stop - start
        for i in range(size):
            membrane[i], leak[i], carried[i] = v[start + i], none, grad_v[start + i]
        for t in range(n_bins):
            _recall(x[t, start:stop], membrane[:size], h[t, :size], (keep, threshold, reset, gain), is_hard)
        factor = np.float32(1.0)
        for t in range(n_bins - 1, -1, -1):
            potential, upstream, out = h[t], grad_s[t, start:stop], grad_x[t, start:stop]
            if is_hard and is_reset_detached:
                _pull_plainly(potential[:size], upstream, carried[:size], out, surrogate, (threshold, factor, gain))
            else:
                _fill_slopes(potential[:size], threshold, surrogate, slopes[:size])
                rule = (threshold, reset, is_hard, by_reset, factor, gain)
                _pull(potential[:size], upstream, slopes[:size], carried[:size], out, rule)
            if wants_leak:
                _add_leak(h, t, v[start:stop], carried, leak, (threshold, reset, is_hard, by_input))
            factor = none if is_membrane_detached else keep
        for i in range(size):
            grad_v[start + i] = carried[i] * factor
        if wants_leak:
            leaks[unit] = leak[:size].astype(np.float64).sum() / gain


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _backward_all(arrays: Any, constants: Any, flags: Any, surrogate: Any, leaks: Array) -> None:
    for unit in prange(leaks.size):
        _backward_units(arrays, constants, flags, surrogate, leaks, (unit, unit + 1))


def count_marks(n_bins: int) -> int:  # noqa: ARG001 # the GPU's twin keeps some
    """How many rows of membranes forward leaves for backward: none."""
    return 0


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
    """T bins: fills `spikes` from currents `x` (T, n) float32 or bfloat16, changing membranes `v` (n,) float32.

    `spikes` is (T, n) float32, bfloat16 or uint8, or uint8 (T, ceil(n / 8)) with eight neurons in a byte, the first in the
    lowest bit. All contiguous, on the CPU. `leak` takes the place of 1/tau; `marks` is for the GPU's twin.
    """
    del marks
    _prepare((x, v, spikes), parameters, leak, affine)()


def lif_step_(x: Tensor, v: Tensor, spikes: Tensor, parameters: LIFParameters, affine: Affine | None = None) -> None:
    """One bin in place: `x` (n,) float32 or bfloat16, `v` (n,) float32, `spikes` (n,) or packed as in `forward`."""
    prepare_step(x, v, spikes, parameters, affine)()


def prepare_step(
    x: Tensor, v: Tensor, spikes: Tensor, parameters: LIFParameters, affine: Affine | None = None
) -> Callable[[], None]:
    """`lif_step_` of buffers that stay where they are, as a function without arguments; any contiguous shapes."""
    return _prepare((x.view(1, -1), v.view(-1), spikes.view(1, -1)), parameters, None, affine)


def _prepare(
    tensors: tuple[Tensor, Tensor, Tensor], parameters: LIFParameters, leak: Tensor | None, affine: Affine | None
) -> Callable[[], None]:
    _check(*tensors)
    x, v, s = (_array(tensor) for tensor in tensors)
    n_bins, n = x.shape
    is_packed = s.shape != x.shape
    keep, gain = _leaks(parameters, leak)
    channels = _channels(affine, gain, n)
    mark = s.dtype.type
    # of a bfloat16 1.0 the bits are the upper half of a float32's
    fired = mark(0x3F80 if s.dtype == np.uint16 else 1)
    is_hard = parameters.v_reset is not None
    rule = (*_singles(keep, parameters.v_threshold, parameters.v_reset or 0.0), is_hard, mark(0), fired)
    n_units = -(-n // _BLOCK)

    def run_alone() -> None:
        _forward_units((x, v), s, channels, rule, is_packed, (0, n_units))

    def run_together() -> None:
        with _ONE_AT_A_TIME:
            _forward_all((x, v), s, channels, rule, is_packed, n_units)

    return run_together if n_bins * n >= _PARALLEL_FROM else run_alone


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

    `x` and `v` are what forward was given; the leak's gradient, a scalar, is zero unless `leak` was given.
    """
    del marks
    grad_s, grad_v = gradients
    grad_x = torch.empty_like(x)
    by_unit = np.zeros(-(-x.shape[1] // _BLOCK))
    arrays = tuple(_array(tensor) for tensor in (x, grad_s, v, grad_v, grad_x))
    keep, gain = _leaks(parameters, leak)
    constants = _singles(keep, parameters.v_threshold, parameters.v_reset or 0.0, gain)
    is_hard = parameters.v_reset is not None
    flags = (is_hard, parameters.detach_reset, parameters.detach_membrane, parameters.decay_input, leak is not None)
    surrogate = (arithmetic.SURROGATES[parameters.surrogate], np.float32(parameters.alpha))
    if x.numel() >= _PARALLEL_FROM:
        with _ONE_AT_A_TIME:
            _backward_all(arrays, constants, flags, surrogate, by_unit)
    else:
        _backward_units(arrays, constants, flags, surrogate, by_unit, (0, by_unit.size))
    return grad_x, torch.tensor(by_unit.sum(), dtype=torch.float32)


def _leaks(parameters: LIFParameters, leak: Tensor | None) -> tuple[float, float]:
    """What a bin keeps of the membrane and takes of the current."""
    share = 1.0 / parameters.tau if leak is None else float(leak)
    return 1.0 - share, share if parameters.decay_input else 1.0


def _singles(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)


def _channels(affine: Affine | None, gain: float, n: int) -> tuple[Array, Array, int]:
    """Gain and bias of each channel, and how many neurons of one lie side by side."""
    if affine is None:
        return np.array([gain], np.float32), np.zeros(1, np.float32), max(n, 1)
    if n % (affine.scale.numel() * affine.inner):
        found = f"{affine.scale.numel()} channels of {affine.inner} neurons"
        raise ConfigurationError(f"{n} neurons are no whole number of times {found}")
    return _array(affine.scale * gain), _array(affine.shift * gain), affine.inner


def _array(tensor: Tensor) -> Array:
    """The memory of a contiguous tensor; bfloat16 as the bits that it is."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.uint16).numpy()
    return tensor.detach().numpy()


def _check(x: Tensor, v: Tensor, spikes: Tensor) -> None:
    """Refuse what the kernels would misread."""
    n_bins, n = x.shape
    if x.dtype not in (torch.float32, torch.bfloat16) or v.dtype != torch.float32:
        raise ConfigurationError(f"currents {x.dtype}, membranes {v.dtype}: on a CPU they are float32 or bfloat16, and float32")
    if spikes.dtype not in (torch.float32, torch.bfloat16, torch.uint8):
        raise ConfigurationError(f"spikes {spikes.dtype}: they are float32, bfloat16 or uint8")
    is_packed = spikes.dtype == torch.uint8 and spikes.shape == (n_bins, -(-n // 8))
    if v.shape != (n,) or not (spikes.shape == x.shape or is_packed):
        raise ConfigurationError(
            f"currents {tuple(x.shape)}, membranes {tuple(v.shape)}, spikes {tuple(spikes.shape)} do not fit"
        )
    if not all(tensor.is_contiguous() and tensor.device.type == "cpu" for tensor in (x, v, spikes)):
        raise ConfigurationError("currents, membranes and spikes must be contiguous and on the CPU")
