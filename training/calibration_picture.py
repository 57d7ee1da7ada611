"""Draws the comparison of real and simulated events as one SVG: the statistics, and pictures of simulated events.

The real clips are other people's data: of them only the statistics are drawn.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import Events
from pipeline.simulator import DVS128

_WIDTH, _ROW, _TOP, _LEFT, _RIGHT = 900, 24, 40, 330, 30
# Events of one picture: as many clips a row, each at one moment.
_SPAN_US = 33_000
_AT_US = 500_000
_N_CLIPS = 10
_TILE = (_WIDTH - 2 * 20) // _N_CLIPS
_REAL, _MADE = "#b3402a", "#2a6fbb"


def draw_comparison(rows: dict[str, Any], titles: dict[str, str], made: Sequence[Events]) -> str:
    """SVG: a line for each statistic, simulated range as a bar and real clips as dots; below, events of made clips."""
    height = _TOP + _ROW * len(rows) + 2 * 20 + _TILE
    below = _TOP + _ROW * len(rows) + 16
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" fill="{_MADE}">bar: simulated clips, 10 to 90 %, and median</text>',
        f'<text x="{_LEFT + 290}" y="20" fill="{_REAL}">dots: real clips</text>',
        *_statistic_lines(rows, titles),
        f'<text x="20" y="{below}" fill="{_MADE}">simulated clips, events of 33 ms</text>',
        *_tiles(made, below + 6),
    ]
    return "\n".join(body) + "\n</svg>\n"


def _statistic_lines(rows: dict[str, Any], titles: dict[str, str]) -> Iterator[str]:
    """One line a statistic, each on a scale of its own from the least to the most that is drawn."""
    for index, (name, row) in enumerate(rows.items()):
        y = _TOP + _ROW * index + _ROW / 2
        low = min(row["simulated_10"], row["real"][0])
        span = max(row["simulated_90"], row["real"][-1]) - low
        scale = (_WIDTH - _LEFT - _RIGHT) / max(span, 1e-9)
        start, middle, end = (_LEFT + scale * (row[key] - low) for key in ("simulated_10", "simulated_50", "simulated_90"))
        yield f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{titles[name]}</text>'
        yield f'<rect x="{start:.1f}" y="{y - 7}" width="{end - start:.1f}" height="14" fill="{_MADE}" opacity="0.25"/>'
        yield f'<line x1="{middle:.1f}" y1="{y - 8}" x2="{middle:.1f}" y2="{y + 8}" stroke="{_MADE}" stroke-width="2"/>'
        for value in row["real"]:
            x = _LEFT + scale * (value - low)
            yield f'<circle cx="{x:.1f}" cy="{y}" r="3.5" fill="{_REAL}" opacity="0.7"/>'


def _tiles(clips: Sequence[Events], top: int) -> Iterator[str]:
    """Pictures of events of as many clips as fit, evenly chosen, side by side."""
    chosen = np.linspace(0, len(clips) - 1, min(_N_CLIPS, len(clips))).astype(int)
    for index, clip in enumerate(chosen):
        data = base64.b64encode(_picture(clips[clip])).decode("ascii")
        x = 20 + index * _TILE
        yield (
            f'<image x="{x}" y="{top}" width="{_TILE - 4}" height="{_TILE - 4}" href="data:image/png;base64,{data}" '
            f'style="image-rendering:pixelated"/>'
        )


def _picture(events: Events) -> bytes:
    """Events of `_SPAN_US` as a PNG: ON white, OFF black, on grey."""
    from PIL import Image

    seen = events[(events["t"] >= _AT_US) & (events["t"] < _AT_US + _SPAN_US)]
    grey: npt.NDArray[np.int64] = np.full((DVS128.height, DVS128.width), 128)
    np.add.at(grey, (seen["y"], seen["x"]), np.where(seen["p"] == 1, 64, -64))
    content = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(content, "PNG", optimize=True)
    return content.getvalue()
