from fractions import Fraction

import numpy as np
import pytest

from pipeline.rendering.footer import footer_height
from pipeline.rendering.palette import choose_palette
from pipeline.rendering.pictures import RenderSettings, choose_moments, film, join_sheet, still
from pipeline.rendering.track import Caption
from pipeline.schema.events import SensorSize, make_events

PALETTE = choose_palette("dark")
SIZE = SensorSize(3, 2)
# an ON event each 10 us, walking through the three columns
EVENTS = make_events([100, 110, 120, 130], [0, 1, 2, 0], [0, 0, 0, 1], [1, 1, 1, 0])


def settings(style="accumulate", *, step_us=10, scale=1, tau_us=20.0):
    return RenderSettings(style, PALETTE, scale, Fraction(step_us), tau_us)


def lit(picture):
    """(y, x) of the pixels that are not ground."""
    return [tuple(place) for place in np.argwhere((picture != np.array(PALETTE.ground)).any(axis=2)).tolist()]


def test_a_film_shows_the_events_of_each_step():
    shown = list(film(iter([EVENTS]), SIZE, settings()))
    assert [t_us for t_us, _ in shown] == [110, 120, 130, 140]
    assert [lit(picture) for _, picture in shown] == [[(0, 0)], [(0, 1)], [(0, 2)], [(1, 0)]]


def test_pictures_that_nobody_wants_are_passed_over():
    shown = list(film(iter([EVENTS]), SIZE, settings(), is_wanted={1, 3}.__contains__))
    assert [(t_us, lit(picture)) for t_us, picture in shown] == [(120, [(0, 1)]), (140, [(1, 0)])]


@pytest.mark.parametrize("style", ["accumulate", "decay", "time-surface"])
@pytest.mark.parametrize("split", [1, 4])
def test_a_still_is_what_the_film_shows_at_that_moment(style, split):
    look = settings(style, step_us=20)
    *_, (t_us, last) = film(iter([EVENTS[:3]]), SIZE, look, is_wanted=lambda k: k == 1)
    assert t_us == 140
    assert np.array_equal(still([EVENTS[:split], EVENTS[split:3]] if split < 3 else [EVENTS[:3]], SIZE, look, t_us), last)


class Recorder:
    """A captioner that remembers what it was shown and asked."""

    def __init__(self):
        self.log = []

    def take(self, events):
        self.log += events["t"].tolist()

    def at(self, t_us):
        self.log.append(("at", t_us))
        return Caption(t_us, t_us + 1, "wave", 0.5)


def test_the_captioner_sees_what_comes_before_each_moment_and_is_asked_for_its_last_microsecond():
    pytest.importorskip("PIL", reason="Pillow is not installed (extra video)")
    captioner = Recorder()
    shown = list(film(iter([EVENTS]), SIZE, settings(scale=40), captioner))
    assert captioner.log == [100, ("at", 109), 110, ("at", 119), 120, ("at", 129), 130, ("at", 139)]
    assert {picture.shape for _, picture in shown} == {(80 + footer_height(120), 120, 3)}


def test_moments_of_a_sheet_are_spread_evenly():
    assert sorted(choose_moments(24)) == list(range(1, 24, 2))
    assert sorted(choose_moments(100, 2)) == [25, 75]
    assert sorted(choose_moments(3)) == [0, 1, 2]
    assert sorted(choose_moments(1)) == [0]


def test_a_sheet_is_read_as_a_page_is():
    pictures = [np.full((2, 3, 3), shade, np.uint8) for shade in range(1, 6)]
    sheet = join_sheet(pictures, PALETTE)
    assert sheet.shape == (8 + 2 * (2 + 8), 8 + 4 * (3 + 8), 3)
    assert [int(sheet[8, 8 + 11 * column, 0]) for column in range(4)] == [1, 2, 3, 4]
    assert int(sheet[8 + 10, 8, 0]) == 5
    assert tuple(sheet[8 + 10, 8 + 11]) == PALETTE.line
