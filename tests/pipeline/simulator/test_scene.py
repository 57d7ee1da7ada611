import numpy as np
import pytest

from pipeline.simulator.scene import STRAY_LIGHT, log_light, render, shift_wall


def draw(*parts, wall=0.2):
    picture = np.zeros((16, 16), dtype=np.float32)
    log_picture = np.zeros((16, 16), dtype=np.float32)
    background = np.full((16, 16), wall, dtype=np.float32)
    table = np.array(parts, dtype=np.float64).reshape(-1, 12)
    render(table, background, log_light(background), picture, log_picture)
    return picture, log_picture


def disc(x, y, radius, reflectance, strength=0.0, per_px=0.0):
    return (x, y, x, y, radius, radius, reflectance, strength, per_px, 0.0, 0.0, 0.0)


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
    picture, log_picture = draw(disc(3, 12, 4, 0.8), (0, 0, 15, 4, 1, 2, 0.5, 0.3, 0.2, 0.1, 0.0, 0.0))
    np.testing.assert_allclose(log_picture, np.log(picture + STRAY_LIGHT), rtol=1e-5)


def test_part_outside_the_picture_changes_nothing():
    picture, _ = draw(disc(40, -30, 5, 0.9))
    assert (picture == np.float32(0.2)).all()


def test_no_parts_leave_the_wall():
    picture, _ = draw()
    assert (picture == np.float32(0.2)).all()


def test_stripes_go_along_the_capsule():
    picture, _ = draw((2, 8, 14, 8, 3, 3, 0.5, 0.4, 0.25, 0.0, 0.0, 0.0))
    # one stripe in 4 pixels from x = 2: brightest at its start, darkest in its middle
    assert picture[8, 6] == pytest.approx(0.5 * 1.4)
    assert picture[8, 8] == pytest.approx(0.5 * 0.6)


def test_crosses_go_across_the_capsule():
    picture, _ = draw((2, 8, 14, 8, 6, 6, 0.5, 0.0, 0.0, 0.0, 0.4, 0.25))
    # one cross in 4 pixels from the middle: darkest two pixels aside, where shading leaves 1 - 0.45 / 9
    assert picture[8, 8] == pytest.approx(0.5 * 1.4)
    assert picture[10, 8] == pytest.approx(0.5 * 0.6 * 0.95)


def test_shadow_takes_most_light_in_its_middle_and_none_at_its_rim():
    picture, _ = draw(disc(8, 8, 5.25, -0.5))
    # the outermost radius is 6: at 3 pixels depth is 1 - 9 / 36, and its square 0.5625 of the half that is taken
    assert picture[8, 8] == pytest.approx(0.2 * 0.5)
    assert picture[8, 11] == pytest.approx(0.2 * (1.0 - 0.5 * 0.5625))
    assert picture[8, 14] == pytest.approx(0.2)


def test_part_of_no_radius_is_not_there():
    picture, _ = draw(disc(8, 8, 0, 0.9))
    assert (picture == np.float32(0.2)).all()


def test_stray_light_hides_dark_things():
    wall, log_picture = np.full((2, 2), 0.1, dtype=np.float32), np.zeros((2, 2), dtype=np.float32)
    render(np.zeros((0, 12)), wall, log_light(wall, 0.3), wall.copy(), log_picture, stray=0.3)
    assert log_picture[0, 0] == pytest.approx(np.log(0.4))


def test_shifted_wall_is_read_between_its_pixels_and_goes_on_at_the_edge():
    wall = np.arange(12, dtype=np.float32).reshape(3, 4)
    shifted = np.zeros((3, 4), dtype=np.float32)
    shift_wall(wall, 0.5, 1.0, shifted)
    assert shifted[0].tolist() == [4.5, 5.5, 6.5, 7.0]
    assert shifted[2].tolist() == [8.5, 9.5, 10.5, 11.0]
