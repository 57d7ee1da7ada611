"""What is behind the person, and the light that falls on everything: a wall with or without things, and a lamp."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import SensorSize
from pipeline.simulator.variation import EVERYTHING, Variation

Wall = npt.NDArray[np.float32]
_DARKEST = 0.03
# Lamps on 50 and 60 Hz mains flicker at twice that.
_FLICKERS_HZ = (100.0, 120.0)


def draw_background(
    rng: np.random.Generator, sensor_size: SensorSize, variation: Variation = EVERYTHING, *, kind: str | None = None
) -> Wall:
    """Draw a wall: reflectances in 0.03..1, float32 (H, W), with a gradient and fine grain.

    It is `plain`, has a few upright `bands`, `shelves` with things on them, or `clutter`, unless `kind` says which. Without
    `background` it is even.
    """
    width, height = sensor_size
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = float(np.exp(rng.uniform(np.log(0.08), np.log(0.75))))
    slope_x, slope_y = rng.uniform(-0.35, 0.35, 2)
    wall = base * (1.0 + slope_x * (x / width - 0.5) + slope_y * (y / height - 0.5))
    kind = kind or str(rng.choice(("plain", "bands", "shelves", "clutter"), p=(0.35, 0.25, 0.2, 0.2)))
    if kind == "bands":
        for _ in range(rng.integers(1, 5)):
            left, right = np.sort(rng.uniform(0, width, 2))
            wall[:, int(left) : int(right)] *= rng.uniform(0.7, 1.35)
    elif kind == "shelves":
        _fill_shelves(rng, wall)
    elif kind == "clutter":
        for _ in range(rng.integers(4, 16)):
            _fill_box(rng, wall, 0.4)
    wall *= np.exp(rng.normal(0.0, rng.uniform(0.0, 0.08), wall.shape))
    if not variation.background:
        wall = np.full((height, width), base)
    return np.asarray(np.clip(wall, _DARKEST, 1.0), dtype=np.float32)


def _fill_box(rng: np.random.Generator, wall: npt.NDArray[np.float64], largest: float) -> None:
    """Make one upright box of the wall lighter or darker; sides up to the share `largest` of the wall's."""
    height, width = wall.shape
    box_height, box_width = (max(1, int(side * rng.uniform(0.05, largest))) for side in (height, width))
    top, left = rng.integers(0, height), rng.integers(0, width)
    wall[top : top + box_height, left : left + box_width] *= rng.uniform(0.5, 1.8)


def _fill_shelves(rng: np.random.Generator, wall: npt.NDArray[np.float64]) -> None:
    """Boards across the wall, with books of many widths on each."""
    height, width = wall.shape
    gap = rng.uniform(0.15, 0.35) * height
    board = max(1, int(0.02 * height))
    for bottom in np.arange(rng.uniform(0.0, gap), height, gap).astype(int):
        left = 0
        while left < width:
            right = left + max(2, int(width * rng.uniform(0.02, 0.12)))
            tall = int(gap * rng.uniform(0.4, 0.85))
            wall[max(bottom - tall, 0) : bottom, left:right] *= rng.uniform(0.55, 1.6)
            left = right
        wall[bottom : bottom + board] *= rng.uniform(0.6, 1.5)


@dataclass(frozen=True, slots=True)
class Lamp:
    """The light of a scene: `level` of 1 is bright, 0.1 a dim room; it flickers by `flicker`, log units, at `flicker_hz`."""

    level: float
    flicker: float
    flicker_hz: float
    phase: float

    def log_gain(self, time_us: int) -> float:
        """By how much the log of the light differs from its mean."""
        return float(self.flicker * np.sin(2.0 * np.pi * (self.flicker_hz * time_us * 1e-6 + self.phase)))


def draw_lamp(rng: np.random.Generator, variation: Variation = EVERYTHING) -> Lamp:
    """Draw the light of a scene: two in five lamps flicker, weakly. Without `flicker` it is steady and bright."""
    level = float(np.exp(rng.uniform(np.log(0.15), 0.0)))
    flicker = rng.uniform(0.005, 0.05) if rng.random() < 0.4 else 0.0
    hz, phase = float(rng.choice(_FLICKERS_HZ)), rng.uniform(0.0, 1.0)
    return Lamp(level, flicker, hz, phase) if variation.flicker else Lamp(0.6, 0.0, hz, 0.0)


@dataclass(frozen=True, slots=True)
class Shake:
    """How the camera moves: across and down, each a sine of `size_px` and `hz` with a faster, smaller one on top."""

    size_px: float
    hz: float
    phase: float

    def offset_px(self, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Where the camera looks, (F, 2) in pixels across and down of where it is mounted."""
        turn = 2.0 * np.pi * (self.hz * time_s + self.phase)
        across = np.sin(turn) + 0.3 * np.sin(3.7 * turn)
        down = 0.7 * np.sin(1.3 * turn + 2.0)
        return np.asarray(self.size_px * np.stack((across, down), axis=-1))


def draw_shake(rng: np.random.Generator, sensor_size: SensorSize, variation: Variation = EVERYTHING) -> Shake:
    """Draw how the camera moves: one in eight stands on something that gives, by under a pixel.

    Without `placement`, none does.
    """
    size_px = rng.uniform(0.05, 0.5) * min(sensor_size) / 128.0 if rng.random() < 0.125 else 0.0
    shake = Shake(size_px, rng.uniform(0.4, 2.5), rng.uniform(0.0, 1.0))
    return shake if variation.placement else Shake(0.0, shake.hz, shake.phase)
