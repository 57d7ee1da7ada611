import dataclasses

import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.person import BODY_UNIT_PX, FARTHEST, NEAREST, draw_person
from pipeline.simulator.variation import EVERYTHING, Variation

SIZE = SensorSize(128, 128)


def drawn(seed, variation=EVERYTHING):
    return draw_person(np.random.default_rng(seed), SIZE, 0.3, variation)


def test_size_in_pixels_follows_distance_and_sensor():
    for seed in range(20):
        small, large = (draw_person(np.random.default_rng(seed), SensorSize(side, side), 0.3).unit_px for side in (64, 128))
        assert large == pytest.approx(2.0 * small)
        assert FARTHEST * BODY_UNIT_PX <= large <= NEAREST * BODY_UNIT_PX


def test_person_stands_out_from_the_wall():
    for seed in range(20):
        person = draw_person(np.random.default_rng(seed), SensorSize(128, 128), 0.3)
        assert abs(np.log(person.skin.reflectance / 0.3)) > 0.4


@pytest.mark.parametrize(
    ("part", "fixed"),
    [
        ("placement", {"unit_px", "x_px", "y_px", "yaw_rad"}),
        ("texture", {"shirt", "skin", "sleeve", "has_band", "has_sleeves"}),
        ("background", set()),
    ],
)
def test_part_left_out_changes_only_its_own_values(part, fixed):
    full, plain = (dataclasses.asdict(drawn(3, variation)) for variation in (Variation(), Variation.without([part])))
    assert {name for name in full if full[name] != plain[name]} <= fixed
    assert all(plain[name] == full[name] for name in full if name not in fixed)


def test_without_body_all_have_the_same_proportions():
    first, second = (drawn(seed, Variation(body=False)) for seed in (1, 2))
    for name in ("shoulder_half", "upper_arm", "forearm", "arm_radius", "torso_radius", "looseness", "lean_rad"):
        assert getattr(first, name) == getattr(second, name)
    assert first.unit_px != second.unit_px


def test_without_texture_clothes_are_plain_and_arms_bare():
    person = drawn(5, Variation(texture=False))
    assert person.shirt.stripe_strength == person.shirt.cross_strength == person.skin.stripe_strength == 0.0
    assert person.sleeve == person.skin
    assert person.shirt.reflectance == drawn(5).shirt.reflectance
