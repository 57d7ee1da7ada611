"""Which limit does each layer of a bin meet, memory or arithmetic? JSON, and a picture for docs/performance.md.

`python benchmarks/roofline.py [--out FILE] [--picture FILE.svg]`: Spikformer + TIM 2-256 at 2x128x128 on simulated events, one
core, processor time. A layer stands at the operations that it does (two for each weight of an active input, four for each
neuron) for each byte that must move (weights, input, membranes to and fro, spikes); the roofs are the copy rate and the rate of
one large matrix product, measured in the same run.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from provenance import commit, leave

from app.bench.step import EVENTS, cpu_ms, make_frames, make_network
from app.bench.timing import describe_machine
from models.engine.compiled import compile_network
from models.engine.steps import Convolve

_RUNS = 30
_LARGE = 1024
_COPIED = 16_000_000
_FLOPS_OF_A_NEURON = 4
_FLOAT = 4
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 620, 360, 60, 46, 20
_X, _Y = (0.05, 200.0), (0.5, 300.0)


def measure() -> dict[str, Any]:
    """Both roofs, and every layer that takes a share of the bin."""
    torch.set_num_threads(1)
    compiled = compile_network(make_network())
    frames = make_frames(EVENTS)
    for frame in (*frames, *frames):  # until membranes have settled
        compiled.step(frame[None])
    with torch.inference_mode():
        convolutions = [step for step in compiled.plan.steps if isinstance(step, Convolve)]
        layers = [_layer(step) for step in convolutions if step.firing.v.size and step.scan.n_active]
        a, b, out = torch.rand(_LARGE, _LARGE), torch.rand(_LARGE, _LARGE), torch.empty(_LARGE, _LARGE)
        source, target = torch.rand(_COPIED), torch.empty(_COPIED)
        product_ms = _least_ms(lambda: torch.mm(a, b, out=out))
        copy_ms = _least_ms(lambda: target.copy_(source))
    return {
        "gflop_s": 2 * _LARGE**3 / product_ms / 1e6,
        "copy_gb_s": 2 * _FLOAT * _COPIED / copy_ms / 1e6,
        "layers": layers,
        "machine": describe_machine(),
        "commit": commit(),
    }


def _least_ms(run: Any) -> float:
    return min(cpu_ms(run) for _ in range(_RUNS))


def _layer(step: Convolve) -> dict[str, Any]:
    n_neurons, density = step.firing.spikes.size, step.scan.n_active / step.scan.x.size
    flops = 2 * step.macs * density + _FLOPS_OF_A_NEURON * n_neurons
    n_bytes = _FLOAT * (step.weights.weight.size + step.scan.x.size + 3 * n_neurons)
    taken_ms = _least_ms(partial(step.run_sparse, 1))
    return {
        "neurons": n_neurons,
        "density": density,
        "ms": taken_ms,
        "intensity": flops / n_bytes,
        "gflop_s": flops / taken_ms / 1e6,
    }


def draw(found: dict[str, Any]) -> str:
    """Layers below both roofs, as SVG; both axes are logarithmic, a dot's area is its time."""
    peak, copy = found["gflop_s"], found["copy_gb_s"]

    def place(intensity: float, rate: float) -> tuple[float, float]:
        x = math.log(intensity / _X[0]) / math.log(_X[1] / _X[0])
        y = math.log(max(rate, _Y[0]) / _Y[0]) / math.log(_Y[1] / _Y[0])
        return _LEFT + x * (_WIDTH - _LEFT - 20), _HEIGHT - _BOTTOM - y * (_HEIGHT - _BOTTOM - _TOP)

    corner = peak / copy
    roof = [place(max(_X[0], _Y[0] / copy), max(_X[0] * copy, _Y[0])), place(corner, peak), place(_X[1], peak)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in roof)
    longest = max(layer["ms"] for layer in found["layers"])
    dots = []
    for layer in found["layers"]:
        x, y = place(layer["intensity"], layer["gflop_s"])
        radius = 3 + 9 * math.sqrt(layer["ms"] / longest)
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#2a6fbb" fill-opacity="0.55" stroke="#2a6fbb"/>')
    ticks = []
    for value in (0.1, 1, 10, 100):
        x, _ = place(value, _Y[0])
        ticks.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    for value in (1, 10, 100):
        _, y = place(_X[0], value)
        ticks.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        ticks.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - 20}" y2="{y:.1f}" stroke="#eee"/>')
    (slope_x, slope_y), (flat_x, flat_y) = place(corner / 6, peak / 6), place(_X[1], peak)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>{"".join(ticks)}'
        f'<line x1="{_LEFT}" y1="{_HEIGHT - _BOTTOM}" x2="{_WIDTH - 20}" y2="{_HEIGHT - _BOTTOM}" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="#b33" stroke-width="2"/>{"".join(dots)}'
        f'<text x="{slope_x - 8:.1f}" y="{slope_y:.1f}" text-anchor="end" fill="#b33">copy, {copy:.1f} GB/s</text>'
        f'<text x="{flat_x:.1f}" y="{flat_y - 7:.1f}" text-anchor="end" fill="#b33">matrix product, {peak:.0f} GFLOP/s</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">operations done for each byte that must move</text>'
        f'<text x="16" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {_HEIGHT / 2})">GFLOP/s</text></svg>\n'
    )


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    found = measure()
    leave(found, arguments.out)
    if arguments.picture is not None:
        arguments.picture.write_text(draw(found))


if __name__ == "__main__":
    main()
