"""What one thread of a GPU does to a few neighbouring neurons through all bins: forward and backward, for either target.

A body is made for one form (types, reset, surrogate), which are constants to the compiler. It takes numbers, addresses and
registers alone; `Tools` says how its parts are compiled, so that the same code runs on a GPU, in numba's simulator, and on a
CPU for the tests. Backward finds the potentials of `HELD_BINS` bins again and keeps them in registers; where there are more
bins, forward leaves the membranes that every further stretch begins from, its marks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from models.kernels import arithmetic
from models.kernels.arithmetic import ONE, ZERO
from models.kernels.vectors import SIZES, Kind

# Neurons of a thread: sixteen bytes of bfloat16 or one byte of bits; backward has the registers for half as many.
FORWARD_WIDTH, BACKWARD_WIDTH = 8, 4
HELD_BINS = 16

_MEMBRANE_BYTES = SIZES["float32"]


class Tools(NamedTuple):
    """Compiles a function for threads, and makes functions that move values: `make_load`, `make_store` as in `vectors`."""

    jit: Callable[[Callable[..., Any]], Any]
    make_load: Callable[..., Any]
    make_store: Callable[..., Any]
    decaying_exp: Callable[..., Any]


class ForwardForm(NamedTuple):
    """`is_whole`: rows of neurons lie so that vectors can be moved. `spikes` None: eight neurons in the bits of a byte."""

    currents: Kind
    spikes: Kind | None
    is_whole: bool
    is_hard: bool
    is_leak_learned: bool
    decays_input: bool
    has_affine: bool


class BackwardForm(NamedTuple):
    """As `ForwardForm`; gradients of spikes and currents are of the currents' kind."""

    currents: Kind
    is_whole: bool
    is_hard: bool
    is_leak_learned: bool
    decays_input: bool
    is_reset_detached: bool
    is_membrane_detached: bool
    surrogate: str


def _make_gather(tools: Tools, kind: Kind, width: int, is_whole: bool, is_constant: bool = False) -> Any:
    """`gather(address, row, at, n, into)`: values of a row of `n`, from the one at `at`; what lies beyond the row is 0."""
    load, size = tools.make_load(kind, width if is_whole else 1, is_constant), SIZES[kind]

    def gather_whole(address: int, row: int, at: int, n: int, into: Any) -> None:
        load(address + (row * n + at) * size, into, 0)

    def gather_some(address: int, row: int, at: int, n: int, into: Any) -> None:
        for k in range(width):
            into[k] = ZERO
            if at + k < n:
                load(address + (row * n + at + k) * size, into, k)

    return tools.jit(gather_whole if is_whole else gather_some)


def _make_scatter(tools: Tools, kind: Kind, width: int, is_whole: bool) -> Any:
    """`scatter(address, row, at, n, values)`: the opposite of gather."""
    store, size = tools.make_store(kind, width if is_whole else 1), SIZES[kind]

    def scatter_whole(address: int, row: int, at: int, n: int, values: Any) -> None:
        store(address + (row * n + at) * size, values, 0)

    def scatter_some(address: int, row: int, at: int, n: int, values: Any) -> None:
        for k in range(width):
            if at + k < n:
                store(address + (row * n + at + k) * size, values, k)

    return tools.jit(scatter_whole if is_whole else scatter_some)


def _make_bits(tools: Tools) -> Any:
    """`scatter` of spikes as bits: a row has ceil(n / 8) bytes, the first neuron is the lowest bit."""
    store = tools.make_store("uint8", 1)
    weights = tuple(arithmetic.ONE * 2**k for k in range(FORWARD_WIDTH))

    def scatter_bits(address: int, row: int, at: int, n: int, values: Any) -> None:
        byte = ZERO
        for k in range(FORWARD_WIDTH):
            if at + k < n:
                byte += values[k] * weights[k]
        values[0] = byte
        store(address + row * ((n + FORWARD_WIDTH - 1) // FORWARD_WIDTH) + at // FORWARD_WIDTH, values, 0)

    return tools.jit(scatter_bits)


def _make_leaks(tools: Tools, is_leak_learned: bool, decays_input: bool) -> Any:
    """`leaks(address, constants, register)`: keep and gain, of the constants or of a leak in the GPU's memory."""
    load = tools.make_load(kind="float32", width=1, is_constant=True)

    def read(address: int, constants: Any, register: Any) -> Any:  # noqa: ARG001 # one shape for both
        load(address, register, 0)
        return ONE - register[0], register[0] if decays_input else ONE

    def given(address: int, constants: Any, register: Any) -> Any:  # noqa: ARG001 # one shape for both
        return constants[0], constants[1]

    return tools.jit(read if is_leak_learned else given)


def make_forward(form: ForwardForm, tools: Tools) -> Any:
    """`forward(i, sizes, addresses, constants, registers)` of thread `i`.

    Sizes: neurons, bins, channels, neurons of a channel side by side. Addresses: currents, membranes (changed), spikes, marks
    (0 for none), leak, scale, shift. Constants, float32: keep, gain, threshold, reset. Registers: 4 arrays of `FORWARD_WIDTH`.
    """
    width = FORWARD_WIDTH
    charge, settle = tools.jit(arithmetic.charge), tools.jit(arithmetic.settle)
    leaks = _make_leaks(tools, form.is_leak_learned, form.decays_input)
    gather = _make_gather(tools, form.currents, width, form.is_whole, is_constant=True)
    gather_membrane = _make_gather(tools, "float32", width, form.is_whole)
    scatter_membrane = _make_scatter(tools, "float32", width, form.is_whole)
    scatter = _make_bits(tools) if form.spikes is None else _make_scatter(tools, form.spikes, width, form.is_whole)
    gather_channel = _make_gather(tools, "float32", 1, is_whole=True, is_constant=True)
    is_hard, has_affine = form.is_hard, form.has_affine

    def forward(i: int, sizes: Any, addresses: Any, constants: Any, registers: Any) -> None:
        n, n_bins, n_channels, inner = sizes
        x, v, s, marks, leak, scale, shift = addresses
        membrane, current, gains, biases = registers
        at = i * width
        keep, gain = leaks(leak, constants, current)
        threshold, reset = constants[2], constants[3]
        for k in range(width):
            gains[k], biases[k] = gain, ZERO
        if has_affine:
            for k in range(width):
                channel = (at + k) // inner % n_channels
                gather_channel(scale, channel, 0, 1, current)
                gains[k] = gain * current[0]
                gather_channel(shift, channel, 0, 1, current)
                biases[k] = gain * current[0]
        gather_membrane(v, 0, at, n, membrane)
        for t in range(n_bins):
            if marks != 0 and t > 0 and t % HELD_BINS == 0:
                scatter_membrane(marks, t // HELD_BINS - 1, at, n, membrane)
            gather(x, t, at, n, current)
            for k in range(width):
                h = charge(membrane[k], current[k], keep, gains[k], biases[k])
                membrane[k] = settle(h, threshold, reset, is_hard)
                current[k] = ONE if h >= threshold else ZERO
            scatter(s, t, at, n, current)
        scatter_membrane(v, 0, at, n, membrane)

    return tools.jit(forward)


def _make_slope(tools: Tools, surrogate: str) -> Any:
    decaying_exp, curve = tools.decaying_exp, tools.jit(getattr(arithmetic, f"{surrogate}_slope"))

    def by_exp(u: Any, alpha: Any) -> Any:
        return curve(decaying_exp(abs(alpha * u)), alpha)

    return tools.jit(by_exp) if surrogate == "sigmoid" else curve


def _make_recall(form: BackwardForm, tools: Tools) -> Any:
    """`recall(...)`: fill `held` with the potentials of `HELD_BINS` bins from bin `first`, from the membranes before it."""
    width, is_hard = BACKWARD_WIDTH, form.is_hard
    charge, settle = tools.jit(arithmetic.charge), tools.jit(arithmetic.settle)
    gather = _make_gather(tools, form.currents, width, form.is_whole, is_constant=True)

    def recall(x: int, first: int, at: int, sizes: Any, constants: Any, registers: Any) -> None:
        n, n_bins = sizes
        keep, gain, threshold, reset = constants
        held, membrane, current = registers
        # a constant number of rounds, which the compiler unrolls: only so are the potentials registers
        for j in range(HELD_BINS):
            if first + j < n_bins:
                gather(x, first + j, at, n, current)
                for k in range(width):
                    h = charge(membrane[k], current[k], keep, gain, ZERO)
                    held[j, k] = h
                    membrane[k] = settle(h, threshold, reset, is_hard)

    return tools.jit(recall)


def _make_unwind(form: BackwardForm, tools: Tools) -> Any:
    """`unwind(...)`: the bins of one stretch from the last to the first; gain times the share of the leak's gradient.

    To the leak, H's derivative is x - v with decay_input, which is (H - v) / gain, and -v without, where the gain is 1.
    """
    width = BACKWARD_WIDTH
    settle, through, slope_of = tools.jit(arithmetic.settle), tools.jit(arithmetic.through), _make_slope(tools, form.surrogate)
    gather = _make_gather(tools, form.currents, width, form.is_whole, is_constant=True)
    scatter = _make_scatter(tools, form.currents, width, form.is_whole)
    is_hard, is_leak_learned, by_input = form.is_hard, form.is_leak_learned, ONE if form.decays_input else ZERO
    by_reset, by_time = ZERO if form.is_reset_detached else ONE, ZERO if form.is_membrane_detached else ONE

    def unwind(addresses: Any, first: int, at: int, sizes: Any, constants: Any, registers: Any) -> Any:
        n, n_bins = sizes
        grad_s, grad_x = addresses
        keep, gain, threshold, reset, alpha = constants
        held, carried, current, later = registers
        total = ZERO
        for j in range(HELD_BINS - 1, -1, -1):
            if first + j < n_bins:
                # what comes back to the membrane after the very last bin was not kept by a further one
                factor = ONE if first + j == n_bins - 1 else keep * by_time
                gather(grad_s, first + j, at, n, current)
                for k in range(width):
                    h = held[j, k]
                    slope = slope_of(h - threshold, alpha)
                    passed = through(h, slope * by_reset, threshold, reset, is_hard)
                    if is_leak_learned:
                        # of the bin after this one, whose membrane before it is known now; the last bin has none after it
                        if first + j < n_bins - 1:
                            total += carried[k] * (later[k] - settle(h, threshold, reset, is_hard))
                        later[k] = h * by_input
                    carried[k] = current[k] * slope + carried[k] * factor * passed
                    current[k] = carried[k] * gain
                scatter(grad_x, first + j, at, n, current)
        return total

    return tools.jit(unwind)


def make_backward(form: BackwardForm, tools: Tools) -> Any:
    """`backward(i, sizes, addresses, constants, registers)` of thread `i`; its share of the leak's gradient.

    Sizes: neurons, bins. Addresses: currents, gradients of spikes, first membranes, gradients of the last membranes (changed to
    those of the first), gradients of currents (filled), marks, leak. Constants, float32: keep, gain, threshold, reset, alpha.
    Registers: an array (`HELD_BINS`, `BACKWARD_WIDTH`) and 5 of `BACKWARD_WIDTH`.
    """
    width = BACKWARD_WIDTH
    leaks = _make_leaks(tools, form.is_leak_learned, form.decays_input)
    recall, unwind = _make_recall(form, tools), _make_unwind(form, tools)
    gather = _make_gather(tools, "float32", width, form.is_whole)
    scatter = _make_scatter(tools, "float32", width, form.is_whole)
    by_time, is_leak_learned = ZERO if form.is_membrane_detached else ONE, form.is_leak_learned

    def backward(i: int, sizes: Any, addresses: Any, constants: Any, registers: Any) -> Any:
        n, n_bins = sizes
        x, grad_s, v, grad_v, grad_x, marks, leak = addresses
        held, membrane, current, carried, later, start = registers
        at = i * width
        keep, gain = leaks(leak, constants, current)
        threshold, reset, alpha = constants[2], constants[3], constants[4]
        gather(grad_v, 0, at, n, carried)
        total = ZERO
        for stretch in range((n_bins - 1) // HELD_BINS, -1, -1):
            if stretch > 0:
                gather(marks, stretch - 1, at, n, start)
            else:
                gather(v, 0, at, n, start)
            for k in range(width):
                membrane[k] = start[k]
            first = stretch * HELD_BINS
            recall(x, first, at, sizes, (keep, gain, threshold, reset), (held, membrane, current))
            rules = (keep, gain, threshold, reset, alpha)
            total += unwind((grad_s, grad_x), first, at, sizes, rules, (held, carried, current, later))
        for k in range(width):
            if is_leak_learned:
                total += carried[k] * (later[k] - start[k])
            carried[k] *= keep * by_time
        scatter(grad_v, 0, at, n, carried)
        return total / gain

    return tools.jit(backward)
