"""One person before one camera, for as long as the play goes on.

Joins gestures, body, scene and pixels; the one place that knows them all.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import Events, SensorSize
from pipeline.simulator.body import Person, draw_person, make_parts
from pipeline.simulator.gestures import Act, Vectors, pose_arm
from pipeline.simulator.pixel import PixelArray, draw_traits
from pipeline.simulator.scene import N_PART_COLUMNS, draw_background, log_light, render

# 500 pictures a second: the fastest hand moves little more than a pixel between two of them.
PICTURE_US = 2_000


class Stage:
    """A camera before a wall, with a person or (`is_empty`) nobody; everything about them is drawn from `seed`."""

    def __init__(self, seed: int, sensor_size: SensorSize, *, is_empty: bool = False) -> None:
        # Separate streams of chance, so that one more draw for the person does not change the camera.
        scene_rng, camera_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in range(3))
        self._wall = draw_background(scene_rng, sensor_size)
        wall_light = float(np.median(self._wall))
        self._person: Person | None = None if is_empty else draw_person(scene_rng, sensor_size, wall_light)
        self._log_wall = log_light(self._wall)
        self._picture = self._wall.copy()
        self._log_picture = self._log_wall.copy()
        self._traits = draw_traits(camera_rng, sensor_size, self._wall)
        self._rng = noise_rng
        self._pixels: PixelArray | None = None
        self._time_us = 0

    @property
    def time_us(self) -> int:
        """Sensor time that the play has reached."""
        return self._time_us

    def play(self, acts: Iterable[Act], *, block_us: int = 100_000) -> Iterator[Events]:
        """Events of the acts, one after another, sensor time running on from 0.

        A packet holds `block_us`, less at the end of an act. Longer blocks cost less in all; shorter ones come more evenly.
        """
        for act in acts:
            start_us, end_us = self._time_us, self._time_us + act.duration_us
            if self._pixels is None:
                self._draw(self._parts(act, np.array([start_us]), start_us)[0])
                self._pixels = PixelArray(self._traits, self._log_picture, self._rng, start_us=start_us)
            while self._time_us < end_us:
                block_end_us = min(self._time_us + block_us, end_us)
                times_us = np.append(np.arange(self._time_us + PICTURE_US, block_end_us, PICTURE_US), block_end_us)
                for parts, time_us in zip(self._parts(act, times_us, start_us), times_us, strict=True):
                    self._draw(parts)
                    self._pixels.see(self._log_picture, int(time_us))
                self._time_us = int(times_us[-1])
                yield self._pixels.take()

    def _draw(self, parts: Vectors) -> None:
        render(parts, self._wall, self._log_wall, self._picture, self._log_picture)

    def _parts(self, act: Act, times_us: npt.NDArray[np.int64], start_us: int) -> Vectors:
        """Capsules at each of F times, (F, P, N_PART_COLUMNS); P is 0 where nobody is."""
        if self._person is None:
            return np.zeros((len(times_us), 0, N_PART_COLUMNS))
        arms = _pose_arms(act, _seconds(times_us - start_us), self._person)
        return make_parts(self._person, arms, _seconds(times_us))


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
