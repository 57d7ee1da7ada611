import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.background import Lamp, Shake, draw_background, draw_lamp, draw_shake
from pipeline.simulator.variation import Variation

SIZE = SensorSize(40, 30)


def test_background_is_drawn_from_the_seed_and_stays_in_range():
    walls = [draw_background(np.random.default_rng(seed), SIZE) for seed in (1, 1, *range(2, 30))]
    assert walls[0].shape == (30, 40)
    assert (walls[0] == walls[1]).all()
    assert (walls[0] != walls[2]).any()
    assert all(wall.min() >= np.float32(0.03) and wall.max() <= 1.0 for wall in walls)


def test_wall_without_background_is_even_and_as_light_as_before():
    rngs = [np.random.default_rng(4) for _ in range(2)]
    full, even = draw_background(rngs[0], SIZE), draw_background(rngs[1], SIZE, Variation(background=False))
    assert np.ptp(even) == 0.0
    assert np.ptp(full) > 0.0
    assert rngs[0].random() == rngs[1].random()  # the same number of draws


def test_lamp_goes_from_mean_to_its_flicker_in_a_quarter_of_a_cycle():
    lamp = Lamp(level=0.5, flicker=0.04, flicker_hz=100.0, phase=0.0)
    assert lamp.log_gain(0) == pytest.approx(0.0)
    assert lamp.log_gain(2_500) == pytest.approx(0.04)
    assert lamp.log_gain(7_500) == pytest.approx(-0.04)


def test_some_lamps_flicker_weakly_and_none_without_flicker():
    flickers = [draw_lamp(np.random.default_rng(seed)).flicker for seed in range(60)]
    assert 10 < np.count_nonzero(flickers) < 40
    assert max(flickers) <= 0.05
    assert all(draw_lamp(np.random.default_rng(seed), Variation(flicker=False)).flicker == 0.0 for seed in range(20))


def test_few_cameras_shake_and_by_less_than_a_pixel():
    shakes = [draw_shake(np.random.default_rng(seed), SensorSize(128, 128)) for seed in range(100)]
    moved = [shake for shake in shakes if shake.size_px > 0.0]
    assert 3 < len(moved) < 30
    assert max(shake.size_px for shake in moved) < 1.0


def test_shake_comes_back_after_its_period():
    shake = Shake(size_px=0.5, hz=1.0, phase=0.0)
    now, later = shake.offset_px(np.array([0.0, 10.0]))
    np.testing.assert_allclose(now, later, atol=1e-9)
