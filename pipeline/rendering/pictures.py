"""Packets to pictures, one after another: the film, the still of one moment, and the sheet of many."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from pipeline.rendering.canvas import Picture, paint_picture
from pipeline.rendering.footer import draw_footer, format_seconds
from pipeline.rendering.palette import Palette
from pipeline.rendering.rhythm import cut_at_edges
from pipeline.rendering.styles import StyleName, Trace
from pipeline.rendering.track import Caption
from pipeline.schema.events import Events, SensorSize

SHEET_COLUMNS = 4
N_SHEET_PICTURES = 12
_SHEET_GAP_PX = 8


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """How pictures look, and how much sensor time lies between two of them (`step_us`); `tau_us` fades the decaying styles."""

    style: StyleName
    palette: Palette
    scale: int
    step_us: Fraction
    tau_us: float


class Captioner(Protocol):
    """Who knows what to write under a picture. `take` sees all events before a moment, then `at` is asked for it."""

    def take(self, events: Events) -> None:
        """Look at the next events."""
        ...

    def at(self, t_us: int) -> Caption | None:
        """What to write at this sensor time, not earlier than any asked for before; None for no label."""
        ...


def film(
    packets: Iterator[Events],
    sensor_size: SensorSize,
    settings: RenderSettings,
    captioner: Captioner | None = None,
    is_wanted: Callable[[int], bool] = lambda _: True,
) -> Iterator[tuple[int, Picture]]:
    """Sensor time in us and picture of each step that is wanted by its number, from 0; a footer where there is a captioner."""
    trace = Trace(settings.style, sensor_size, settings.tau_us)
    first_us: int | None = None
    n_pictures = 0
    for events, due_us in cut_at_edges(packets, settings.step_us):
        if events.size and first_us is None:
            first_us = int(events["t"][0])
        trace.add(events)
        if captioner is not None:
            captioner.take(events)
        if due_us is None:
            continue
        caption = captioner.at(due_us - 1) if captioner is not None else None
        if is_wanted(n_pictures):
            picture = paint_picture(trace.show(due_us), settings.palette.of_events(), settings.scale)
            assert first_us is not None, "a picture is due after an event"
            clock = format_seconds(due_us - first_us, float(settings.step_us))
            footer = None if captioner is None else draw_footer(picture.shape[1], caption, clock, settings.palette)
            yield due_us, picture if footer is None else np.vstack([picture, footer])
        else:
            trace.skip()
        n_pictures += 1


def still(packets: Iterable[Events], sensor_size: SensorSize, settings: RenderSettings, t_us: int) -> Picture:
    """The picture at sensor time `t_us`: what the film would show there. `packets` end before it, and begin early enough."""
    trace = Trace(settings.style, sensor_size, settings.tau_us)
    opens_us = t_us - round(settings.step_us)
    for events in packets:
        n = int(np.searchsorted(events["t"], opens_us))
        if n:
            trace.add(events[:n])
            trace.skip()
        trace.add(events[n:])
    return paint_picture(trace.show(t_us), settings.palette.of_events(), settings.scale)


def choose_moments(n_pictures: int, n_wanted: int = N_SHEET_PICTURES) -> frozenset[int]:
    """Numbers of the pictures of a film of `n_pictures` that stand for all, evenly spread, the middle of each part."""
    n_wanted = min(n_pictures, n_wanted)
    return frozenset((2 * i + 1) * n_pictures // (2 * n_wanted) for i in range(n_wanted))


def join_sheet(pictures: Sequence[Picture], palette: Palette) -> Picture:
    """Pictures of one size in rows of four, read as a page is; empty places keep the colour of the lines between them."""
    height, width, _ = pictures[0].shape
    n_columns = min(len(pictures), SHEET_COLUMNS)
    n_rows = -(-len(pictures) // n_columns)
    shape = (n_rows * (height + _SHEET_GAP_PX) + _SHEET_GAP_PX, n_columns * (width + _SHEET_GAP_PX) + _SHEET_GAP_PX, 3)
    sheet = np.empty(shape, dtype=np.uint8)
    sheet[:] = palette.line
    for i, picture in enumerate(pictures):
        row, column = divmod(i, n_columns)
        y, x = _SHEET_GAP_PX + row * (height + _SHEET_GAP_PX), _SHEET_GAP_PX + column * (width + _SHEET_GAP_PX)
        sheet[y : y + height, x : x + width] = picture
    return sheet
