import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.scene import STRAY_LIGHT, draw_background, log_light, render


def draw(*parts, wall=0.2):
    picture = np.zeros((16, 16), dtype=np.float32)
    log_picture = np.zeros((16, 16), dtype=np.float32)
    background = np.full((16, 16), wall, dtype=np.float32)
    table = np.array(parts, dtype=np.float64).reshape(-1, 10)
    render(table, background, log_light(background), picture, log_picture)
    return picture, log_picture


def disc(x, y, radius, reflectance, strength=0.0, per_px=0.0):
    return (x, y, x, y, radius, radius, reflectance, strength, per_px, 0.0)


def test_middle_of_a_disc_has_its_reflectance_and_far_pixels_are_wall():
    picture, _ = draw(disc(8, 8, 4, 0.8))
    assert picture[8, 8] == pytest.approx(0.8)
    assert picture[0, 0] == pytest.approx(0.2)


def test_pixel_on_the_rim_is_half_disc_half_wall():
    picture, _ = draw(disc(8, 8, 4, 0.8))
    # shading leaves 0.55 of the light at the rim: 0.5 * 0.2 + 0.5 * 0.8 * 0.55
    assert picture[8, 12] == pytest.approx(0.32)
    assert picture[12, 8] == pytest.approx(0.32)


def test_later_part_covers_earlier_one():
    picture, _ = draw(disc(8, 8, 4, 0.8), disc(8, 8, 2, 0.1))
    assert picture[8, 8] == pytest.approx(0.1)


def test_log_picture_is_the_log_of_the_light_everywhere():
    picture, log_picture = draw(disc(3, 12, 4, 0.8), (0, 0, 15, 4, 1, 2, 0.5, 0.3, 0.2, 0.1))
    np.testing.assert_allclose(log_picture, np.log(picture + STRAY_LIGHT), rtol=1e-5)


def test_part_outside_the_picture_changes_nothing():
    picture, _ = draw(disc(40, -30, 5, 0.9))
    assert (picture == np.float32(0.2)).all()


def test_no_parts_leave_the_wall():
    picture, _ = draw()
    assert (picture == np.float32(0.2)).all()


def test_stripes_go_along_the_capsule():
    picture, _ = draw((2, 8, 14, 8, 3, 3, 0.5, 0.4, 0.25, 0.0))
    # one stripe in 4 pixels from x = 2: brightest at its start, darkest in its middle
    assert picture[8, 6] == pytest.approx(0.5 * 1.4)
    assert picture[8, 8] == pytest.approx(0.5 * 0.6)


def test_background_is_drawn_from_the_seed_and_stays_in_range():
    walls = [draw_background(np.random.default_rng(seed), SensorSize(40, 30)) for seed in (1, 1, 2)]
    assert walls[0].shape == (30, 40)
    assert (walls[0] == walls[1]).all()
    assert (walls[0] != walls[2]).any()
    assert all(wall.min() >= 0.03 and wall.max() <= 1.0 for wall in walls)
