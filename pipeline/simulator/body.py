"""What the person looks like in one pose: the capsules that make the picture.

Knows poses and picture coordinates, not how capsules are drawn; who the person is says `person.py`.
"""

import numpy as np
import numpy.typing as npt

from pipeline.simulator.limbs import Vectors
from pipeline.simulator.person import Cloth, Person
from pipeline.simulator.scene import N_PART_COLUMNS

# Distance of the camera in body units: things one unit nearer look 1 / 10 larger.
_CAMERA_DISTANCE = 10.0
# The hips, about which the body leans, in body units below the neck.
_HIPS = 3.2

# Trunk: torso, shoulders, neck, hair, face, fringe. Shadows of the forearms on it. Each arm: upper arm, forearm, wrist band,
# palm, four fingers, thumb.
_N_TRUNK, _N_SHADOWS, _N_FINGERS = 6, 2, 5
_N_BACK = _N_TRUNK + _N_SHADOWS
_N_ARM = 4 + _N_FINGERS
N_PARTS = _N_BACK + 2 * _N_ARM
PALM = 3
# Where the fingers begin and how they point: share of the palm's width to the thumb's side, share of the spread, length.
_FINGERS = ((-0.75, -0.6, 0.75), (-0.25, -0.15, 0.95), (0.25, 0.2, 1.0), (0.75, 0.6, 0.9), (0.7, 1.9, 0.7))


def make_parts(person: Person, arms: Vectors, time_s: Vectors) -> npt.NDArray[np.float64]:
    """Capsules of the person in painter's order, (F, N_PARTS, N_PART_COLUMNS).

    `arms` is (F, 2, 2, 3): right and left arm, elbow and hand, outward/down/forward of the shoulder in body units.
    """
    parts = np.zeros((len(time_s), N_PARTS, N_PART_COLUMNS))
    neck = _sway(person, time_s) + _follow_hands(person, arms)
    _fill_trunk(parts[:, :_N_TRUNK], person, neck, time_s)
    right, left = (_arm_capsules(person, arms[:, side], neck, is_right=side == 0) for side in (0, 1))
    # The arm whose hand is nearer to the camera is painted last.
    is_right_nearer = (arms[:, 0, 1, 2] > arms[:, 1, 1, 2])[:, None, None]
    parts[:, _N_BACK : _N_BACK + _N_ARM] = np.where(is_right_nearer, left, right)
    parts[:, _N_BACK + _N_ARM :] = np.where(is_right_nearer, right, left)
    _fill_shadows(parts[:, _N_TRUNK:_N_BACK], person, (right, left))
    _lean(parts, person)
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


def _lean(parts: npt.NDArray[np.float64], person: Person) -> None:
    """Turn all capsules in the picture about the hips."""
    hips = np.array((person.x_px, person.y_px + _HIPS * person.unit_px))
    cosine, sine = np.cos(person.lean_rad), np.sin(person.lean_rad)
    turn = np.array(((cosine, sine), (-sine, cosine)))
    for columns in (slice(0, 2), slice(2, 4)):
        parts[..., columns] = hips + (parts[..., columns] - hips) @ turn


def _fill_trunk(parts: npt.NDArray[np.float64], person: Person, neck: Vectors, time_s: Vectors) -> None:
    """Write torso, shoulders, neck, hair, face and fringe into the first parts, from back to front."""
    half, head = person.shoulder_half * np.cos(person.yaw_rad), person.head_radius
    # the face turns with the body: its middle moves to the side within the head
    side = 0.5 * head * np.sin(person.yaw_rad)
    rows = (
        # (x0, y0, r0), (x1, y1, r1) in body units from the neck, and what it is made of
        ((0.0, 1.05, person.torso_radius), (0.0, 4.6, 0.9 * person.torso_radius), person.shirt),
        ((0.28 - half, 0.36, 0.32), (half - 0.28, 0.36, 0.32), person.shirt),
        ((0.0, -0.5, 0.28), (0.0, 0.15, 0.30), person.skin),
        ((0.0, -1.15, 1.12 * head), (0.0, -0.95, 1.05 * head), person.hair),
        ((side, -0.95, 0.92 * head), (side, -0.62, 0.72 * head), person.skin),
        ((-0.6 * head, -1.12 - 0.55 * head, 0.3 * head), (0.6 * head, -1.12 - 0.55 * head, 0.3 * head), person.hair),
    )
    nod_px = person.nod_px * np.sin(2.0 * np.pi * person.nod_hz * time_s + person.sway_phase)
    nod = np.stack((0.6 * nod_px, nod_px), axis=-1)
    for index, (start, end, cloth) in enumerate(rows):
        part = parts[:, index]
        place = neck + nod if index > 2 else neck
        part[:, 0:2] = place + person.unit_px * np.array(start[:2])
        part[:, 2:4] = place + person.unit_px * np.array(end[:2])
        part[:, 4] = person.unit_px * start[2]
        part[:, 5] = person.unit_px * end[2]
        _dress(part, cloth, person.unit_px)


def _dress(part: npt.NDArray[np.float64], cloth: Cloth, unit_px: float) -> None:
    part[:, 6] = cloth.reflectance
    part[:, 7] = cloth.stripe_strength
    part[:, 8] = cloth.stripes_per_unit / unit_px
    part[:, 9] = cloth.stripe_phase
    part[:, 10] = cloth.cross_strength
    part[:, 11] = cloth.crosses_per_unit / unit_px


def _project(person: Person, arm: Vectors, neck: Vectors, outward: float) -> tuple[Vectors, Vectors]:
    """Place (F, 3, 2) in pixels, and how much larger things look there (F, 3), of shoulder, elbow and hand."""
    joints = np.concatenate((np.zeros((len(neck), 1, 3)), arm), axis=1)  # (F, 3, 3)
    beside = outward * (person.shoulder_half - 0.08 + joints[..., 0])
    cosine, sine = np.cos(person.yaw_rad), np.sin(person.yaw_rad)
    across, forward = beside * cosine + joints[..., 2] * sine, joints[..., 2] * cosine - beside * sine
    nearness = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - forward)
    down = 0.34 + joints[..., 1] * nearness
    return neck[:, None, :] + person.unit_px * np.stack((across * nearness, down), axis=-1), nearness


def _arm_capsules(person: Person, arm: Vectors, neck: Vectors, *, is_right: bool) -> npt.NDArray[np.float64]:
    """One arm from shoulder to fingers, (F, _N_ARM, N_PART_COLUMNS), from elbow and hand (F, 2, 3)."""
    # The person faces the camera, so their right is on the picture's left.
    outward = -1.0 if is_right else 1.0
    place, nearness = _project(person, arm, neck, outward)
    along = place[:, 2] - place[:, 1]
    length = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    # The hand goes on where the forearm points, bent a little, and is shorter when it points at the camera.
    ahead = _turned(along / np.maximum(length, person.unit_px), np.array(outward * person.wrist_rad))
    hand = person.unit_px * person.hand_radius * nearness[:, 2]
    radius = person.unit_px * person.arm_radius * nearness
    wrist, palm = place[:, 2] - 0.1 * along, place[:, 2] + 0.75 * hand[:, None] * ahead
    capsules = np.zeros((len(neck), _N_ARM, N_PART_COLUMNS))
    wrist_radius = 0.66 * radius[:, 2]
    has_band = 1.12 if person.has_band == (1 if is_right else -1) else 0.0
    rows = (
        (place[:, 0], place[:, 1], 1.12 * radius[:, 0], radius[:, 1], person.shirt if person.has_sleeves else person.skin),
        (place[:, 1], place[:, 2], 0.95 * radius[:, 1], wrist_radius, person.sleeve),
        (wrist, wrist + 0.06 * along, has_band * wrist_radius, has_band * wrist_radius, person.band),
        (place[:, 2], palm, 0.85 * hand, 0.8 * hand, person.skin),
    )
    for index, (start, end, start_radius, end_radius, cloth) in enumerate(rows):
        part = capsules[:, index]
        part[:, 0:2], part[:, 2:4], part[:, 4], part[:, 5] = start, end, start_radius, end_radius
        _dress(part, cloth, person.unit_px)
    _fill_fingers(capsules[:, PALM + 1 :], person, palm, ahead, hand)
    return capsules


def _fill_fingers(
    parts: npt.NDArray[np.float64], person: Person, palm: Vectors, ahead: Vectors, hand: npt.NDArray[np.float64]
) -> None:
    """Write four fingers and a thumb, fanned out from the end of the palm, into parts (F, 5, N_PART_COLUMNS)."""
    aside = _turned(ahead, np.array(0.5 * np.pi))
    for index, (across, spread, length) in enumerate(_FINGERS):
        part = parts[:, index]
        start = palm + across * 0.8 * hand[:, None] * aside
        pointing = _turned(ahead, np.array(spread * person.finger_spread_rad))
        part[:, 0:2] = start
        part[:, 2:4] = start + (person.finger_length * length) * hand[:, None] * pointing
        part[:, 4], part[:, 5] = 0.28 * hand, 0.22 * hand
        _dress(part, person.skin, person.unit_px)


def _fill_shadows(
    parts: npt.NDArray[np.float64], person: Person, arms: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> None:
    """Write the soft shadows of both forearms into parts (F, 2, N_PART_COLUMNS)."""
    offset = person.unit_px * np.array((person.shadow_x, person.shadow_y))
    for index, arm in enumerate(arms):
        parts[:, index, 0:2] = arm[:, 1, 0:2] + offset
        parts[:, index, 2:4] = arm[:, PALM, 2:4] + offset
        parts[:, index, 4] = parts[:, index, 5] = 2.6 * person.arm_radius * person.unit_px
        parts[:, index, 6] = -person.shadow


def _turned(directions: Vectors, angle: npt.NDArray[np.float64]) -> Vectors:
    """Directions in the picture (F, 2), turned by an angle."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = directions[:, 0], directions[:, 1]
    return np.stack((cosine * x - sine * y, sine * x + cosine * y), axis=-1)
