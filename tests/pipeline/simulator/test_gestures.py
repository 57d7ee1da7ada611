import dataclasses

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.simulator.gestures import GESTURES, Arm, check_gesture, draw_manner, pose_arm

RIGHT = Arm(upper=1.5, fore=1.25, shoulder_half=1.0, is_right=True)
LEFT = dataclasses.replace(RIGHT, is_right=False)
TIMES_S = np.linspace(0.0, 2.0, 41)


def steady_manner(gesture, **changes):
    manner = draw_manner(gesture, np.random.default_rng(5))
    return dataclasses.replace(manner, wander=0.0, phase=0.0, period_s=0.5, **changes)


def test_class_order_is_the_one_that_checkpoints_rely_on():
    assert GESTURES == (
        "hand_clapping",
        "right_hand_wave",
        "left_hand_wave",
        "right_arm_clockwise",
        "arm_roll",
        "air_drums",
    )


@pytest.mark.parametrize("arm", [RIGHT, LEFT])
@pytest.mark.parametrize("gesture", [*GESTURES, None])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bones_keep_their_length_in_every_gesture(gesture, arm, seed):
    manner = draw_manner(gesture, np.random.default_rng(seed)) if gesture else None
    elbow, hand = np.moveaxis(pose_arm(gesture, TIMES_S, arm, manner), 1, 0)
    np.testing.assert_allclose(np.linalg.norm(elbow, axis=1), 1.5)
    np.testing.assert_allclose(np.linalg.norm(hand - elbow, axis=1), 1.25)


@pytest.mark.parametrize("gesture", GESTURES)
def test_steady_gesture_repeats_after_its_period(gesture):
    # the resting arm of a one-armed gesture breathes at a pace of its own
    arm = LEFT if gesture == "left_hand_wave" else RIGHT
    manner = steady_manner(gesture)
    # a clap is as symmetric as |sin|, so one period brings it back too
    np.testing.assert_allclose(
        pose_arm(gesture, TIMES_S, arm, manner), pose_arm(gesture, TIMES_S + 0.5, arm, manner), atol=1e-9
    )


@pytest.mark.parametrize("gesture", GESTURES)
def test_speed_stays_between_one_and_four_repetitions_a_second(gesture):
    periods = [draw_manner(gesture, np.random.default_rng(seed)).period_s for seed in range(50)]
    assert min(periods) > 0.25
    assert max(periods) <= 1.0


def test_other_arm_hangs_while_one_hand_waves():
    manner = steady_manner("right_hand_wave")
    waving = pose_arm("right_hand_wave", TIMES_S, RIGHT, manner)[:, 1]
    hanging = pose_arm("right_hand_wave", TIMES_S, LEFT, manner)[:, 1]
    assert np.ptp(waving[:, 0]) > 1.0
    assert np.ptp(hanging, axis=0).max() < 0.1
    assert (hanging[:, 1] > 2.0).all()  # far below the shoulder


def test_right_arm_goes_up_then_outward_then_down():
    manner = steady_manner("right_arm_clockwise", bend_rad=0.0)
    up, outward, down, inward = pose_arm("right_arm_clockwise", np.array([0.0, 0.125, 0.25, 0.375]), RIGHT, manner)[:, 1]
    assert up[1] < -2.0
    assert outward[0] > 2.0
    assert down[1] > 2.0
    assert inward[0] < -1.0


def test_hands_drum_in_turn():
    manner = steady_manner("air_drums", balance=0.0)
    right, left = (pose_arm("air_drums", TIMES_S, arm, manner)[:, 1, 1] for arm in (RIGHT, LEFT))
    assert np.corrcoef(right, left)[0, 1] < -0.8


def test_hands_of_a_clap_meet_in_the_middle():
    manner = steady_manner("hand_clapping", balance=0.0)
    hand = pose_arm("hand_clapping", np.array([0.0, 0.25]), RIGHT, manner)[:, 1, 0]
    assert hand[0] == pytest.approx(0.16 - 1.0)  # 0.16 units from the body's middle
    assert hand[1] > hand[0] + 0.5


def test_unknown_gesture_is_refused_with_the_list_of_known_ones():
    with pytest.raises(UsageError, match=r"'jump'.*hand_clapping, .*air_drums"):
        check_gesture("jump")
