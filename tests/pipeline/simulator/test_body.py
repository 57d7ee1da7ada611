import dataclasses

import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.body import N_PARTS, PALM, make_parts
from pipeline.simulator.gestures import pose_arm
from pipeline.simulator.person import draw_person
from pipeline.simulator.scene import N_PART_COLUMNS

# Where the arms begin: six parts of the trunk, two shadows, then nine of the farther arm.
FARTHER_ARM, NEARER_ARM = 8, 17
TIMES_S = np.array([0.0, 0.1, 0.2])


def person_at_rest():
    person = draw_person(np.random.default_rng(0), SensorSize(128, 128), 0.3)
    arms = np.stack([pose_arm(None, TIMES_S, person.arm(is_right=side), None) for side in (True, False)], axis=1)
    return person, make_parts(person, arms, TIMES_S)


def test_parts_have_one_row_for_each_capsule_at_each_time():
    _, parts = person_at_rest()
    assert parts.shape == (3, N_PARTS, N_PART_COLUMNS)
    assert np.isfinite(parts).all()


def straight_person():
    person = draw_person(np.random.default_rng(1), SensorSize(128, 128), 0.3)
    return dataclasses.replace(person, yaw_rad=0.0, lean_rad=0.0, nod_px=0.0)


def hanging_arms(right_forward):
    arms = np.zeros((1, 2, 2, 3))
    arms[0, :, :, 1] = [1.5, 2.7]  # both hang straight down
    arms[0, 0, 1, 2] = right_forward
    return arms


def test_right_arm_is_on_the_left_of_the_picture():
    person = straight_person()
    parts = make_parts(person, hanging_arms(1.0), np.zeros(1))[0]
    # the right hand is nearer, so the right arm is painted last
    assert parts[NEARER_ARM, 0] < person.x_px < parts[FARTHER_ARM, 0]


def test_nearer_hand_looks_larger():
    parts = make_parts(straight_person(), hanging_arms(2.0), np.zeros(1))[0]
    # 2 of the 10 units to the camera: 10 / 8 times as large
    assert parts[NEARER_ARM + PALM, 4] == pytest.approx(1.25 * parts[FARTHER_ARM + PALM, 4])


def test_body_turned_to_the_side_is_narrower_and_brings_one_shoulder_forward():
    straight = make_parts(straight_person(), hanging_arms(0.0), np.zeros(1))[0]
    turned = make_parts(dataclasses.replace(straight_person(), yaw_rad=0.4), hanging_arms(0.0), np.zeros(1))[0]
    right, left = sorted((NEARER_ARM, FARTHER_ARM), key=lambda arm: straight[arm, 0])
    width, narrower = (parts[left, 0] - parts[right, 0] for parts in (straight, turned))
    assert narrower == pytest.approx(width * np.cos(0.4), rel=0.02)
    assert turned[right, 4] > straight[right, 4]


def test_leaning_body_turns_about_the_hips():
    straight, leaning = (
        make_parts(dataclasses.replace(straight_person(), lean_rad=lean), hanging_arms(0.0), np.zeros(1))[0]
        for lean in (0.0, 0.1)
    )
    hips = np.array((straight_person().x_px, straight_person().y_px + 3.2 * straight_person().unit_px))
    before, after = (np.linalg.norm(parts[:, :2] - hips, axis=1) for parts in (straight, leaning))
    np.testing.assert_allclose(before, after)
    assert abs(leaning[4, 0] - straight[4, 0]) > 3.0  # the face


def test_fist_keeps_fingers_within_the_hand_and_open_hand_spreads_them():
    for length, least, most in ((0.0, 0.0, 0.01), (1.2, 5.0, 20.0)):
        person = dataclasses.replace(straight_person(), unit_px=20.0, finger_length=length)
        fingers = make_parts(person, hanging_arms(0.0), np.zeros(1))[0, NEARER_ARM + PALM + 1 : NEARER_ARM + PALM + 5]
        longest = np.linalg.norm(fingers[:, 2:4] - fingers[:, :2], axis=1).max()
        assert least <= longest <= most


def test_band_is_on_one_wrist_only():
    person = dataclasses.replace(straight_person(), has_band=1)
    radii = make_parts(person, hanging_arms(1.0), np.zeros(1))[0, (NEARER_ARM + 2, FARTHER_ARM + 2), 4]
    assert radii[0] > 0.0
    assert radii[1] == 0.0
