"""Scenes without a gesture that are not quiet either: what a recogniser must not answer to."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import Events, SensorSize
from pipeline.simulator.background import Lamp, Shake, draw_background, draw_lamp, draw_shake
from pipeline.simulator.body import make_parts
from pipeline.simulator.limbs import Vectors, chain, vectors
from pipeline.simulator.person import Person, draw_person
from pipeline.simulator.pixel import draw_traits
from pipeline.simulator.scene import N_PART_COLUMNS
from pipeline.simulator.stage import Actors, Film, Scenery

_BLOCK_US = 100_000
# A wall that a moving camera looks at is so many times as wide and high as the picture.
_LARGE_WALL = 2
# A ball falls again and again, at one of so many places in turn.
_N_PLACES = 64


def film_foreign(
    kind: str, rng: np.random.Generator, noise_rng: np.random.Generator, sensor_size: SensorSize, duration_us: int
) -> Iterator[Events]:
    """Packets of a foreign scene, a name of `SCENES`; everything but the noise is drawn from `rng`."""
    scenery, actors = SCENES[kind](rng, sensor_size)
    return Film(scenery, sensor_size, noise_rng).shoot(actors, duration_us, _BLOCK_US)


def _seconds(times_us: npt.NDArray[np.int64]) -> Vectors:
    return np.asarray(times_us, dtype=np.float64) * 1e-6


def _nobody(times_us: npt.NDArray[np.int64]) -> Vectors:
    return np.zeros((len(times_us), 0, N_PART_COLUMNS))


def _draw_scenery(
    rng: np.random.Generator, sensor_size: SensorSize, *, lamp: Lamp | None = None, shake: Shake | None = None
) -> Scenery:
    """Draw a wall and a camera, and the light and movement of the camera that are not given."""
    width, height = sensor_size
    if shake is None:
        wall = draw_background(rng, sensor_size)
    else:
        # before an even wall nobody would see that the camera moves
        kind = str(rng.choice(("shelves", "clutter")))
        wall = draw_background(rng, SensorSize(_LARGE_WALL * width, _LARGE_WALL * height), kind=kind)
    lamp = lamp or draw_lamp(rng)
    traits = draw_traits(rng, sensor_size, lamp.level * wall[:height, :width])
    return Scenery(wall, lamp, shake or draw_shake(rng, sensor_size), traits)


def _standing(person: Person) -> Actors:
    """A person who stands with hanging arms."""

    def actors(times_us: npt.NDArray[np.int64]) -> Vectors:
        still = np.zeros(len(times_us))
        arms = [
            chain(vectors(0.16, 1.0 + still, 0.05), vectors(0.04, 1.0 + still, 0.25), person.arm(is_right=is_right))
            for is_right in (True, False)
        ]
        return make_parts(person, np.stack(arms, axis=1), _seconds(times_us))

    return actors


def _moving_camera(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """The camera swings about before a wall, by 3 to 12 pixels of 128, a third to one and a half times a second."""
    size_px = rng.uniform(3.0, 12.0) * min(sensor_size) / 128.0
    shake = Shake(size_px, rng.uniform(0.3, 1.5), rng.uniform(0.0, 1.0))
    return _draw_scenery(rng, sensor_size, shake=shake), _nobody


def _walker(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """Somebody walks through the picture and back, arms swinging."""
    scenery = _draw_scenery(rng, sensor_size)
    person = draw_person(rng, sensor_size, float(np.median(scenery.wall)))
    person = replace(person, x_px=0.0, yaw_rad=float(rng.choice((-1.0, 1.0))) * rng.uniform(0.7, 1.2))
    speed_px, steps_hz, swing = person.unit_px * rng.uniform(1.2, 3.5), rng.uniform(0.7, 1.1), rng.uniform(0.2, 0.6)
    # out of the picture by the width of a body on either side
    first, last = -3.0 * person.unit_px, sensor_size.width + 3.0 * person.unit_px
    begin = rng.uniform(0.0, 2.0)

    def actors(times_us: npt.NDArray[np.int64]) -> Vectors:
        time_s = _seconds(times_us)
        way = (begin + speed_px * time_s / (last - first)) % 2.0
        step = 2.0 * np.pi * steps_hz * time_s
        arms = []
        for is_right in (True, False):
            forward = swing * np.sin(step + (0.0 if is_right else np.pi))
            arms.append(
                chain(vectors(0.15, 1.0, forward), vectors(0.05, 1.0, 1.3 * forward + 0.2), person.arm(is_right=is_right))
            )
        parts = make_parts(person, np.stack(arms, axis=1), time_s)
        parts[..., (0, 2)] += (first + (last - first) * np.minimum(way, 2.0 - way))[:, None, None]
        parts[..., (1, 3)] += (0.04 * person.unit_px * np.cos(2.0 * step))[:, None, None]
        return parts

    return scenery, actors


def _flickering_lamp(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """Somebody stands still in a light that goes up and down by 5 to 35 %, half a time to 15 times a second."""
    hz = float(np.exp(rng.uniform(np.log(0.5), np.log(15.0))))
    lamp = Lamp(rng.uniform(0.3, 1.0), rng.uniform(0.05, 0.3), hz, rng.uniform(0.0, 1.0))
    scenery = _draw_scenery(rng, sensor_size, lamp=lamp)
    return scenery, _standing(draw_person(rng, sensor_size, float(np.median(scenery.wall))))


def _contrast(rng: np.random.Generator, scenery: Scenery) -> float:
    """A reflectance that can be told from the wall."""
    return rng.uniform(0.04, 0.1) if np.median(scenery.wall) > 0.25 else rng.uniform(0.5, 0.9)


def _capsule(start: Vectors, end: Vectors, radius_px: float, reflectance: float) -> Vectors:
    """One capsule at F times, (F, 1, N_PART_COLUMNS), from its ends (F, 2)."""
    parts = np.zeros((len(start), 1, N_PART_COLUMNS))
    parts[:, 0, 0:2], parts[:, 0, 2:4] = start, end
    parts[:, 0, 4:6], parts[:, 0, 6] = radius_px, reflectance
    return parts


def _falling_ball(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """A ball falls through the picture, again and again at other places."""
    scenery = _draw_scenery(rng, sensor_size)
    radius_px = min(sensor_size) * rng.uniform(0.03, 0.1)
    places_px = sensor_size.width * rng.uniform(0.1, 0.9, _N_PLACES)
    period_s, way_px = rng.uniform(0.6, 1.5), sensor_size.height + 2.0 * radius_px
    reflectance = _contrast(rng, scenery)

    def actors(times_us: npt.NDArray[np.int64]) -> Vectors:
        turns = _seconds(times_us) / period_s
        fallen = turns % 1.0
        x = places_px[turns.astype(np.int64) % _N_PLACES]
        # it is gone for the last third of its time
        place = np.stack((x, way_px * 2.0 * fallen * fallen - radius_px), axis=-1)
        return _capsule(place, place, radius_px, reflectance)

    return scenery, actors


def _drifting_bar(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """A long bar drifts through the picture across itself, and comes again from the other side."""
    scenery = _draw_scenery(rng, sensor_size)
    side = float(max(sensor_size))
    radius_px, angle = side * rng.uniform(0.01, 0.08), rng.uniform(0.0, 2.0 * np.pi)
    across = np.array((np.cos(angle), np.sin(angle)))
    speed_px, begin = side * rng.uniform(0.2, 1.2), rng.uniform(0.0, 1.0)
    half_way, half_length = 0.75 * side + radius_px, rng.uniform(0.2, 0.8) * side * np.array((-across[1], across[0]))
    middle = 0.5 * np.array(sensor_size, dtype=np.float64)
    reflectance = _contrast(rng, scenery)

    def actors(times_us: npt.NDArray[np.int64]) -> Vectors:
        way = (begin + speed_px * _seconds(times_us) / (2.0 * half_way)) % 1.0
        place = middle + (2.0 * way - 1.0)[:, None] * half_way * across
        return _capsule(place - half_length, place + half_length, radius_px, reflectance)

    return scenery, actors


def _noise(rng: np.random.Generator, sensor_size: SensorSize) -> tuple[Scenery, Actors]:
    """Nothing but noise, 3 to 20 Hz a pixel: a camera with too sensitive biases in the dark."""
    scenery = _draw_scenery(rng, sensor_size, lamp=Lamp(0.05, 0.0, 100.0, 0.0))
    louder = scenery.traits.noise_hz / scenery.traits.noise_hz.mean() * rng.uniform(3.0, 20.0)
    return replace(scenery, traits=replace(scenery.traits, noise_hz=louder)), _nobody


SCENES: dict[str, Callable[[np.random.Generator, SensorSize], tuple[Scenery, Actors]]] = {
    "moving_camera": _moving_camera,
    "walker": _walker,
    "flickering_lamp": _flickering_lamp,
    "falling_ball": _falling_ball,
    "drifting_bar": _drifting_bar,
    "noise": _noise,
}
