"""Arms as two bones: where elbow and hand are.

Arms are described in a frame of their own, which mirrors by itself: from the shoulder outward (away from the body's middle),
down, and forward (to the camera), in body units.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]
Angles = npt.NDArray[np.float64] | float


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm in body units: bone lengths, half the distance between the shoulders, and whose side it is on."""

    upper: float
    fore: float
    shoulder_half: float
    is_right: bool


def vectors(outward: Angles, down: Angles, forward: Angles) -> Vectors:
    """Stack three columns, numbers or (F,), to (F, 3)."""
    return np.stack(np.broadcast_arrays(outward, down, forward), axis=-1).astype(np.float64)


def unit(directions: Vectors) -> Vectors:
    """Directions of length 1, same shape."""
    return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True))


def chain(upper: Vectors, fore: Vectors, arm: Arm) -> Vectors:
    """Elbow and hand, (F, 2, 3), from the directions of upper arm and forearm, (F, 3)."""
    elbow = arm.upper * unit(upper)
    return np.stack((elbow, elbow + arm.fore * unit(fore)), axis=1)


def reach(hand: Vectors, pole: Vectors, arm: Arm) -> Vectors:
    """Elbow and hand, (F, 2, 3), from the hand's place (F, 3), by two-bone inverse kinematics.

    The elbow points to `pole` as far as the bones allow. A hand out of reach is pulled to where the straight arm ends.
    """
    distance = np.linalg.norm(hand, axis=-1, keepdims=True)
    shortest, longest = abs(arm.upper - arm.fore) + 1e-3, arm.upper + arm.fore - 1e-3
    reached = np.clip(distance, shortest, longest)
    axis = hand / np.maximum(distance, 1e-9)
    along = (arm.upper**2 - arm.fore**2 + reached**2) / (2.0 * reached)
    aside = np.sqrt(np.maximum(arm.upper**2 - along**2, 0.0))
    sideways = unit(pole - (pole * axis).sum(axis=-1, keepdims=True) * axis)
    return np.stack((along * axis + aside * sideways, reached * axis), axis=1)


def hang(time_s: Vectors, arm: Arm, idle: float = 0.0) -> Vectors:
    """An arm at rest, breathing; `idle` from 0, hanging, to 1, the forearm held before the belly."""
    breath = 0.015 * np.sin(1.9 * time_s + (1.0 if arm.is_right else 0.0))
    upper = vectors(0.16 + breath, 1.0, 0.05 + 0.1 * idle)
    return chain(upper, vectors(0.04 + breath - 0.9 * idle, 1.0 - 0.9 * idle, 0.25 + 0.6 * idle), arm)
