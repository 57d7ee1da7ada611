import numpy as np
import pytest

from pipeline.rendering.canvas import choose_scale, paint_picture
from pipeline.rendering.palette import choose_palette
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize

# ground black, OFF blue, ON red
COLOURS = np.array([[0, 0, 0], [0, 0, 200], [100, 0, 0]], np.float32)


def strengths(off, on):
    return np.array([[[off]], [[on]]], np.float32)


@pytest.mark.parametrize(
    ("off", "on", "colour"),
    [
        (0, 0, (0, 0, 0)),
        (1, 0, (0, 0, 200)),
        (0, 0.5, (50, 0, 0)),
        (1, 1, (50, 0, 100)),
        # weights are squares: ON has 0.8² of 0.8² + 0.4² = 4/5, at the brightness of 0.8
        (0.4, 0.8, (64, 0, 32)),
    ],
)
def test_a_pixel_is_as_bright_as_its_stronger_polarity_in_the_hue_of_what_prevails(off, on, colour):
    assert tuple(paint_picture(strengths(off, on), COLOURS, 1)[0, 0]) == colour


def test_ground_that_is_not_black_shines_through_weak_pixels():
    light = np.array([[200, 200, 200], [0, 0, 0], [100, 0, 0]], np.float32)
    assert tuple(paint_picture(strengths(0.25, 0), light, 1)[0, 0]) == (150, 150, 150)


def test_each_pixel_becomes_a_square():
    on = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    picture = paint_picture(np.stack([np.zeros_like(on), on]), COLOURS, 3)
    assert picture.shape == (6, 9, 3)
    assert np.array_equal(picture[:, :, 0], 100 * np.kron(on, np.ones((3, 3))))


@pytest.mark.parametrize(
    ("sensor", "wanted", "scale"),
    [((128, 128), None, 5), ((346, 260), None, 2), ((1280, 720), None, 1), ((34, 34), None, 21), ((128, 128), 3, 3)],
)
def test_small_sensors_are_enlarged_by_a_whole_factor(sensor, wanted, scale):
    assert choose_scale(SensorSize(*sensor), wanted) == scale


@pytest.mark.parametrize(
    ("sensor", "wanted"), [((128, 128), 0), ((128, 128), 65), ((1280, 720), 4), ((60_000, 4), None), ((0, 0), None)]
)
def test_pictures_that_no_decoder_takes_are_refused(sensor, wanted):
    with pytest.raises(UsageError):
        choose_scale(SensorSize(*sensor), wanted)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, other):
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["dark", "light", "grey"])
def test_text_and_events_stand_out_from_their_ground(name):
    palette = choose_palette(name)
    assert contrast(palette.text, palette.footer) > 7
    assert contrast(palette.dim, palette.footer) > 4.5
    # WCAG asks 3 of graphical objects
    assert min(contrast(palette.on, palette.ground), contrast(palette.off, palette.ground)) > 3


def test_unknown_colours_are_refused_with_those_there_are():
    with pytest.raises(UsageError, match="dark, light, grey"):
        choose_palette("pink")
