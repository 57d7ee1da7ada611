"""What the person looks like: proportions, clothes, and the capsules that make the picture of one pose.

Knows poses and picture coordinates, not how capsules are drawn.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import SensorSize
from pipeline.simulator.gestures import Arm, Vectors
from pipeline.simulator.scene import N_PART_COLUMNS

# A body unit (about half the width of the shoulders) in pixels, for a person at usual distance before 128 pixels.
BODY_UNIT_PX = 17.0
_USUAL_SENSOR_PX = 128.0
# Distance of the camera in body units: things one unit nearer look 1 / 10 larger.
_CAMERA_DISTANCE = 10.0
# Least log ratio between skin, shirt and wall: about three thresholds of a pixel.
_LEAST_CONTRAST = 0.45

# Trunk: torso, shoulders, neck, hair, face, fringe. Each arm: upper arm, forearm, hand.
N_PARTS = 12


@dataclass(frozen=True, slots=True)
class Cloth:
    """Reflectance in 0..1, and stripes: relative strength, stripes per body unit, phase in stripes."""

    reflectance: float
    stripe_strength: float = 0.0
    stripes_per_unit: float = 0.0
    stripe_phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """One person before the camera. Lengths in body units; `unit_px` and `(x_px, y_px)`, the neck, place them in the picture.

    `looseness` is how far the trunk goes along with the hands, 0 not at all.
    """

    unit_px: float
    x_px: float
    y_px: float
    shoulder_half: float
    upper_arm: float
    forearm: float
    arm_radius: float
    hand_radius: float
    head_radius: float
    torso_radius: float
    skin: Cloth
    shirt: Cloth
    sleeve: Cloth
    hair: Cloth
    sway_px: float
    sway_phase: float
    looseness: float

    def arm(self, *, is_right: bool) -> Arm:
        """The arm of one side, as the gestures want it."""
        return Arm(self.upper_arm, self.forearm, self.shoulder_half, is_right)


def draw_person(rng: np.random.Generator, sensor_size: SensorSize, wall_light: float) -> Person:
    """Draw a person for a sensor: body, clothes, place and distance (0.7 to 1.3 times the usual size), all from `rng`.

    `wall_light` is the usual reflectance behind them, from which skin and shirt differ.
    """
    zoom = min(sensor_size) / _USUAL_SENSOR_PX
    unit_px = BODY_UNIT_PX * rng.uniform(0.7, 1.3) * zoom
    # skin has the shadows of fingers and wrinkles
    skin_light = _draw_light(rng, (wall_light,))
    skin = Cloth(skin_light, rng.uniform(0.05, 0.3), rng.uniform(1.5, 3.5), rng.uniform(0.0, 1.0))
    shirt_light = _draw_light(rng, (wall_light, skin_light))
    shirt = Cloth(shirt_light, rng.uniform(0.05, 0.5), rng.uniform(0.8, 2.2), rng.uniform(0.0, 1.0))
    return Person(
        unit_px=unit_px,
        x_px=sensor_size.width * (0.5 + rng.uniform(-0.11, 0.11)),
        y_px=sensor_size.height * (0.46 + rng.uniform(-0.08, 0.08)),
        shoulder_half=rng.uniform(0.9, 1.1),
        upper_arm=rng.uniform(1.30, 1.60),
        forearm=rng.uniform(1.15, 1.40),
        arm_radius=rng.uniform(0.24, 0.34),
        hand_radius=rng.uniform(0.32, 0.42),
        head_radius=rng.uniform(0.50, 0.62),
        torso_radius=rng.uniform(0.80, 1.0),
        skin=skin,
        shirt=shirt,
        sleeve=shirt if rng.random() < 0.4 else skin,
        hair=Cloth(rng.uniform(0.05, 0.45)),
        sway_px=rng.uniform(0.2, 1.2) * zoom,
        sway_phase=rng.uniform(0.0, 6.3),
        looseness=rng.uniform(0.0, 0.05),
    )


def _draw_light(rng: np.random.Generator, others: tuple[float, ...]) -> float:
    """Draw a reflectance in 0.05..0.9 that can be told from the `others`, if 20 tries find one."""
    for _ in range(20):
        light = float(np.exp(rng.uniform(np.log(0.05), np.log(0.9))))
        if all(abs(np.log(light / other)) > _LEAST_CONTRAST for other in others):
            break
    return light


def make_parts(person: Person, arms: Vectors, time_s: Vectors) -> npt.NDArray[np.float64]:
    """Capsules of the person in painter's order, (F, N_PARTS, N_PART_COLUMNS).

    `arms` is (F, 2, 2, 3): right and left arm, elbow and hand, outward/down/forward of the shoulder in body units.
    """
    parts = np.zeros((len(time_s), N_PARTS, N_PART_COLUMNS))
    neck = _sway(person, time_s) + _follow_hands(person, arms)
    _fill_trunk(parts[:, :6], person, neck)
    right, left = (_arm_capsules(person, arms[:, side], neck, is_right=side == 0) for side in (0, 1))
    # The arm whose hand is nearer to the camera is painted last.
    is_right_nearer = (arms[:, 0, 1, 2] > arms[:, 1, 1, 2])[:, None, None]
    parts[:, 6:9] = np.where(is_right_nearer, left, right)
    parts[:, 9:12] = np.where(is_right_nearer, right, left)
    return parts


def _sway(person: Person, time_s: Vectors) -> Vectors:
    """Place of the neck in pixels, (F, 2): nobody stands quite still."""
    slow = 2.4 * time_s + person.sway_phase
    dx = person.sway_px * (np.sin(slow) + 0.3 * np.sin(2.3 * slow))
    dy = 0.4 * person.sway_px * np.sin(1.7 * slow + 1.0)
    return np.stack((person.x_px + dx, person.y_px + dy), axis=-1)


def _follow_hands(person: Person, arms: Vectors) -> Vectors:
    """How far the hands take the neck with them, pixels, (F, 2)."""
    hands = person.looseness * person.unit_px * arms[:, :, 1]  # (F, 2, 3)
    return np.stack((hands[:, 1, 0] - hands[:, 0, 0], 0.5 * (hands[:, 0, 1] + hands[:, 1, 1])), axis=-1)


def _fill_trunk(parts: npt.NDArray[np.float64], person: Person, neck: Vectors) -> None:
    """Write torso, shoulders, neck, hair, face and fringe into the first six parts, from back to front."""
    half, head = person.shoulder_half, person.head_radius
    rows = (
        # (x0, y0, r0), (x1, y1, r1) in body units from the neck, and what it is made of
        ((0.0, 1.05, person.torso_radius), (0.0, 4.6, 0.9 * person.torso_radius), person.shirt),
        ((0.28 - half, 0.36, 0.32), (half - 0.28, 0.36, 0.32), person.shirt),
        ((0.0, -0.5, 0.28), (0.0, 0.15, 0.30), person.skin),
        ((0.0, -1.15, 1.12 * head), (0.0, -0.95, 1.05 * head), person.hair),
        ((0.0, -0.95, 0.92 * head), (0.0, -0.62, 0.72 * head), person.skin),
        ((-0.6 * head, -1.12 - 0.55 * head, 0.3 * head), (0.6 * head, -1.12 - 0.55 * head, 0.3 * head), person.hair),
    )
    for index, (start, end, cloth) in enumerate(rows):
        part = parts[:, index]
        part[:, 0:2] = neck + person.unit_px * np.array(start[:2])
        part[:, 2:4] = neck + person.unit_px * np.array(end[:2])
        part[:, 4] = person.unit_px * start[2]
        part[:, 5] = person.unit_px * end[2]
        _dress(part, cloth, person.unit_px)


def _dress(part: npt.NDArray[np.float64], cloth: Cloth, unit_px: float) -> None:
    part[:, 6] = cloth.reflectance
    part[:, 7] = cloth.stripe_strength
    part[:, 8] = cloth.stripes_per_unit / unit_px
    part[:, 9] = cloth.stripe_phase


def _arm_capsules(person: Person, arm: Vectors, neck: Vectors, *, is_right: bool) -> npt.NDArray[np.float64]:
    """Upper arm, forearm and hand, (F, 3, N_PART_COLUMNS), from elbow and hand (F, 2, 3)."""
    # The person faces the camera, so their right is on the picture's left.
    outward = -1.0 if is_right else 1.0
    shoulder = np.broadcast_to(np.array([0.0, 0.0, 0.0]), (len(neck), 1, 3))
    joints = np.concatenate((shoulder, arm), axis=1)  # (F, 3, 3)
    nearness = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - joints[..., 2])  # (F, 3)
    across = outward * (person.shoulder_half - 0.08 + joints[..., 0]) * nearness
    down = 0.34 + joints[..., 1] * nearness
    place = neck[:, None, :] + person.unit_px * np.stack((across, down), axis=-1)  # (F, 3, 2)
    along = place[:, 2] - place[:, 1]
    length = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    # Fingers go on where the forearm points, less so when it points at the camera.
    fingers = place[:, 2] + 0.8 * person.hand_radius * along / np.maximum(length, person.unit_px)
    radius = person.unit_px * person.arm_radius * nearness
    hand = person.unit_px * person.hand_radius * nearness[:, 2]
    capsules = np.zeros((len(neck), 3, N_PART_COLUMNS))
    ends = ((place[:, 0], place[:, 1]), (place[:, 1], place[:, 2]), (place[:, 2], fingers))
    radii = ((1.12 * radius[:, 0], radius[:, 1]), (0.95 * radius[:, 1], 0.72 * radius[:, 2]), (hand, 0.8 * hand))
    for index, cloth in enumerate((person.shirt, person.sleeve, person.skin)):
        part = capsules[:, index]
        part[:, 0:2], part[:, 2:4] = ends[index]
        part[:, 4], part[:, 5] = radii[index]
        _dress(part, cloth, person.unit_px)
    return capsules
