import numpy as np
import pytest

from pipeline.simulator.improvised import FAMILIES, draw_improvisation, pose_improvised
from pipeline.simulator.limbs import Arm

RIGHT, LEFT = (Arm(upper=1.5, fore=1.25, shoulder_half=1.0, is_right=is_right) for is_right in (True, False))
CYCLES = np.linspace(0.0, 2.0, 81)
STEADY = np.ones_like(CYCLES)


def drawn(family):
    movements = (draw_improvisation(np.random.default_rng(seed)) for seed in range(300))
    return [movement for movement in movements if movement.family == family]


def hands(movement, size=STEADY):
    return [pose_improvised(CYCLES, size, arm, movement, 0.8)[:, 1] for arm in (RIGHT, LEFT)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_drawn_and_moves_a_hand(family):
    movements = drawn(family)
    assert len(movements) > 5
    for movement in movements[:5]:
        right, left = (np.ptp(hand, axis=0).max() for hand in hands(movement))
        assert max(right, left) > 0.3
        if movement.hands == "right":
            assert left < 0.1
        if movement.hands == "left":
            assert right < 0.1


@pytest.mark.parametrize("family", ["push", "flap", "point", "lift", "figure_eight"])
def test_smaller_amplitude_moves_less(family):
    movement = next(movement for movement in drawn(family) if movement.hands != "left")
    large, small = (np.ptp(hands(movement, size * STEADY)[0], axis=0).max() for size in (0.9, 0.4))
    assert small < large


def test_boxing_hands_go_forward_in_turn_and_pushing_ones_together():
    for family, sign in (("box", -1.0), ("push", 1.0)):
        movement = next(movement for movement in drawn(family) if movement.hands == "both")
        right, left = hands(movement)
        assert sign * np.corrcoef(right[:, 2], left[:, 2])[0, 1] > 0.9


def turns(hand):
    """How often the hand goes round its middle in the plane of the picture, with sign."""
    across, down = (hand[:, axis] - hand[:, axis].mean() for axis in (0, 1))
    return (np.unwrap(np.arctan2(down, across))[[0, -1]] @ (-1.0, 1.0)) / (2.0 * np.pi)


def test_no_single_arm_goes_round_twice_in_two_repetitions_as_a_circle_does():
    for seed in range(200):
        movement = draw_improvisation(np.random.default_rng(seed))
        if movement.hands != "both" and movement.family not in ("rub", "salute", "throw", "point"):
            moving = hands(movement)[0 if movement.hands == "right" else 1]
            wide, high = np.ptp(moving[:, :2], axis=0)
            is_large_and_round = min(wide, high) > 1.2
            assert not (is_large_and_round and abs(turns(moving)) > 1.9)
