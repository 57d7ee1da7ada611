"""Curves of a training as a picture (SVG), from its log: loss, accuracy, learning rate and gradient's norm against steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.logs import read_lines

_WIDTH, _HEIGHT, _LEFT, _GAP, _BOTTOM = 720, 150, 70, 40, 30
_CURVES = (
    ("loss", "loss", "#b33"),
    ("accuracy", "accuracy of the batch", "#2a6fbb"),
    ("rate", "learning rate", "#777"),
    ("gradient", "norm of the gradient, before clipping", "#7a4fa3"),
)
# A picture shows no more points than it has columns of pixels: steps are averaged in so many groups.
_N_POINTS = 200


def write_curves(log: Path, picture: Path) -> bool:
    """Draw the log at `log` into `picture`; False where it holds no step yet."""
    lines = list(read_lines(log))
    if lines:
        picture.write_text(draw_curves(lines), encoding="utf-8")
    return bool(lines)


def draw_curves(lines: Sequence[dict[str, Any]]) -> str:
    """SVG of the lines of a log, one curve below the other; each point is the mean of neighbouring steps."""
    drawn = [curve for curve in _CURVES if any(curve[0] in line for line in lines)]
    height = len(drawn) * (_HEIGHT + _GAP) + _BOTTOM
    last = int(lines[-1]["step"])
    body = ""
    for i, (name, title, colour) in enumerate(drawn):
        points = means([(line["step"], line[name]) for line in lines if name in line])
        body += _curve(points, title, colour, _GAP + i * (_HEIGHT + _GAP), last)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>{body}'
        f'<text x="{_LEFT}" y="{height - 8}">0</text>'
        f'<text x="{_WIDTH - 20}" y="{height - 8}" text-anchor="end">step {last:,}</text></svg>\n'
    )


def means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (step, value) in at most `_N_POINTS` groups of neighbours: the mean of each."""
    each = -(-len(points) // _N_POINTS)
    groups = [points[i : i + each] for i in range(0, len(points), each)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _curve(points: Sequence[tuple[float, float]], title: str, colour: str, top: float, last: int) -> str:
    """One curve with its own scale: from 0, or from its smallest value below that, to its largest."""
    values = [value for _, value in points]
    low, high = min(0.0, *values), max(values)
    span = high - low or 1.0
    bottom = top + _HEIGHT
    places = ((_LEFT + step / last * (_WIDTH - _LEFT - 20), bottom - (value - low) / span * _HEIGHT) for step, value in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return (
        f'<text x="{_LEFT}" y="{top - 8}" fill="{colour}">{title}</text>'
        f'<text x="{_LEFT - 6}" y="{top + 8}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - 20}" y2="{bottom}" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    )
