"""From capsules to the picture: the light that each pixel gets, in natural log units.

Pure drawing: knows neither persons nor events. Pictures are indexed [y, x].
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import SensorSize

# Columns of a part: a capsule from (x0, y0) with radius r0 to (x1, y1) with radius r1, as x0, y0, x1, y1, r0, r1 in pixels; its
# reflectance; and stripes along it: relative strength, stripes per pixel, phase in stripes.
N_PART_COLUMNS = 10

# Light that reaches every pixel whatever it looks at (stray light, dark current), so that the log stays finite.
STRAY_LIGHT = 0.02
# Width in pixels over which an edge goes from one side to the other: the blur of a small lens.
_EDGE_PX = 1.5


def draw_background(rng: np.random.Generator, sensor_size: SensorSize) -> npt.NDArray[np.float32]:
    """Draw a wall: reflectances in 0.03..1, float32 (H, W), with a gradient, a few upright bands and fine grain."""
    width, height = sensor_size
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    wall = np.full((height, width), np.exp(rng.uniform(np.log(0.10), np.log(0.7))))
    slope_x, slope_y = rng.uniform(-0.35, 0.35, 2)
    wall *= 1.0 + slope_x * (x / width - 0.5) + slope_y * (y / height - 0.5)
    for _ in range(rng.integers(0, 4)):
        left, right = np.sort(rng.uniform(0, width, 2))
        wall[:, int(left) : int(right)] *= rng.uniform(0.75, 1.3)
    wall *= np.exp(rng.normal(0.0, rng.uniform(0.0, 0.08), wall.shape))
    return np.asarray(np.clip(wall, 0.03, 1.0), dtype=np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _box(part: npt.NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Half-open box of pixels (left, right, top, bottom) that a capsule can touch, inside the picture."""
    margin = max(part[4], part[5]) + 0.5 * _EDGE_PX
    left = int(np.floor(max(min(part[0], part[2]) - margin, 0.0)))
    right = int(np.ceil(min(max(part[0], part[2]) + margin + 1.0, float(width))))
    top = int(np.floor(max(min(part[1], part[3]) - margin, 0.0)))
    bottom = int(np.ceil(min(max(part[1], part[3]) + margin + 1.0, float(height))))
    return left, right, top, bottom


@njit(cache=True, nogil=True, error_model="numpy")
def _paint(part: npt.NDArray[np.float64], picture: npt.NDArray[np.float32]) -> None:
    """Paint one capsule over the picture, float32 (H, W), with soft edges, stripes along it and round shading across it."""
    left, right, top, bottom = _box(part, picture.shape[1], picture.shape[0])
    x0, y0 = part[0], part[1]
    bone_x, bone_y = part[2] - x0, part[3] - y0
    length = np.sqrt(max(bone_x * bone_x + bone_y * bone_y, 1e-9))
    per_length_squared = 1.0 / (length * length)
    for y in range(top, bottom):
        for x in range(left, right):
            from_x, from_y = x - x0, y - y0
            along = (from_x * bone_x + from_y * bone_y) * per_length_squared
            inside = min(max(along, 0.0), 1.0)
            aside_x, aside_y = from_x - inside * bone_x, from_y - inside * bone_y
            radius = part[4] + (part[5] - part[4]) * inside
            outermost = radius + 0.5 * _EDGE_PX
            distance_squared = aside_x * aside_x + aside_y * aside_y
            if distance_squared >= outermost * outermost:
                continue
            cover = min((outermost - np.sqrt(distance_squared)) * (1.0 / _EDGE_PX), 1.0)
            light = part[6]
            if part[7] > 0.0:
                stripe = along * length * part[8] + part[9]
                # a triangle wave in -1..1, which is a sine in all but price
                light *= 1.0 + part[7] * (4.0 * abs(stripe - np.floor(stripe) - 0.5) - 1.0)
            light *= 1.0 - 0.45 * min(distance_squared / max(radius * radius, 1e-6), 1.0)
            picture[y, x] = (1.0 - cover) * picture[y, x] + cover * light


@njit(cache=True, nogil=True, error_model="numpy")
def _paint_all(
    parts: npt.NDArray[np.float64],
    wall: npt.NDArray[np.float32],
    picture: npt.NDArray[np.float32],
    log_picture: npt.NDArray[np.float32],
) -> None:
    """Paint capsules in turn, then take the log where the picture is no longer the wall."""
    height, width = wall.shape
    box_left, box_right, box_top, box_bottom = width, 0, height, 0
    for index in range(parts.shape[0]):
        _paint(parts[index], picture)
        left, right, top, bottom = _box(parts[index], width, height)
        box_left, box_right = min(box_left, left), max(box_right, right)
        box_top, box_bottom = min(box_top, top), max(box_bottom, bottom)
    for y in range(box_top, box_bottom):
        for x in range(box_left, box_right):
            if picture[y, x] != wall[y, x]:
                log_picture[y, x] = np.log(picture[y, x] + np.float32(STRAY_LIGHT))


def render(
    parts: npt.NDArray[np.float64],
    wall: npt.NDArray[np.float32],
    log_wall: npt.NDArray[np.float32],
    picture: npt.NDArray[np.float32],
    log_picture: npt.NDArray[np.float32],
) -> None:
    """Draw capsules (P, N_PART_COLUMNS), first one farthest away, before a wall.

    `picture` and `log_picture`, float32 (H, W), are overwritten: reflectances, and the log of the light.
    """
    np.copyto(picture, wall)
    np.copyto(log_picture, log_wall)
    _paint_all(parts, wall, picture, log_picture)


def log_light(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log of the light that pixels get from reflectances, float32, same shape."""
    return np.asarray(np.log(picture + np.float32(STRAY_LIGHT)), dtype=np.float32)
