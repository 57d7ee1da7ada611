import numpy as np
import pytest

from pipeline.rendering.footer import NO_LABEL, _fit, _font, draw_footer, footer_height, format_seconds
from pipeline.rendering.palette import choose_palette
from pipeline.rendering.track import Caption

pytest.importorskip("PIL", reason="Pillow is not installed (extra video)")
DARK = choose_palette("dark")


def inked(footer, left, right):
    """Whether anything but footer colour and confidence line stands between these shares of the width."""
    height, width, _ = footer.shape
    part = footer[height // 4 :, round(left * width) : round(right * width)]
    return bool((part != np.array(DARK.footer)).any())


def test_label_stands_on_the_left_and_time_on_the_right():
    footer = draw_footer(640, Caption(0, 1, "arm_roll", 0.9), "3.25 s", DARK)
    assert footer.shape == (footer_height(640), 640, 3)
    assert inked(footer, 0, 0.3)
    assert not inked(footer, 0.4, 0.8)
    assert inked(footer, 0.85, 1)


def test_confidence_is_the_length_of_the_line():
    footer = draw_footer(200, Caption(0, 1, "x", 0.75), "0.00 s", DARK)
    is_accent = (footer[0] == np.array(DARK.accent)).all(axis=1)
    assert is_accent.tolist() == [True] * 150 + [False] * 50


def test_nothing_recognised_is_a_dash_and_empty_text_leaves_the_time_alone():
    assert inked(draw_footer(320, None, "0.00 s", DARK), 0, 0.2)
    assert not inked(draw_footer(320, Caption(0, 1, ""), "0.00 s", DARK), 0, 0.5)


@pytest.mark.parametrize("sign", [NO_LABEL, "…"])
def test_signs_of_the_strip_are_in_its_typeface(sign):
    unknown = _font(20).getmask("\uffff")
    assert bytes(_font(20).getmask(sign)) != bytes(unknown)


def test_long_labels_end_before_the_time():
    footer = draw_footer(320, Caption(0, 1, "right_arm_counter_clockwise_b", 1.0), "12.00 s", DARK)
    inked_columns = np.flatnonzero((footer[8:] != np.array(DARK.footer)).any(axis=(0, 2)))
    assert np.diff(inked_columns).max() > 8


def test_where_room_is_short_the_confidence_goes_first_then_the_time_then_the_end_of_the_label():
    words = ("right arm clockwise", "  50%", "0.00 s")
    found = {room_px: _fit(words, room_px, 10, 13) for room_px in range(20, 400, 10)}
    for room_px, (text, sure, clock, size_px) in found.items():
        assert text == words[0] or (text.endswith("…") and not clock)
        assert bool(clock) >= bool(sure)
        assert _font(size_px).getlength(text + sure + clock) <= room_px
        assert 10 <= size_px <= 13
    assert found[20][0].endswith("…")
    assert found[390] == (*words, 13)
    assert {(bool(sure), bool(clock)) for _, sure, clock, _ in found.values()} == {(False, False), (False, True), (True, True)}


def test_nothing_runs_into_the_margins():
    for width in (90, 150, 190, 400):
        footer = draw_footer(width, Caption(0, 1, "right_arm_clockwise", 0.5), "0.00 s", DARK)
        for margin in (footer[8:, :8], footer[8:, -8:]):
            assert (margin == np.array(DARK.footer)).all()


@pytest.mark.parametrize("width", [34, 128, 640, 1281, 4096])
def test_the_strip_is_legible_at_any_width_and_of_even_height(width):
    assert 26 <= footer_height(width) <= 96
    assert footer_height(width) % 2 == 0
    assert draw_footer(width, Caption(0, 1, "hand clapping", 0.5), "0.00 s", DARK).shape[:2] == (footer_height(width), width)


@pytest.mark.parametrize(
    ("step_us", "clock"), [(33_333, "3.25 s"), (10_000, "3.25 s"), (4_000, "3.250 s"), (1_000, "3.250 s"), (1, "3.250000 s")]
)
def test_the_time_has_as_many_digits_as_tell_two_pictures_apart(step_us, clock):
    assert format_seconds(3_250_000, step_us) == clock
