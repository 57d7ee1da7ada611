"""The class `other_gestures`: a movement of the person's own, drawn anew each time.

Every family is a path of the hands; none is near one of the ten named gestures: circles are always of both arms, waves go up
and down, hands that take turns go forward and not down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.simulator.limbs import Arm, Vectors, chain, hang, reach, vectors

# Elbows point down and outward, and a little back.
_POLE = (0.7, 1.0, -0.2)


@dataclass(frozen=True, slots=True)
class Improvisation:
    """A movement: its `family`, which arms do it, whether they take turns, and numbers in 0..1 that shape the path.

    `hands` is "right", "left" or "both"; `lag` is by how many repetitions the left hand comes later.
    """

    family: str
    hands: str
    lag: float
    shape: tuple[float, ...]


def draw_improvisation(rng: np.random.Generator) -> Improvisation:
    """Draw a family, the hands that it can be done with, and its shape."""
    family = str(rng.choice(FAMILIES))
    hands = str(rng.choice(_HANDS[family]))
    lag = 0.5 if family in _IN_TURN or (family in _PERHAPS_IN_TURN and rng.random() < 0.5) else 0.0
    return Improvisation(family, hands, lag, tuple(float(number) for number in rng.uniform(0.0, 1.0, 8)))


def pose_improvised(cycle: Vectors, size: Vectors, arm: Arm, movement: Improvisation, pace_s: float) -> Vectors:
    """Elbow and hand, (F, 2, 3), at `cycle` repetitions (F,), movement scaled by `size` (F,); `pace_s` is one repetition."""
    is_idle = movement.hands == ("left" if arm.is_right else "right")
    if is_idle:
        return hang(pace_s * cycle, arm, 0.5 * movement.shape[7])
    own = cycle if arm.is_right else cycle + movement.lag
    return _PATHS[movement.family](2.0 * math.pi * own, size, arm, movement.shape)


def _to(hand: Vectors, arm: Arm) -> Vectors:
    return reach(hand, np.array(_POLE), arm)


def _push(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """Hands go forward and back before chest or belly."""
    out = 1.35 + 0.85 * size * np.sin(angle)
    return _to(vectors(-0.5 * shape[0], 0.3 + 1.1 * shape[1] - 0.15 * np.sin(angle), out), arm)


def _throw(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """From behind the head over the shoulder, forward and down."""
    swing = np.sin(angle)
    across = 0.6 - 0.7 * shape[0] * swing
    return _to(vectors(across, -0.5 + 1.3 * size * swing, 0.5 + 1.1 * swing), arm)


def _figure_eight(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """A lying or standing eight in the air."""
    once, twice = np.sin(angle), np.sin(2.0 * angle)
    wide, high = (once, 0.7 * twice) if shape[0] < 0.6 else (0.7 * twice, once)
    return _to(vectors(0.2 + 0.9 * size * wide, 0.1 + shape[1] + 0.8 * size * high, 1.0 + 0.5 * shape[2]), arm)


def _salute(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """A hand goes to the brow and back down, or to the mouth, or to the other shoulder."""
    rise = np.minimum(0.5 - 0.5 * np.cos(angle), 1.0) * np.minimum(size + 0.2, 1.2)
    across, top = ((0.0, -1.2), (-0.9, -0.6), (-1.6, 0.3))[int(3 * shape[0] * 0.999)]
    return _to(vectors(0.2 + (across - 0.2) * rise, 2.3 + (top - 2.3) * rise, 0.4 + 0.5 * rise), arm)


def _flap(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """Straight arms beat up and down at the sides: wings, or a jumping jack from hips to overhead."""
    middle = 1.2 + 0.8 * shape[0]
    lift = middle + (0.5 + 0.7 * shape[1]) * size * np.sin(angle)
    lag = lift - 0.3 * shape[2] - 0.25 * np.cos(angle)
    forward = 0.4 * shape[3]
    return chain(vectors(np.sin(lift), np.cos(lift), forward), vectors(np.sin(lag), np.cos(lag), forward), arm)


def _circle_both(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """Both arms turn at once, mirrored to each other."""
    turn = angle if shape[0] < 0.5 else -angle
    radius = (0.5 + 0.7 * shape[1]) * size
    hand = vectors(0.5 + radius * np.sin(turn), 0.2 + 0.5 * shape[2] - radius * np.cos(turn), 1.1)
    return _to(hand, arm)


def _rub(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """A hand rubs the other shoulder, the head or the belly."""
    across, down = ((-1.8, 0.3), (-0.8, -1.3), (-0.9, 1.5))[int(3 * shape[0] * 0.999)]
    rub = 0.35 * size
    return _to(vectors(across + rub * np.cos(angle), down + rub * shape[1] * np.sin(angle), 0.75), arm)


def _point(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """From the chest out to the side, and back."""
    out = (0.5 + 0.5 * np.sin(angle)) * np.minimum(size + 0.1, 1.2)
    return _to(vectors(-0.6 + 3.0 * out, 0.8 - (0.4 + 1.2 * shape[0]) * out, 0.9 - 0.6 * out), arm)


def _lift(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """Up from the belly to above the head, before the body."""
    high = size * np.sin(angle)
    return _to(vectors(-0.3 + 0.8 * shape[0], 0.5 - 1.5 * high, 0.9 + 0.5 * shape[1]), arm)


def _swim(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """Breast stroke: forward together, out to the sides, back to the chest."""
    wide = 0.45 + 1.0 * size * (0.5 + 0.5 * np.sin(angle))
    return _to(vectors(wide - 0.8, 0.5 + 0.5 * shape[0], 1.2 + 0.9 * np.cos(angle)), arm)


def _ramble(angle: Vectors, size: Vectors, arm: Arm, shape: tuple[float, ...]) -> Vectors:
    """A smooth path through the air; across goes at other paces than down, so that it never is a circle."""
    paces = (0.5, 1.5, 2.0) if shape[0] < 0.5 else (1.5, 0.5, 1.0)
    own = 0.0 if arm.is_right else 2.0 * shape[1]
    across = np.sin(paces[0] * angle + 6.3 * shape[2] + own) + 0.4 * np.sin(paces[2] * angle + 6.3 * shape[3])
    down = np.sin(paces[1] * angle + 6.3 * shape[4] - own) + 0.4 * np.sin(0.7 * angle + 6.3 * shape[5])
    return _to(vectors(0.1 + 0.75 * size * across, 0.5 + 0.75 * size * down, 1.0 + 0.5 * shape[6] * np.cos(angle)), arm)


_PATHS: dict[str, Callable[[Vectors, Vectors, Arm, tuple[float, ...]], Vectors]] = {
    "push": _push,
    "box": _push,
    "throw": _throw,
    "figure_eight": _figure_eight,
    "salute": _salute,
    "flap": _flap,
    "circle_both": _circle_both,
    "rub": _rub,
    "point": _point,
    "lift": _lift,
    "swim": _swim,
    "ramble": _ramble,
}
FAMILIES = tuple(_PATHS)
_ANY, _EITHER, _BOTH = ("right", "left", "both"), ("right", "left"), ("both",)
_HANDS = {
    "push": _ANY,
    "box": _BOTH,
    "throw": _EITHER,
    "figure_eight": _EITHER,
    "salute": _EITHER,
    "flap": _ANY,
    "circle_both": _BOTH,
    "rub": _EITHER,
    "point": _ANY,
    "lift": _BOTH,
    "swim": _BOTH,
    "ramble": _ANY,
}
_IN_TURN = ("box",)
_PERHAPS_IN_TURN = ("point", "lift")
