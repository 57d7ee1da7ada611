import sys

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra video)")

from pipeline.rendering.canvas import paint_picture  # noqa: E402 # after the gates
from pipeline.rendering.films import N_GIF_COLOURS, Film, gif_palette, match_colours, pad_to_even, write_png  # noqa: E402
from pipeline.rendering.palette import choose_palette  # noqa: E402
from pipeline.schema.errors import MissingExtraError, SaccadeError, UsageError  # noqa: E402

DARK = choose_palette("dark")


def moving_square(n):
    for i in range(n):
        strengths = np.zeros((2, 4, 6), np.float32)
        strengths[i % 2, 2, i % 6] = 1
        yield paint_picture(strengths, DARK.of_events(), 16)


def read(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_film_keeps_number_order_rate_and_colours_of_its_pictures(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    pictures = list(moving_square(10))
    with Film(path, 25, DARK) as reel:
        for picture in pictures:
            reel.write(picture)
    found = read(path)
    assert [round(time * 25) for time, _ in found] == list(range(10))
    for picture, (_, shown) in zip(pictures, found, strict=True):
        # the middle of each square: half the colour resolution of H.264 blurs the edges
        difference = np.abs(picture[8::16, 8::16].astype(int) - shown[8::16, 8::16])
        assert difference.max() <= (20 if ending == "mp4" else 0)


def test_a_film_of_odd_pictures_loses_no_pixel(tmp_path):
    picture = np.zeros((25, 33, 3), np.uint8)
    assert pad_to_even(picture).shape == (26, 34, 3)
    assert pad_to_even(picture[:24, :32]) is not None
    with Film(tmp_path / "a.mp4", 30, DARK) as reel:
        reel.write(picture)
    assert read(tmp_path / "a.mp4")[0][1].shape == (26, 34, 3)


def test_gif_refuses_a_rate_that_browsers_slow_down(tmp_path):
    with pytest.raises(UsageError, match="50"):
        Film(tmp_path / "a.gif", 60, DARK)
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize("name", ["dark", "light", "grey"])
def test_the_colours_of_a_gif_hold_ground_inks_and_full_polarities_exactly(name):
    palette = choose_palette(name)
    colours = gif_palette(palette)
    assert colours.shape == (N_GIF_COLOURS, 3)
    wanted = np.array([[palette.ground, palette.on, palette.off, palette.footer, palette.text, palette.accent]], np.uint8)
    indices = np.empty((1, 6), np.uint8)
    nearest = np.full(1 << 24, -1, np.int16)
    for _ in range(2):  # the second time from memory
        match_colours(wanted, colours, nearest, indices)
        assert np.array_equal(colours[indices[0]], wanted[0])


def test_colours_are_matched_to_the_nearest():
    colours = np.array([[0, 0, 0], [100, 100, 100], [255, 255, 255]], np.uint8)
    picture = np.array([[[40, 60, 40], [60, 60, 40], [180, 180, 180]]], np.uint8)
    indices = np.empty((1, 3), np.uint8)
    match_colours(picture, colours, np.full(1 << 24, -1, np.int16), indices)
    assert indices.tolist() == [[0, 1, 2]]


def test_a_png_holds_the_picture_itself(tmp_path):
    picture = next(moving_square(1))
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(SaccadeError, match="cannot be written"):
        write_png(tmp_path / "none" / "a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(SaccadeError, match="cannot be written"):
        Film(tmp_path / "none" / "a.mp4", 30, DARK)


@pytest.mark.parametrize("package", ["av", "PIL"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"saccade\[video\]"):
        Film(tmp_path / "a.mp4", 30, DARK)
    assert not (tmp_path / "a.mp4").exists()
