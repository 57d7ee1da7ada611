"""Where the arms are: the gestures as paths of elbow and hand.

Knows nothing of pictures, pixels or events. Arms are described in a frame of their own, which mirrors by itself: from the
shoulder outward (away from the body's middle), down, and forward (to the camera), in body units of `BODY_UNIT_PX` pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import UsageError

# The order is the index of each class; checkpoints and labels rely on it.
GESTURES: tuple[str, ...] = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "arm_roll",
    "air_drums",
)

Vectors = npt.NDArray[np.float64]
Angles = npt.NDArray[np.float64] | float


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm in body units: bone lengths, half the distance between the shoulders, and whose side it is on."""

    upper: float
    fore: float
    shoulder_half: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Manner:
    """How this person does this gesture this time.

    `period_s` is one repetition; `amplitude` scales the movement (1 is usual); `phase` in repetitions is where it starts;
    `lift_rad`, `height`, `reach` say where elbow and hands are held; `bend_rad` how far the elbow stays bent;
    `balance` in -1..1 gives more of the movement to the right (-) or left (+) hand; `wander` is the slow unsteadiness.
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
    "hand_clapping": 0.46,
    "right_hand_wave": 0.52,
    "left_hand_wave": 0.52,
    "right_arm_clockwise": 0.80,
    "arm_roll": 0.50,
    "air_drums": 0.46,
}


def check_gesture(gesture: str) -> None:
    """Raise UsageError unless the simulator knows `gesture`."""
    if gesture not in GESTURES:
        raise UsageError(f"no gesture {gesture!r} in the simulator; it knows {', '.join(GESTURES)}")


def draw_manner(gesture: str, rng: np.random.Generator) -> Manner:
    """Draw a way to do `gesture`: speed 0.8 to 1.6 times the usual, and posture, all from `rng`."""
    return Manner(
        period_s=_USUAL_PERIOD_S[gesture] / rng.uniform(0.8, 1.6),
        amplitude=rng.uniform(0.7, 1.25),
        phase=rng.uniform(0.0, 1.0),
        lift_rad=rng.uniform(-0.35, 0.35),
        height=rng.uniform(-0.35, 0.45),
        reach=rng.uniform(0.6, 1.3),
        bend_rad=rng.uniform(0.05, 0.5),
        balance=float(np.clip(rng.normal(0.0, 0.35), -0.8, 0.8)),
        wander=rng.uniform(0.0, 0.05),
    )


def pose_arm(gesture: str | None, time_s: Vectors, arm: Arm, manner: Manner | None) -> Vectors:
    """Joints of one arm over time: (F, 2, 3) for `time_s` (F,); axis 1 is elbow, hand; axis 2 outward, down, forward.

    Relative to the shoulder, in body units. `gesture` None, or no manner, is an arm that hangs at rest.
    """
    if gesture is None or manner is None:
        return _hang(time_s, arm)
    cycle = time_s / manner.period_s
    cycle = cycle + manner.phase + manner.wander * np.sin(2.7 * cycle + 9.0 * manner.phase)
    return _POSES[gesture](cycle, arm, manner)


def _vectors(outward: Angles, down: Angles, forward: Angles) -> Vectors:
    """Stack three columns, numbers or (F,), to (F, 3)."""
    return np.stack(np.broadcast_arrays(outward, down, forward), axis=-1).astype(np.float64)


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _chain(upper: Vectors, fore: Vectors, arm: Arm) -> Vectors:
    """Elbow and hand from the directions of upper arm and forearm."""
    elbow = arm.upper * _unit(upper)
    return np.stack((elbow, elbow + arm.fore * _unit(fore)), axis=1)


def _reach(hand: Vectors, pole: Vectors, arm: Arm) -> Vectors:
    """Elbow and hand from the hand's place; the elbow points to `pole` as far as the bones allow (two-bone inverse kinematics).

    A hand out of reach is pulled to where the straight arm ends.
    """
    distance = np.linalg.norm(hand, axis=-1, keepdims=True)
    shortest, longest = abs(arm.upper - arm.fore) + 1e-3, arm.upper + arm.fore - 1e-3
    reached = np.clip(distance, shortest, longest)
    axis = hand / np.maximum(distance, 1e-9)
    along = (arm.upper**2 - arm.fore**2 + reached**2) / (2.0 * reached)
    aside = np.sqrt(np.maximum(arm.upper**2 - along**2, 0.0))
    sideways = _unit(pole - (pole * axis).sum(axis=-1, keepdims=True) * axis)
    return np.stack((along * axis + aside * sideways, reached * axis), axis=1)


def _hang(time_s: Vectors, arm: Arm) -> Vectors:
    breath = 0.015 * np.sin(1.9 * time_s + (1.0 if arm.is_right else 0.0))
    return _chain(_vectors(0.16 + breath, 1.0, 0.05), _vectors(0.04 + breath, 1.0, 0.25), arm)


def _wave(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    swing = np.sin(2.0 * math.pi * cycle)
    lift = 0.75 + manner.lift_rad + 0.10 * swing
    lean = 0.10 + 0.5 * manner.lift_rad + 0.75 * manner.amplitude * swing
    upper = _vectors(np.sin(lift), np.cos(lift), 0.35 * manner.reach)
    fore = _vectors(np.sin(lean), -np.cos(lean), 0.30 * manner.reach)
    return _chain(upper, fore, arm)


def _wave_right(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    return _wave(cycle, arm, manner) if arm.is_right else _hang(manner.period_s * cycle, arm)


def _wave_left(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    return _hang(manner.period_s * cycle, arm) if arm.is_right else _wave(cycle, arm, manner)


def _circle_right(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Whole arm about the shoulder, clockwise for the person: up, outward, down, and back in front of the chest."""
    if not arm.is_right:
        return _hang(manner.period_s * cycle, arm)
    angle = 2.0 * math.pi * cycle
    width = 0.75 + 0.3 * manner.amplitude
    upper = _vectors(0.25 + width * np.sin(angle), -np.cos(angle), 0.45 * manner.reach)
    lag = angle - manner.bend_rad
    fore = _vectors(width * np.sin(lag), -np.cos(lag), 0.35 * manner.reach)
    return _chain(upper, fore, arm)


def _clap(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Hands meet in front of the chest; `balance` lets one hand do most of the work."""
    apart = np.abs(np.sin(math.pi * cycle)) ** 1.3
    share = 1.0 - manner.balance if arm.is_right else 1.0 + manner.balance
    gap = 0.16 + 0.95 * manner.amplitude * share * apart
    hand = _vectors(gap - arm.shoulder_half, 0.95 + manner.height - 0.12 * apart, 0.95 * manner.reach)
    return _reach(hand, _vectors(0.75 + manner.lift_rad, 1.0, 0.0), arm)


def _roll(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Forearms before the chest, turning about each other, half a turn apart."""
    angle = 2.0 * math.pi * (cycle + (0.0 if arm.is_right else 0.5))
    radius = 0.50 * manner.amplitude
    hand = _vectors(
        -0.05 - arm.shoulder_half - 0.4 * manner.bend_rad,
        0.85 + manner.height + 1.15 * radius * np.cos(angle),
        0.75 * manner.reach + radius * np.sin(angle),
    )
    lift = 0.35 * radius * np.cos(angle - 0.5)
    return _reach(hand, _vectors(1.0, 0.45 + manner.lift_rad + lift, -0.1), arm)


def _drum(cycle: Vectors, arm: Arm, manner: Manner) -> Vectors:
    """Forearms beat up and down from the elbow, in turn."""
    beat = np.sin(2.0 * math.pi * (cycle + (0.0 if arm.is_right else 0.5 + 0.1 * manner.balance)))
    pitch = 0.25 + 0.6 * manner.lift_rad + 1.0 * manner.amplitude * beat
    upper = _vectors(0.40 + 0.3 * manner.lift_rad, 1.0, 0.45 * manner.reach + 0.45 * manner.amplitude * beat)
    aside = 0.3 - 0.8 * manner.bend_rad
    return _chain(upper, _vectors(aside, -np.sin(pitch), np.cos(pitch)), arm)


_POSES: dict[str, Callable[[Vectors, Arm, Manner], Vectors]] = {
    "hand_clapping": _clap,
    "right_hand_wave": _wave_right,
    "left_hand_wave": _wave_left,
    "right_arm_clockwise": _circle_right,
    "arm_roll": _roll,
    "air_drums": _drum,
}
