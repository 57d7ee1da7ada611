"""Where the arms are: the gestures as paths of elbow and hand.

Knows nothing of pictures, pixels or events. The frame of an arm is that of `limbs`: outward, down, forward, in body units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.simulator.improvised import Improvisation, draw_improvisation, pose_improvised
from pipeline.simulator.limbs import Arm, Vectors, chain, hang, reach, vectors
from pipeline.simulator.variation import EVERYTHING, Variation

# The order is the index of each class, and that of DVS128 Gesture; checkpoints and labels rely on it.
GESTURES: tuple[str, ...] = (
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


@dataclass(frozen=True, slots=True)
class Manner:
    """How this person does this gesture this time.

    `period_s` is one repetition; `amplitude` scales the movement (1 is usual); `phase` in repetitions is where it starts;
    `lift_rad`, `height`, `reach` say where elbow and hands are held; `bend_rad` how far the elbow stays bent;
    `balance` in -1..1 gives more of the movement to the right (-) or left (+) hand; `wander` is the slow unsteadiness in
    repetitions, `drift` that of the pace and `swell` that of the amplitude, as shares; `turn_rad` turns the plane of the
    movement away from the camera; `style` in 0..1 picks among ways to do it; `idle` in 0..1 is how a resting arm is held;
    `is_mirrored` swaps the hands where a gesture may be done by either; `improvisation` is what other gestures are.
    """

    period_s: float
    amplitude: float
    phase: float
    lift_rad: float
    height: float
    reach: float
    bend_rad: float
    balance: float
    wander: float
    drift: float = 0.0
    swell: float = 0.0
    turn_rad: float = 0.0
    style: float = 0.0
    idle: float = 0.0
    is_mirrored: bool = False
    improvisation: Improvisation | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What the person does for `duration_us`: a gesture in some manner, or nothing.

    The arms come from rest and go back to it within `ramp_us` at either end; 0 begins and ends in full movement.
    """

    gesture: str | None
    manner: Manner | None
    duration_us: int
    ramp_us: int = 0


# Seconds that one repetition takes at usual speed, chosen so that 0.4 s shows at least about half of one.
_USUAL_PERIOD_S = {
    "hand_clapping": 0.42,
    "right_hand_wave": 0.46,
    "left_hand_wave": 0.46,
    "right_arm_clockwise": 0.85,
    "right_arm_counter_clockwise": 0.85,
    "left_arm_clockwise": 0.85,
    "left_arm_counter_clockwise": 0.85,
    "arm_roll": 0.52,
    "air_drums": 0.48,
    "air_guitar": 0.42,
    "other_gestures": 0.80,
}
_SLOWEST, _FASTEST = 0.65, 1.7


def check_gesture(gesture: str) -> None:
    """Raise UsageError unless the simulator knows `gesture`."""
    if gesture not in GESTURES:
        raise UsageError(f"no gesture {gesture!r} in the simulator; it knows {', '.join(GESTURES)}")


def draw_manner(gesture: str, rng: np.random.Generator, variation: Variation = EVERYTHING) -> Manner:
    """Draw a way to do `gesture`: speed 0.65 to 1.7 times the usual, and posture, all from `rng`.

    Without `pace` it is done steadily at the usual speed and amplitude.
    """
    manner = Manner(
        period_s=_USUAL_PERIOD_S[gesture] / float(np.exp(rng.uniform(np.log(_SLOWEST), np.log(_FASTEST)))),
        amplitude=rng.uniform(0.6, 1.35),
        phase=rng.uniform(0.0, 1.0),
        lift_rad=rng.uniform(-0.45, 0.45),
        height=rng.uniform(-0.45, 0.5),
        reach=rng.uniform(0.6, 1.35),
        bend_rad=rng.uniform(0.05, 0.6),
        balance=float(np.clip(rng.normal(0.0, 0.4), -0.85, 0.85)),
        wander=rng.uniform(0.0, 0.06),
        drift=rng.uniform(0.0, 0.2),
        swell=rng.uniform(0.0, 0.25),
        turn_rad=rng.uniform(-0.8, 0.8),
        style=rng.uniform(0.0, 1.0),
        idle=max(0.0, rng.uniform(-2.0, 1.0)),
        is_mirrored=bool(rng.random() < 0.2),
        improvisation=draw_improvisation(rng) if gesture == "other_gestures" else None,
    )
    if variation.pace:
        return manner
    return replace(manner, period_s=_USUAL_PERIOD_S[gesture], amplitude=1.0, wander=0.0, drift=0.0, swell=0.0)


def pose_arm(gesture: str | None, time_s: Vectors, arm: Arm, manner: Manner | None) -> Vectors:
    """Joints of one arm over time: (F, 2, 3) for `time_s` (F,); axis 1 is elbow, hand; axis 2 outward, down, forward.

    Relative to the shoulder, in body units. `gesture` None, or no manner, is an arm that hangs at rest.
    """
    if gesture is None or manner is None:
        return hang(time_s, arm)
    steady = time_s / manner.period_s
    # pace and amplitude come and go over several seconds, as people's do
    hurry = manner.drift * np.sin(1.1 * time_s + 5.0 * manner.phase) / (1.1 * manner.period_s)
    cycle = steady + manner.phase + manner.wander * np.sin(2.7 * steady + 9.0 * manner.phase) + hurry
    size = manner.amplitude * (1.0 + manner.swell * np.sin(1.7 * time_s + 7.0 * manner.phase))
    return _POSES[gesture](cycle, size, arm, manner)


def _rest(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    return hang(manner.period_s * cycle, arm, manner.idle)


def _wave(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Forearm up, swinging about the elbow; the upper arm close to the body, or raised to the side."""
    swing = np.sin(2.0 * math.pi * cycle)
    lift = 0.55 + 0.9 * manner.style + manner.lift_rad + 0.12 * swing * size
    lean = 0.10 + 0.5 * manner.lift_rad + 0.70 * size * swing
    upper = vectors(np.sin(lift), np.cos(lift), 0.35 * manner.reach + 0.3 * manner.turn_rad)
    return chain(upper, vectors(np.sin(lean), -np.cos(lean), 0.30 * manner.reach), arm)


def _wave_right(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    return _wave(cycle, size, arm, manner) if arm.is_right else _rest(cycle, arm, manner)


def _wave_left(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    return _rest(cycle, arm, manner) if arm.is_right else _wave(cycle, size, arm, manner)


def _circle(*, is_right: bool, is_clockwise: bool) -> Callable[[Vectors, Vectors, Arm, Manner], Vectors]:
    """The pose of a circling arm. Clockwise is as the person sees it: a right arm goes up, outward, down, back by the chest."""
    # outward is the person's right for the right arm and their left for the left one
    sense = 1.0 if is_right == is_clockwise else -1.0

    def pose(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
        if arm.is_right != is_right:
            return _rest(cycle, arm, manner)
        angle = 2.0 * math.pi * cycle * sense
        turn = _swing_arm if manner.style < 0.6 else _swing_hand
        return turn(angle, sense, size, arm, manner)

    return pose


def _swing_arm(angle: Vectors, sense: float, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """The whole arm about the shoulder, the forearm following; `angle` 0 is up, then outward."""
    width = (0.65 + 0.4 * size) * math.cos(manner.turn_rad)
    depth = 0.45 * manner.reach + 0.8 * math.sin(manner.turn_rad) * np.sin(angle)
    lag = angle - sense * manner.bend_rad
    upper = vectors(0.25 + width * np.sin(angle), 0.6 * manner.height - np.cos(angle), depth)
    return chain(upper, vectors(width * np.sin(lag), -np.cos(lag), depth), arm)


def _swing_hand(angle: Vectors, sense: float, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """The hand on a circle before the shoulder, the elbow bent; the plane turned by `turn_rad` about the upright."""
    radius = 1.05 * size
    across = radius * np.sin(angle - 0.3 * sense * manner.bend_rad)
    middle = (0.25 + 0.7 * abs(manner.lift_rad), 0.15 + manner.height, 0.7 + 0.5 * manner.reach)
    hand = vectors(
        middle[0] + across * math.cos(manner.turn_rad),
        middle[1] - radius * np.cos(angle),
        middle[2] + across * math.sin(manner.turn_rad),
    )
    return reach(hand, vectors(0.8, 1.0, -0.3), arm)


def _clap(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Hands meet in front of the chest; `balance` lets one hand do most of the work, `style` lets one clap from above."""
    apart = np.abs(np.sin(math.pi * cycle)) ** 1.3
    share = 1.0 - manner.balance if arm.is_right else 1.0 + manner.balance
    way = 0.95 * size * share * apart
    is_upper = arm.is_right != manner.is_mirrored
    slant = max(0.0, 2.0 * manner.style - 1.2) * (-1.0 if is_upper else 0.6)
    hand = vectors(
        0.16 + way * (1.0 - 0.5 * abs(slant)) - arm.shoulder_half,
        0.95 + manner.height - 0.12 * apart + slant * way,
        0.95 * manner.reach,
    )
    return reach(hand, vectors(0.75 + manner.lift_rad, 1.0, 0.0), arm)


def _roll(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Forearms before the chest, turning about each other, half a turn apart, forward or backward."""
    sense = -1.0 if manner.is_mirrored else 1.0
    angle = 2.0 * math.pi * (sense * cycle + (0.0 if arm.is_right else 0.5))
    radius = 0.50 * size
    hand = vectors(
        -0.05 - arm.shoulder_half - 0.6 * (manner.bend_rad - 0.2),
        0.95 + manner.height + 1.15 * radius * np.cos(angle),
        0.75 * manner.reach + radius * np.sin(angle),
    )
    lift = 0.35 * radius * np.cos(angle - 0.5 * sense)
    return reach(hand, vectors(1.0, 0.45 + manner.lift_rad + lift, -0.1), arm)


def _drum(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Forearms beat up and down from the elbow, in turn; with `style` the hands go to drums at the sides and back."""
    own = cycle + (0.0 if arm.is_right else 0.5 + 0.1 * manner.balance)
    beat = np.sin(2.0 * math.pi * own)
    pitch = 0.15 + 0.7 * manner.lift_rad + 1.0 * size * beat
    roam = 0.45 * manner.style * np.sin(0.5 * math.pi * own)
    upper = vectors(0.40 + 0.3 * manner.lift_rad + 0.5 * roam, 1.0, 0.45 * manner.reach + 0.45 * size * beat)
    aside = 0.3 - 0.9 * manner.bend_rad + roam
    return chain(upper, vectors(aside, -np.sin(pitch), np.cos(pitch)), arm)


def _guitar(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """One hand strums before the belly, the other holds the neck out to its side and slides a little."""
    strum = np.sin(2.0 * math.pi * cycle)
    if arm.is_right != manner.is_mirrored:
        stroke = 0.42 * size * strum
        hand = vectors(-0.55 + 0.5 * manner.lift_rad + 0.35 * stroke, 1.85 + 0.6 * manner.height + stroke, 0.75 * manner.reach)
        return reach(hand, vectors(1.0, 0.35 + 0.2 * strum, -0.4), arm)
    slide = (0.05 + 0.25 * manner.style) * np.sin(0.5 * math.pi * cycle)
    out = 0.55 + 0.7 * manner.bend_rad + slide
    hand = vectors(out, 1.15 + 0.8 * manner.height - 0.4 * slide + 0.03 * strum, 0.85 * manner.reach)
    return reach(hand, vectors(0.6, 1.0, -0.2), arm)


def _improvise(cycle: Vectors, size: Vectors, arm: Arm, manner: Manner) -> Vectors:
    assert manner.improvisation is not None, "draw_manner draws one"
    return pose_improvised(cycle, size, arm, manner.improvisation, manner.period_s)


_POSES: dict[str, Callable[[Vectors, Vectors, Arm, Manner], Vectors]] = {
    "hand_clapping": _clap,
    "right_hand_wave": _wave_right,
    "left_hand_wave": _wave_left,
    "right_arm_clockwise": _circle(is_right=True, is_clockwise=True),
    "right_arm_counter_clockwise": _circle(is_right=True, is_clockwise=False),
    "left_arm_clockwise": _circle(is_right=False, is_clockwise=True),
    "left_arm_counter_clockwise": _circle(is_right=False, is_clockwise=False),
    "arm_roll": _roll,
    "air_drums": _drum,
    "air_guitar": _guitar,
    "other_gestures": _improvise,
}
