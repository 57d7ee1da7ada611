import dataclasses

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.simulator.gestures import GESTURES, check_gesture, draw_manner, pose_arm
from pipeline.simulator.limbs import Arm
from pipeline.simulator.variation import Variation
from pipeline.sources.gesture_labels import GESTURE_CLASSES

RIGHT = Arm(upper=1.5, fore=1.25, shoulder_half=1.0, is_right=True)
LEFT = dataclasses.replace(RIGHT, is_right=False)
TIMES_S = np.linspace(0.0, 2.0, 41)


def steady_manner(gesture, **changes):
    manner = draw_manner(gesture, np.random.default_rng(5))
    steady = {"wander": 0.0, "drift": 0.0, "swell": 0.0, "phase": 0.0, "period_s": 0.5, "turn_rad": 0.0}
    return dataclasses.replace(manner, **{**steady, **changes})


def test_class_order_is_the_one_that_checkpoints_rely_on():
    assert GESTURES == (
        "hand_clapping",
        "right_hand_wave",
        "left_hand_wave",
        "right_arm_clockwise",
        "right_arm_counter_clockwise",
        "left_arm_clockwise",
        "left_arm_counter_clockwise",
        "arm_roll",
        "air_drums",
        "air_guitar",
        "other_gestures",
    )


def test_classes_are_those_of_the_set_in_its_order():
    assert GESTURES == GESTURE_CLASSES


@pytest.mark.parametrize("arm", [RIGHT, LEFT])
@pytest.mark.parametrize("gesture", [*GESTURES, None])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bones_keep_their_length_in_every_gesture(gesture, arm, seed):
    manner = draw_manner(gesture, np.random.default_rng(seed)) if gesture else None
    elbow, hand = np.moveaxis(pose_arm(gesture, TIMES_S, arm, manner), 1, 0)
    np.testing.assert_allclose(np.linalg.norm(elbow, axis=1), 1.5)
    np.testing.assert_allclose(np.linalg.norm(hand - elbow, axis=1), 1.25)


@pytest.mark.parametrize("gesture", GESTURES[:-1])
def test_steady_gesture_repeats_after_its_period(gesture):
    # the resting arm of a one-armed gesture breathes at a pace of its own
    arm = LEFT if gesture.startswith("left") else RIGHT
    # hands that roam over drums, or along the neck of a guitar, take longer to come back
    manner = steady_manner(gesture, style=0.0, is_mirrored=False)
    # a clap is as symmetric as |sin|, so one period brings it back too
    np.testing.assert_allclose(
        pose_arm(gesture, TIMES_S, arm, manner), pose_arm(gesture, TIMES_S + 0.5, arm, manner), atol=1e-9
    )


@pytest.mark.parametrize("gesture", GESTURES)
def test_speed_stays_between_two_thirds_and_four_and_a_half_repetitions_a_second(gesture):
    periods = [draw_manner(gesture, np.random.default_rng(seed)).period_s for seed in range(50)]
    assert min(periods) > 0.22
    assert max(periods) <= 1.5
    assert max(periods) > 1.8 * min(periods)


def test_without_pace_everybody_is_as_fast_and_posture_still_differs():
    first, second = (draw_manner("air_drums", np.random.default_rng(seed), Variation(pace=False)) for seed in (1, 2))
    assert (first.period_s, first.amplitude, first.drift) == (second.period_s, 1.0, 0.0)
    assert first.reach != second.reach
    assert first.reach == draw_manner("air_drums", np.random.default_rng(1)).reach


def test_pace_that_drifts_runs_ahead_and_falls_back():
    manner = steady_manner("right_hand_wave", drift=0.2)
    times_s = np.linspace(0.0, 12.0, 1201)
    steady, drifting = (
        pose_arm("right_hand_wave", times_s, RIGHT, made)[:, 1, 0] for made in (dataclasses.replace(manner, drift=0.0), manner)
    )
    # crossings of the middle, upward: 24 of a steady wave of 2 Hz, a like number in all when it drifts, at other times
    crossings = [np.flatnonzero((x[:-1] < x.mean()) & (x[1:] >= x.mean())) for x in (steady, drifting)]
    assert abs(len(crossings[0]) - len(crossings[1])) <= 3
    assert np.ptp(np.diff(crossings[1])) > 5


def test_other_arm_hangs_while_one_hand_waves():
    manner = steady_manner("right_hand_wave", idle=0.0, amplitude=1.0)
    waving = pose_arm("right_hand_wave", TIMES_S, RIGHT, manner)[:, 1]
    hanging = pose_arm("right_hand_wave", TIMES_S, LEFT, manner)[:, 1]
    assert np.ptp(waving[:, 0]) > 1.0
    assert np.ptp(hanging, axis=0).max() < 0.1
    assert (hanging[:, 1] > 2.0).all()  # far below the shoulder


def quarters(gesture, arm, **changes):
    """Places of the hand after no, one, two and three quarters of a turn."""
    manner = steady_manner(gesture, **{"bend_rad": 0.0, "style": 0.0, "height": 0.0, "amplitude": 1.0, **changes})
    return pose_arm(gesture, np.array([0.0, 0.125, 0.25, 0.375]), arm, manner)[:, 1]


@pytest.mark.parametrize("style", [0.0, 1.0])
@pytest.mark.parametrize(
    ("gesture", "arm", "is_outward_first"),
    [
        ("right_arm_clockwise", RIGHT, True),
        ("right_arm_counter_clockwise", RIGHT, False),
        ("left_arm_clockwise", LEFT, False),
        ("left_arm_counter_clockwise", LEFT, True),
    ],
)
def test_circle_goes_round_as_its_name_says_for_the_person(gesture, arm, is_outward_first, style):
    up, first, down, second = quarters(gesture, arm, style=style)
    outward, inward = (first, second) if is_outward_first else (second, first)
    assert up[1] < down[1] - 1.5
    assert outward[0] > inward[0] + 1.0


def test_turned_plane_keeps_the_sense_of_a_circle():
    for turn_rad in (-0.8, 0.8):
        _, outward, _, inward = quarters("right_arm_clockwise", RIGHT, turn_rad=turn_rad)
        assert outward[0] > inward[0] + 1.0


def test_other_arm_hangs_while_one_arm_circles():
    manner = steady_manner("left_arm_clockwise", idle=0.0)
    assert np.ptp(pose_arm("left_arm_clockwise", TIMES_S, RIGHT, manner)[:, 1], axis=0).max() < 0.1


def test_right_hand_strums_low_while_left_holds_the_neck_out_to_its_side():
    manner = steady_manner("air_guitar", is_mirrored=False, style=0.0)
    strum, hold = (pose_arm("air_guitar", TIMES_S, arm, manner)[:, 1] for arm in (RIGHT, LEFT))
    assert np.ptp(strum[:, 1]) > 3 * np.ptp(hold[:, 1])
    assert strum[:, 1].mean() > hold[:, 1].mean()
    assert hold[:, 0].mean() > 0.3 > strum[:, 0].mean()


def test_left_handed_guitar_swaps_the_hands():
    manner = steady_manner("air_guitar", is_mirrored=False)
    mirrored = dataclasses.replace(manner, is_mirrored=True)
    np.testing.assert_allclose(
        pose_arm("air_guitar", TIMES_S, RIGHT, manner), pose_arm("air_guitar", TIMES_S, LEFT, mirrored), atol=1e-12
    )


def test_hands_drum_in_turn():
    manner = steady_manner("air_drums", balance=0.0, style=0.0)
    right, left = (pose_arm("air_drums", TIMES_S, arm, manner)[:, 1, 1] for arm in (RIGHT, LEFT))
    assert np.corrcoef(right, left)[0, 1] < -0.8


def test_hands_of_a_clap_meet_in_the_middle():
    manner = steady_manner("hand_clapping", balance=0.0, style=0.0, amplitude=1.0)
    hand = pose_arm("hand_clapping", np.array([0.0, 0.25]), RIGHT, manner)[:, 1, 0]
    assert hand[0] == pytest.approx(0.16 - 1.0)  # 0.16 units from the body's middle
    assert hand[1] > hand[0] + 0.5


def test_unknown_gesture_is_refused_with_the_list_of_known_ones():
    with pytest.raises(UsageError, match=r"'jump'.*hand_clapping, .*other_gestures"):
        check_gesture("jump")
