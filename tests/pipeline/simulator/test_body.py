import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.body import BODY_UNIT_PX, N_PARTS, draw_person, make_parts
from pipeline.simulator.gestures import pose_arm
from pipeline.simulator.scene import N_PART_COLUMNS

TIMES_S = np.array([0.0, 0.1, 0.2])


def person_at_rest():
    person = draw_person(np.random.default_rng(0), SensorSize(128, 128), 0.3)
    arms = np.stack([pose_arm(None, TIMES_S, person.arm(is_right=side), None) for side in (True, False)], axis=1)
    return person, make_parts(person, arms, TIMES_S)


def test_parts_have_one_row_for_each_capsule_at_each_time():
    _, parts = person_at_rest()
    assert parts.shape == (3, N_PARTS, N_PART_COLUMNS)
    assert np.isfinite(parts).all()


def test_right_arm_is_on_the_left_of_the_picture():
    person = draw_person(np.random.default_rng(1), SensorSize(128, 128), 0.3)
    arms = np.zeros((1, 2, 2, 3))
    arms[0, :, :, 1] = [1.5, 2.7]  # both hang straight down
    arms[0, 0, 1, 2] = 1.0  # the right hand is nearer, so the right arm is painted last
    parts = make_parts(person, arms, np.zeros(1))[0]
    assert parts[9, 0] < person.x_px < parts[6, 0]


def test_nearer_hand_looks_larger():
    person = draw_person(np.random.default_rng(1), SensorSize(128, 128), 0.3)
    arms = np.zeros((1, 2, 2, 3))
    arms[0, :, :, 1] = [1.5, 2.7]
    arms[0, 0, 1, 2] = 2.0  # 2 of the 10 units to the camera: 10 / 8 times as large
    parts = make_parts(person, arms, np.zeros(1))[0]
    assert parts[11, 4] == pytest.approx(1.25 * parts[8, 4])


def test_size_in_pixels_follows_distance_and_sensor():
    for seed in range(20):
        small, large = (draw_person(np.random.default_rng(seed), SensorSize(side, side), 0.3).unit_px for side in (64, 128))
        assert large == pytest.approx(2.0 * small)
        assert 0.7 * BODY_UNIT_PX <= large <= 1.3 * BODY_UNIT_PX


def test_person_stands_out_from_the_wall():
    for seed in range(20):
        person = draw_person(np.random.default_rng(seed), SensorSize(128, 128), 0.3)
        assert abs(np.log(person.skin.reflectance / 0.3)) > 0.4
