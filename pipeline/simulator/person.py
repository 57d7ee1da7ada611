"""Who stands before the camera: proportions, clothes, place and posture, drawn from a seed."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.schema.events import SensorSize
from pipeline.simulator.limbs import Arm
from pipeline.simulator.variation import EVERYTHING, Variation

# A body unit (about half the width of the shoulders) in pixels, for a person at usual distance before 128 pixels.
BODY_UNIT_PX = 17.0
NEAREST, FARTHEST = 1.35, 0.68
_USUAL_SENSOR_PX = 128.0
# Least log ratio between skin and wall, and skin and shirt: about four thresholds of a pixel.
_LEAST_CONTRAST = 0.6


@dataclass(frozen=True, slots=True)
class Cloth:
    """Reflectance in 0..1, and patterns: relative strength, stripes per body unit, phase in stripes.

    Stripes follow one another along the part they dress, crosses across it.
    """

    reflectance: float
    stripe_strength: float = 0.0
    stripes_per_unit: float = 0.0
    stripe_phase: float = 0.0
    cross_strength: float = 0.0
    crosses_per_unit: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """One person before the camera. Lengths in body units; `unit_px` and `(x_px, y_px)`, the neck, place them in the picture.

    `looseness` is how far the trunk goes along with the hands, 0 not at all. `yaw_rad` turns the body about the upright,
    positive to the picture's right; `lean_rad` tilts it in the picture. `wrist_rad` bends the hands, whose fingers are
    `finger_length` palms long, 0 for a fist. `has_band` is 1 for a band on the right wrist, -1 for the left, 0 for none.
    `shadow` is the share of light that the shadow of a forearm takes, `(shadow_x, shadow_y)` where it falls, in body units.
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
    band: Cloth
    has_band: int
    has_sleeves: bool
    sway_px: float
    sway_phase: float
    looseness: float
    yaw_rad: float
    lean_rad: float
    nod_px: float
    nod_hz: float
    wrist_rad: float
    finger_length: float
    finger_spread_rad: float
    shadow: float
    shadow_x: float
    shadow_y: float

    def arm(self, *, is_right: bool) -> Arm:
        """The arm of one side, as the gestures want it."""
        return Arm(self.upper_arm, self.forearm, self.shoulder_half, is_right)


def draw_person(
    rng: np.random.Generator, sensor_size: SensorSize, wall_light: float, variation: Variation = EVERYTHING
) -> Person:
    """Draw a person for a sensor: body, clothes, place and distance (0.68 to 1.35 times the usual size), all from `rng`.

    `wall_light` is the usual reflectance behind them, from which the skin differs. Parts of the variation that are off are
    drawn all the same, then replaced by the usual values, so that the rest stays as it was.
    """
    zoom = min(sensor_size) / _USUAL_SENSOR_PX
    skin, shirt, hair, band = _draw_clothes(rng, wall_light)
    person = Person(
        unit_px=BODY_UNIT_PX * rng.uniform(FARTHEST, NEAREST) * zoom,
        x_px=sensor_size.width * (0.5 + rng.uniform(-0.15, 0.15)),
        y_px=sensor_size.height * (0.47 + rng.uniform(-0.13, 0.13)),
        shoulder_half=rng.uniform(0.85, 1.15),
        upper_arm=rng.uniform(1.25, 1.65),
        forearm=rng.uniform(1.10, 1.45),
        arm_radius=rng.uniform(0.19, 0.34),
        hand_radius=rng.uniform(0.25, 0.38),
        head_radius=rng.uniform(0.46, 0.62),
        torso_radius=rng.uniform(0.75, 1.05),
        skin=skin,
        shirt=shirt,
        sleeve=shirt if rng.random() < 0.35 else skin,
        hair=hair,
        band=band,
        has_band=int(rng.choice((0, 0, 0, 1, -1))),
        has_sleeves=bool(rng.random() < 0.9),
        sway_px=float(np.exp(rng.uniform(np.log(0.2), np.log(1.4)))) * zoom,
        sway_phase=rng.uniform(0.0, 6.3),
        looseness=rng.uniform(0.0, 0.05),
        yaw_rad=float(np.clip(rng.normal(0.0, 0.2), -0.4, 0.4)),
        lean_rad=rng.normal(0.0, 0.04),
        nod_px=rng.uniform(0.0, 0.6) * zoom,
        nod_hz=rng.uniform(0.3, 2.0),
        wrist_rad=rng.normal(0.0, 0.2),
        finger_length=max(0.0, rng.uniform(-0.6, 1.3)),
        finger_spread_rad=rng.uniform(0.1, 0.55),
        shadow=max(0.0, rng.uniform(-0.2, 0.3)),
        shadow_x=rng.normal(0.0, 0.5),
        shadow_y=rng.uniform(0.1, 1.2),
    )
    return _restrict(person, sensor_size, variation)


def _restrict(person: Person, sensor_size: SensorSize, variation: Variation) -> Person:
    """The person with the usual values where variation is off."""
    zoom = min(sensor_size) / _USUAL_SENSOR_PX
    if not variation.placement:
        person = replace(
            person, unit_px=BODY_UNIT_PX * zoom, x_px=0.5 * sensor_size.width, y_px=0.47 * sensor_size.height, yaw_rad=0.0
        )
    if not variation.body:
        person = replace(
            person,
            looseness=0.0,
            lean_rad=0.0,
            nod_px=0.0,
            wrist_rad=0.0,
            shoulder_half=1.0,
            upper_arm=1.45,
            forearm=1.27,
            arm_radius=0.26,
            hand_radius=0.31,
            head_radius=0.54,
            torso_radius=0.9,
            sway_px=0.4 * zoom,
            finger_length=0.6,
            finger_spread_rad=0.3,
        )
    if not variation.texture:
        shirt, skin = (Cloth(cloth.reflectance) for cloth in (person.shirt, person.skin))
        person = replace(person, shirt=shirt, sleeve=skin, skin=skin, has_band=0, has_sleeves=True)
    return person


def _draw_clothes(rng: np.random.Generator, wall_light: float) -> tuple[Cloth, Cloth, Cloth, Cloth]:
    """Draw skin, shirt, hair and wrist band."""
    # skin has the shadows of muscles and wrinkles
    skin_light = _draw_light(rng, (wall_light,))
    skin = Cloth(skin_light, rng.uniform(0.0, 0.25), rng.uniform(1.0, 3.5), rng.uniform(0.0, 1.0))
    # a shirt may be hard to tell from the wall
    shirt_light = _draw_light(rng, (skin_light, wall_light) if rng.random() < 0.6 else (skin_light,))
    is_plain, is_plaid = rng.random() < 0.3, rng.random() < 0.4
    strength, cross_strength = rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.4)
    shirt = Cloth(
        shirt_light,
        0.0 if is_plain else strength,
        float(np.exp(rng.uniform(np.log(0.6), np.log(4.0)))),
        rng.uniform(0.0, 1.0),
        cross_strength if is_plaid else 0.0,
        rng.uniform(0.6, 3.0),
    )
    return skin, shirt, Cloth(rng.uniform(0.04, 0.5)), Cloth(_draw_light(rng, (skin_light,)))


def _draw_light(rng: np.random.Generator, others: tuple[float, ...]) -> float:
    """Draw a reflectance in 0.05..0.9 that can be told from the `others`, if 20 tries find one."""
    for _ in range(20):
        light = float(np.exp(rng.uniform(np.log(0.05), np.log(0.9))))
        if all(abs(np.log(light / other)) > _LEAST_CONTRAST for other in others):
            break
    return light
