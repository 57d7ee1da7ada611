import numpy as np
import pytest

from pipeline.simulator.limbs import Arm, chain, hang, reach, vectors

ARM = Arm(upper=1.5, fore=1.25, shoulder_half=1.0, is_right=True)


def test_chain_puts_bone_after_bone():
    elbow, hand = chain(vectors(0.0, np.array([2.0]), 0.0), vectors(3.0, np.array([0.0]), 0.0), ARM)[0]
    assert elbow.tolist() == [0.0, 1.5, 0.0]
    assert hand.tolist() == [1.25, 1.5, 0.0]


def test_reach_gets_to_the_hand_with_the_elbow_on_its_side():
    joints = reach(np.array([[0.0, 1.0, 1.0]]), np.array((1.0, 0.0, 0.0)), ARM)[0]
    np.testing.assert_allclose(joints[1], [0.0, 1.0, 1.0])
    assert np.linalg.norm(joints[0]) == pytest.approx(1.5)
    assert np.linalg.norm(joints[1] - joints[0]) == pytest.approx(1.25)
    assert joints[0, 0] > 0.5


def test_hand_out_of_reach_is_pulled_to_the_end_of_the_straight_arm():
    joints = reach(np.array([[0.0, 9.0, 0.0]]), np.array((1.0, 0.0, 0.0)), ARM)[0]
    assert joints[1, 1] == pytest.approx(2.75, abs=0.01)


def test_idle_arm_holds_its_hand_before_the_belly():
    hanging, idle = (hang(np.zeros(1), ARM, idle)[0, 1] for idle in (0.0, 1.0))
    assert hanging[1] > 2.5
    assert idle[0] < -0.3
    assert idle[2] > 0.5
