"""Numba kernels of the engine: layers that skip what is zero, and neurons that fire in place; float32, channels last.

A scan lists the inputs of each place that are not zero. A layer adds the weights of those alone, so its cost grows with events
and spikes. One row of the map stays in a core's first cache from its currents to its spikes. Maps are (B, H, W, C).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from models.engine.vectors import LANES, MASK_LANES, add_rows_8, add_rows_32, add_rows_64, lowest, nonzero

Floats = npt.NDArray[np.float32]
# Sizes of a convolution, (7, 2) along y and x: map in, map out, kernel, stride, padding, dilation, and (groups, C' / groups).
Geometry = npt.NDArray[np.int64]

# Output channels that are worked on together, so that their weights stay in a core's second cache: 64 floats are four lines.
BLOCK = 64

# A line that sends each place fewer items than this on average is added by its own columns, not by places.
_FEW = 4

# Kinds of neurons, as the kernels know them.
DECAYING, PLAIN_INPUT, COUNTING = 0, 1, 2


class Lists(NamedTuple):
    """What is not zero on a map (B, H, W, C): of row r and column x the items `ends[r, x]` .. `ends[r, x + 1]` of line r.

    `ends` (B * H, W + 1); `keys` and `values` flat (B * H, W * C). A key is x * C + channel.
    """

    ends: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int32]
    values: Floats


class Weights(NamedTuple):
    """Weights, flat (blocks, taps, C, BLOCK), the last block as wide as what is left, and bias (C',).

    A tap is ky * kernel width + kx. Weights of a convolution in groups are flat (taps, C, C' / groups).
    """

    weight: Floats
    bias: Floats


class Firing(NamedTuple):
    """A layer of neurons, flat (B, H, W, C): membranes and spikes, both written in place, and its constants.

    Constants (6,): kind, 1 / tau, v_threshold, v_reset, 1 where the reset is hard, n_levels; names as in `models.functional`.
    """

    v: Floats
    spikes: Floats
    constants: Floats


@njit(cache=True, nogil=True, error_model="numpy")
def scan_rows(first: int, step: int, x: Floats, reach: npt.NDArray[np.int64], lists: Lists) -> tuple[float, float, int]:
    """Every `step`-th row of all streams' maps from row `first` on: as `scan`."""
    height, width = reach.shape
    length = x.size // lists.ends.shape[0]
    n_channels = length // width
    ends, keys, values = lists.ends, lists.keys, lists.values
    n_spikes, additions, n_active = 0.0, 0.0, 0
    for row in range(first, ends.shape[0], step):
        start = row * length
        n = start
        ends[row, 0] = n
        for column in range(width):
            here = 0.0
            channel, stop = column * n_channels, (column + 1) * n_channels
            while channel + MASK_LANES <= stop:
                bits = nonzero(x, start + channel)
                while bits:
                    key = channel + lowest(bits)
                    value = x[start + key]
                    keys[n], values[n] = key, value
                    here += value
                    n += 1
                    bits &= bits - 1
                channel += MASK_LANES
            for key in range(channel, stop):
                value = x[start + key]
                if value != 0.0:
                    keys[n], values[n] = key, value
                    here += value
                    n += 1
            ends[row, column + 1] = n
            n_spikes += here
            additions += here * reach[row % height, column]
        n_active += n - start
    return n_spikes, additions, n_active


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def scan(x: Floats, reach: npt.NDArray[np.int64], lists: Lists, n_threads: int) -> tuple[float, float, int]:
    """Fill `lists` from the map `x`, flat (B, H, W, C); sum of all spikes, of those times `reach` (H, W), items listed."""
    n_spikes, additions, n_active = 0.0, 0.0, 0
    for thread in prange(n_threads):
        here = scan_rows(thread, n_threads, x, reach, lists)
        n_spikes += here[0]
        additions += here[1]
        n_active += here[2]
    return n_spikes, additions, n_active


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source: Floats, target: Floats) -> None:
    """`target[:] = source`, which numba would look at for overlaps and shapes each time."""
    for i in range(source.size):
        target[i] = source[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _gather_row(row: int, block: int, lists: Lists, weights: Weights, geometry: Geometry, sums: tuple[Floats, Floats]) -> bool:
    """Fill `sums[0]`, flat (W', BLOCK), of one block of channels of output row `row` (of all streams together).

    `sums[1]` is what it holds where nothing reaches it; False and nothing filled where that is so of the whole row. In a
    convolution in groups an input reaches the outputs of its own group alone, and all channels are one block.
    """
    currents, biases = sums
    height, width, out_height, out_width = geometry[0, 0], geometry[0, 1], geometry[1, 0], geometry[1, 1]
    kernel_y, kernel_x, n_groups, share = geometry[2, 0], geometry[2, 1], geometry[6, 0], geometry[6, 1]
    n_in = lists.keys.size // (lists.ends.shape[0] * width)
    n_out = currents.size // out_width
    table, length = (block * BLOCK * kernel_y * kernel_x * n_in, n_out) if n_groups == 1 else (0, share)
    is_reached = False
    for ky in range(kernel_y):
        y = row % out_height * geometry[3, 0] - geometry[4, 0] + ky * geometry[5, 0]
        line = row // out_height * height + y
        if y < 0 or y >= height or lists.ends[line, 0] == lists.ends[line, width]:
            continue
        if not is_reached:
            _copy(biases, currents)
            is_reached = True
        shift = table + ky * kernel_x * n_in * length
        n_items = lists.ends[line, width] - lists.ends[line, 0]
        if n_groups > 1 or n_items * kernel_x < _FEW * out_width:
            _add_few(line, shift, lists, weights.weight, geometry, currents)
        else:
            _add_many(line, shift, lists, weights.weight, geometry, currents)
    return is_reached


@njit(cache=True, nogil=True, error_model="numpy")
def _add_many(line: int, shift: int, lists: Lists, table: Floats, geometry: Geometry, currents: Floats) -> None:
    """Add what input row `line` sends to a row of outputs, place by place: sums stay in registers for many items each."""
    width, out_width, kernel_x = geometry[0, 1], geometry[1, 1], geometry[2, 1]
    n_in = lists.keys.size // (lists.ends.shape[0] * width)
    length = currents.size // out_width
    # taps beside each other read columns beside each other, unless they are dilated
    n_reads, span = (1, kernel_x) if geometry[5, 1] == 1 else (kernel_x, 1)
    for out_x in range(out_width):
        for read in range(n_reads):
            x = out_x * geometry[3, 1] - geometry[4, 1] + read * geometry[5, 1]
            item, last = lists.ends[line, min(max(x, 0), width)], lists.ends[line, max(min(x + span, width), 0)]
            if item < last:
                here = shift + (read - x) * n_in * length
                _add_rows(currents, out_x * length, table, length, here, lists, item, last)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_few(line: int, shift: int, lists: Lists, table: Floats, geometry: Geometry, currents: Floats) -> None:
    """The same sums in the same order, input column by column: most places have nothing to add, and are not looked at."""
    width, out_width, kernel_x = geometry[0, 1], geometry[1, 1], geometry[2, 1]
    stride, padding, dilation = geometry[3, 1], geometry[4, 1], geometry[5, 1]
    n_groups, n_out = geometry[6, 0], currents.size // out_width
    n_in = lists.keys.size // (lists.ends.shape[0] * width)
    length = n_out if n_groups == 1 else geometry[6, 1]
    for x in range(width):
        begin, last = lists.ends[line, x], lists.ends[line, x + 1]
        if begin == last:
            continue
        for kx in range(kernel_x):
            reach = x + padding - kx * dilation
            out_x = reach if stride == 1 else reach // stride
            if reach < 0 or reach != out_x * stride or out_x >= out_width:
                continue
            here = shift + (kx - x) * n_in * length
            item = begin
            while item < last:
                place, stop = out_x * n_out, last
                if n_groups > 1:
                    place, stop = place + lists.keys[item] % n_in // (n_in // n_groups) * length, item + 1
                _add_rows(currents, place, table, length, here, lists, item, stop)
                item = stop


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(  # noqa: PLR0913 # numbers, for tuples of them would be made for every place
    sums: Floats, place: int, table: Floats, length: int, shift: int, lists: Lists, first: int, last: int
) -> None:
    """Add to `length` sums from `place` on the rows of `table` that items `first` .. `last` name, each times its value."""
    c = 0
    while c + 64 <= length:
        add_rows_64(sums, place + c, table, shift + c, length, lists.keys, lists.values, first, last)
        c += 64
    if c + 32 <= length:
        add_rows_32(sums, place + c, table, shift + c, length, lists.keys, lists.values, first, last)
        c += 32
    while c + LANES <= length:
        add_rows_8(sums, place + c, table, shift + c, length, lists.keys, lists.values, first, last)
        c += LANES
    if c < length:
        for j in range(first, last):
            for i in range(c, length):
                sums[place + i] += lists.values[j] * table[shift + lists.keys[j] * length + i]


@njit(cache=True, nogil=True, error_model="numpy")
def fire(currents: Floats, firing: Firing, place: int, n_places: int, length: int, stride: int) -> int:
    """One bin of `n_places` times `length` neurons, the first at `place`, places `stride` apart; how many spikes.

    `currents` are theirs alone, side by side.
    """
    constants = firing.constants
    kind, gain, threshold, reset, is_hard = constants[0], constants[1], constants[2], constants[3], constants[4] > 0.0
    top, one, zero = constants[5], np.float32(1.0), np.float32(0.0)
    total = 0
    for x in range(n_places):
        # slices, for a sum of indices may be negative to numba, and then the loops are not vectorised
        at = place + x * stride
        v, spikes, current = (
            firing.v[at : at + length],
            firing.spikes[at : at + length],
            currents[x * length : (x + 1) * length],
        )
        here: Any = np.int32(0)
        if kind == COUNTING:
            for i in range(length):
                h = v[i] + current[i]
                s = np.float32(np.rint(min(max(h, zero), top)))
                v[i] = h - s
                spikes[i] = s
                here += np.int32(s)
        elif kind == DECAYING and is_hard:
            for i in range(length):
                h = v[i] + (current[i] - v[i]) * gain
                is_fired = h - threshold >= zero
                v[i] = reset if is_fired else h
                spikes[i] = one if is_fired else zero
                here += np.int32(is_fired)
        else:
            for i in range(length):
                h = v[i] + (current[i] - v[i]) * gain if kind == DECAYING else v[i] - v[i] * gain + current[i]
                is_fired = h - threshold >= zero
                s = one if is_fired else zero
                v[i] = (reset if is_fired else h) if is_hard else h - s * threshold
                spikes[i] = s
                here += np.int32(is_fired)
        total += here
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(row: Floats, table: Floats, n_times: int) -> None:
    """Write `row` `n_times` into the front of `table`."""
    for time in range(n_times):
        _copy(row, table[time * row.size : (time + 1) * row.size])


@njit(cache=True, nogil=True, error_model="numpy")
def gather_share(share: int, n_shares: int, lists: Lists, weights: Weights, geometry: Geometry, firing: Firing) -> int:
    """One of `n_shares` equal parts of what `gather` does: blocks one after the other, for their weights stay in the cache."""
    width, n_out = geometry[1, 1], weights.bias.size
    block_size = min(BLOCK, n_out) if geometry[6, 0] == 1 else n_out
    n_rows, n_blocks = firing.spikes.size // (width * n_out), (n_out + block_size - 1) // block_size
    buffer, at_rest = np.empty(width * block_size, np.float32), np.empty(width * block_size, np.float32)
    tiled = -1  # the block whose biases `at_rest` has, once for each place
    total = 0
    for unit in range(n_rows * n_blocks * share // n_shares, n_rows * n_blocks * (share + 1) // n_shares):
        block, row = unit // n_rows, unit % n_rows
        length = min(block_size, n_out - block * block_size)
        if block != tiled:
            _tile(weights.bias[block * block_size : block * block_size + length], at_rest, width)
            tiled = block
        biases = at_rest[: width * length]
        currents = buffer[: width * length]
        if not _gather_row(row, block, lists, weights, geometry, (currents, biases)):
            currents = biases
        place = row * width * n_out + block * block_size
        if firing.v.size:
            n_places = 1 if length == n_out else width  # one run of neurons where blocks do not part them
            total += fire(currents, firing, place, n_places, width * length // n_places, n_out)
        else:
            for x in range(width):
                at = place + x * n_out
                _copy(currents[x * length : (x + 1) * length], firing.spikes[at : at + length])
    return total


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def gather(lists: Lists, weights: Weights, geometry: Geometry, firing: Firing, n_threads: int) -> int:
    """A convolution of listed inputs and the neurons behind it, how many spikes; without membranes, currents in their place."""
    total = 0
    for thread in prange(n_threads):
        total += gather_share(thread, n_threads, lists, weights, geometry, firing)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def pool_rows(first: int, step: int, x: Floats, out: Floats, geometry: Geometry) -> None:
    """Every `step`-th output row of a max-pool: flat maps (B, H, W, C), of spikes the OR."""
    height, width, out_height, out_width = geometry[0, 0], geometry[0, 1], geometry[1, 0], geometry[1, 1]
    n_channels = geometry[6, 1]
    length, out_length = width * n_channels, out_width * n_channels
    column = np.empty(length, np.float32)
    for row in range(first, out.size // out_length, step):
        top = row % out_height * geometry[3, 0] - geometry[4, 0]
        begin, end = max(top, 0), min(top + geometry[2, 0], height)
        source = row // out_height * height * length
        _copy(x[source + begin * length : source + (begin + 1) * length], column)
        for y in range(begin + 1, end):
            _take_higher(column, x[source + y * length : source + (y + 1) * length])
        for out_x in range(out_width):
            left = out_x * geometry[3, 1] - geometry[4, 1]
            left, right = max(left, 0), min(left + geometry[2, 1], width)
            place = row * out_length + out_x * n_channels
            here = out[place : place + n_channels]
            _copy(column[left * n_channels : (left + 1) * n_channels], here)
            for other in range(left + 1, right):
                _take_higher(here, column[other * n_channels : (other + 1) * n_channels])


@njit(cache=True, nogil=True, error_model="numpy")
def _take_higher(highest: Floats, others: Floats) -> None:
    """Raise `highest` to `others` where those are higher."""
    for i in range(highest.size):
        # max() would also look for NaN, and not be vectorised
        highest[i] = others[i] if others[i] > highest[i] else highest[i]


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def pool(x: Floats, out: Floats, geometry: Geometry, n_threads: int) -> None:
    """Max-pool of flat maps (B, H, W, C)."""
    for thread in prange(n_threads):
        pool_rows(thread, n_threads, x, out, geometry)
