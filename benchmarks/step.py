"""What one bin costs against events, on one core, beside the dense floor: JSON, and a picture for docs/performance.md.

`python benchmarks/step.py [--repeats 3] [--out FILE] [--picture FILE.svg]`
"""

import argparse
from pathlib import Path
from typing import Any

from provenance import commit, leave

from app.bench.step import measure_on_one_core
from app.bench.timing import describe_machine

_RATES = (0, 30, 100, 300, 1000, 3000, 10_000)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 320, 60, 50


def draw(found: dict[str, Any]) -> str:
    """Cost as a share of the floor against events a bin, as SVG; the first point is the empty bin."""
    rows = found["rates"]
    top = max(1.2, *(row["ratio_to_floor"] for row in rows)) * 1.05
    step = (_WIDTH - _LEFT - 40) / (len(rows) - 1)

    def place(i: int, ratio: float) -> tuple[float, float]:
        return _LEFT + i * step, _HEIGHT - _BOTTOM - ratio / top * (_HEIGHT - _BOTTOM - 20)

    points = [place(i, row["ratio_to_floor"]) for i, row in enumerate(rows)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2a6fbb"/>' for x, y in points)
    labels = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{row["events_per_bin"]:,}</text>'
        f'<text x="{x:.1f}" y="{y + (17 if row["ratio_to_floor"] < 1 else -9):.1f}" text-anchor="middle">'
        f"{row['ratio_to_floor']:.2f}</text>"
        for (x, y), row in zip(points, rows, strict=True)
    )
    (left, floor), (right, _) = place(0, 1.0), place(len(rows) - 1, 1.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f'<line x1="{left}" y1="{floor:.1f}" x2="{right}" y2="{floor:.1f}" stroke="#b33" stroke-dasharray="5 4"/>'
        f'<text x="{left}" y="{floor - 6:.1f}" fill="#b33">dense matrix products</text>'
        f'<line x1="{left}" y1="{_HEIGHT - _BOTTOM}" x2="{right}" y2="{_HEIGHT - _BOTTOM}" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="#2a6fbb" stroke-width="2"/>{dots}{labels}'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">events in a bin</text>'
        f'<text x="16" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {_HEIGHT / 2})">'
        f"processor time of a bin, floor = 1</text></svg>\n"
    )


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    found = measure_on_one_core(_RATES, arguments.repeats)
    leave({**found, "machine": describe_machine(), "commit": commit()}, arguments.out)
    if arguments.picture is not None:
        arguments.picture.write_text(draw(found))


if __name__ == "__main__":
    main()
