"""One scene before one camera, for as long as the play goes on.

Joins actors, scene, light and pixels; the one place that knows them all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import Events, SensorSize
from pipeline.simulator.background import Lamp, Shake, Wall, draw_background, draw_lamp, draw_shake
from pipeline.simulator.body import make_parts
from pipeline.simulator.gestures import Act, pose_arm
from pipeline.simulator.limbs import Vectors
from pipeline.simulator.person import Person, draw_person
from pipeline.simulator.pixel import PixelArray, PixelTraits, draw_traits
from pipeline.simulator.scene import N_PART_COLUMNS, STRAY_LIGHT, log_light, render, shift_wall
from pipeline.simulator.variation import EVERYTHING, Variation

# 500 pictures a second: the fastest hand moves little more than a pixel between two of them.
PICTURE_US = 2_000
# Time for which pixels see light that moves by itself before the play begins, else all of them would notice it at once.
_WARM_UP_US = 60_000

# Capsules (F, P, N_PART_COLUMNS) of whatever is before the wall, at F times in microseconds.
Actors = Callable[[npt.NDArray[np.int64]], Vectors]


@dataclass(frozen=True, slots=True)
class Scenery:
    """Everything before the camera but the actors, and the camera itself; the wall may be larger than the picture."""

    wall: Wall
    lamp: Lamp
    shake: Shake
    traits: PixelTraits


class Film:
    """A camera that looks at scenery: pictures of actors in, events out, sensor time running on from 0."""

    def __init__(self, scenery: Scenery, sensor_size: SensorSize, rng: np.random.Generator) -> None:
        self._scenery = scenery
        # stray light weighs more where there is less of the other; the rest of the level is a constant in the log
        self._stray = STRAY_LIGHT / scenery.lamp.level
        height, width = sensor_size.height, sensor_size.width
        self._wall = np.ascontiguousarray(scenery.wall[:height, :width])
        self._log_wall = log_light(self._wall, self._stray)
        self._picture = self._wall.copy()
        self._log_picture = self._log_wall.copy()
        self._rng = rng
        self._pixels: PixelArray | None = None
        self._time_us = 0

    @property
    def time_us(self) -> int:
        """Sensor time that has been filmed."""
        return self._time_us

    def shoot(self, actors: Actors, duration_us: int, block_us: int) -> Iterator[Events]:
        """Events of the next `duration_us`, in packets of `block_us`, the last one less. Times given to `actors` run on."""
        end_us = self._time_us + duration_us
        if self._pixels is None:
            self._pixels = self._warm_up(actors(np.array([self._time_us])))
        while self._time_us < end_us:
            block_end_us = min(self._time_us + block_us, end_us)
            times_us = np.append(np.arange(self._time_us + PICTURE_US, block_end_us, PICTURE_US), block_end_us)
            parts = actors(times_us)
            for index, time_us in enumerate(times_us):
                self._draw(parts[index : index + 1], times_us[index : index + 1])
                self._pixels.see(self._log_picture, int(time_us))
            self._time_us = int(times_us[-1])
            yield self._pixels.take()

    def _warm_up(self, parts: Vectors) -> PixelArray:
        """Pixels that have long looked at the first picture, parts (1, P, N_PART_COLUMNS)."""
        is_restless = self._scenery.lamp.flicker > 0.0 or self._scenery.shake.size_px > 0.0
        start_us = self._time_us - (_WARM_UP_US if is_restless else 0)
        times_us = np.arange(start_us, self._time_us + PICTURE_US, PICTURE_US)
        self._draw(parts, times_us[:1])
        pixels = PixelArray(self._scenery.traits, self._log_picture, self._rng, start_us=start_us)
        for index in range(1, len(times_us)):
            self._draw(parts, times_us[index : index + 1])
            pixels.see(self._log_picture, int(times_us[index]))
        pixels.take()
        return pixels

    def _draw(self, parts: Vectors, time_us: npt.NDArray[np.int64]) -> None:
        """Draw one picture: parts (1, P, N_PART_COLUMNS) at one time (1,)."""
        shake = self._scenery.shake
        seen = parts[0]
        if shake.size_px > 0.0:
            offset = shake.offset_px(_seconds(time_us))[0]
            seen = seen.copy()
            seen[:, :4] -= np.tile(offset, 2)
            # a wall larger than the picture is looked at in its middle
            spare_y, spare_x = (np.array(self._scenery.wall.shape) - self._wall.shape) / 2.0
            shift_wall(self._scenery.wall, spare_x + offset[0], spare_y + offset[1], self._wall)
            self._log_wall = log_light(self._wall, self._stray)
        render(seen, self._wall, self._log_wall, self._picture, self._log_picture, stray=self._stray)
        gain = np.float32(np.log(self._scenery.lamp.level) + self._scenery.lamp.log_gain(int(time_us[0])))
        self._log_picture += gain


class Stage:
    """A camera before a wall, with a person or (`is_empty`) nobody; everything about them is drawn from `seed`."""

    def __init__(
        self, seed: int, sensor_size: SensorSize, *, is_empty: bool = False, variation: Variation = EVERYTHING
    ) -> None:
        # Separate streams of chance, so that one more draw for the person does not change the camera.
        scene_rng, camera_rng, noise_rng, light_rng = (np.random.default_rng([seed, stream]) for stream in range(4))
        wall = draw_background(scene_rng, sensor_size, variation)
        wall_light = float(np.median(wall))
        self._person: Person | None = None if is_empty else draw_person(scene_rng, sensor_size, wall_light, variation)
        lamp = draw_lamp(light_rng, variation)
        shake = draw_shake(light_rng, sensor_size, variation)
        traits = draw_traits(camera_rng, sensor_size, lamp.level * wall, variation)
        self._film = Film(Scenery(wall, lamp, shake, traits), sensor_size, noise_rng)

    @property
    def time_us(self) -> int:
        """Sensor time that the play has reached."""
        return self._film.time_us

    def play(self, acts: Iterable[Act], *, block_us: int = 100_000) -> Iterator[Events]:
        """Events of the acts, one after another, sensor time running on from 0.

        A packet holds `block_us`, less at the end of an act. Longer blocks cost less in all; shorter ones come more evenly.
        """
        for act in acts:
            yield from self._film.shoot(self._actors(act, self.time_us), act.duration_us, block_us)

    def _actors(self, act: Act, start_us: int) -> Actors:
        """The person doing an act that began at `start_us`; no capsules where nobody is."""
        person = self._person
        if person is None:
            return lambda times_us: np.zeros((len(times_us), 0, N_PART_COLUMNS))
        return lambda times_us: make_parts(person, _pose_arms(act, _seconds(times_us - start_us), person), _seconds(times_us))


def _seconds(times_us: npt.NDArray[np.int64]) -> Vectors:
    return np.asarray(times_us, dtype=np.float64) * 1e-6


def _pose_arms(act: Act, time_s: Vectors, person: Person) -> Vectors:
    """Both arms at times since the act began, (F, 2, 2, 3), eased from and to rest."""
    share = _ease(time_s, act)[:, None, None]
    arms = []
    for is_right in (True, False):
        arm = person.arm(is_right=is_right)
        rest = pose_arm(None, time_s, arm, None)
        arms.append(rest + share * (pose_arm(act.gesture, time_s, arm, act.manner) - rest))
    return np.stack(arms, axis=1)


def _ease(time_s: Vectors, act: Act) -> Vectors:
    """How far the gesture is on, 0..1: smoothly up over the first ramp and down over the last."""
    if act.ramp_us <= 0:
        return np.ones_like(time_s)
    from_either_end_s = np.minimum(time_s, act.duration_us * 1e-6 - time_s)
    share = np.clip(from_either_end_s / (act.ramp_us * 1e-6), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))
