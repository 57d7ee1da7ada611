"""From capsules to the picture: the light that each pixel gets, in natural log units.

Pure drawing: knows neither persons nor events. Pictures are indexed [y, x].
"""

import numpy as np
import numpy.typing as npt
from numba import njit

# Columns of a part: a capsule from (x0, y0) with radius r0 to (x1, y1) with radius r1, as x0, y0, x1, y1, r0, r1 in pixels; its
# reflectance, or for a shadow the share of light that it takes, negative; stripes along it: relative strength, stripes per
# pixel, phase in stripes; stripes across it: strength, per pixel.
N_PART_COLUMNS = 12

# Light that reaches every pixel whatever it looks at (stray light, dark current), so that the log stays finite.
STRAY_LIGHT = 0.02
# Width in pixels over which an edge goes from one side to the other: the blur of a small lens.
_EDGE_PX = 1.5


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
    """Paint one capsule over the picture, float32 (H, W), with soft edges, stripes and round shading; no radius is none."""
    if part[4] <= 0.0 and part[5] <= 0.0:
        return
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
            if part[6] < 0.0:
                # no kink at the rim, for a kink that moves is a line of events
                depth = 1.0 - distance_squared / (outermost * outermost)
                picture[y, x] *= 1.0 + part[6] * depth * depth
                continue
            cover = min((outermost - np.sqrt(distance_squared)) * (1.0 / _EDGE_PX), 1.0)
            light = part[6]
            if part[7] > 0.0:
                stripe = along * length * part[8] + part[9]
                # a triangle wave in -1..1, which is a sine in all but price
                light *= 1.0 + part[7] * (4.0 * abs(stripe - np.floor(stripe) - 0.5) - 1.0)
            if part[10] > 0.0:
                cross = (from_x * bone_y - from_y * bone_x) / length * part[11]
                light *= 1.0 + part[10] * (4.0 * abs(cross - np.floor(cross) - 0.5) - 1.0)
            light *= 1.0 - 0.45 * min(distance_squared / max(radius * radius, 1e-6), 1.0)
            picture[y, x] = (1.0 - cover) * picture[y, x] + cover * light


@njit(cache=True, nogil=True, error_model="numpy")
def _paint_all(
    parts: npt.NDArray[np.float64],
    wall: npt.NDArray[np.float32],
    picture: npt.NDArray[np.float32],
    log_picture: npt.NDArray[np.float32],
    stray: np.float32,
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
                log_picture[y, x] = np.log(picture[y, x] + stray)


@njit(cache=True, nogil=True, error_model="numpy")
def shift_wall(wall: npt.NDArray[np.float32], x_px: float, y_px: float, shifted: npt.NDArray[np.float32]) -> None:
    """Fill `shifted` with the part of a wall, of the same size or larger, that begins at (x_px, y_px); edges go on outside."""
    height, width = wall.shape
    for y in range(shifted.shape[0]):
        from_y = min(max(y + y_px, 0.0), height - 1.0)
        top = min(int(from_y), height - 2)
        low = np.float32(from_y - top)
        for x in range(shifted.shape[1]):
            from_x = min(max(x + x_px, 0.0), width - 1.0)
            left = min(int(from_x), width - 2)
            right = np.float32(from_x - left)
            upper = wall[top, left] + right * (wall[top, left + 1] - wall[top, left])
            lower = wall[top + 1, left] + right * (wall[top + 1, left + 1] - wall[top + 1, left])
            shifted[y, x] = upper + low * (lower - upper)


def render(
    parts: npt.NDArray[np.float64],
    wall: npt.NDArray[np.float32],
    log_wall: npt.NDArray[np.float32],
    picture: npt.NDArray[np.float32],
    log_picture: npt.NDArray[np.float32],
    *,
    stray: float = STRAY_LIGHT,
) -> None:
    """Draw capsules (P, N_PART_COLUMNS), first one farthest away, before a wall.

    `picture` and `log_picture`, float32 (H, W), are overwritten: reflectances, and the log of the light with `stray` added.
    """
    np.copyto(picture, wall)
    np.copyto(log_picture, log_wall)
    _paint_all(parts, wall, picture, log_picture, np.float32(stray))


def log_light(picture: npt.NDArray[np.float32], stray: float = STRAY_LIGHT) -> npt.NDArray[np.float32]:
    """Log of the light that pixels get from reflectances, float32, same shape."""
    return np.asarray(np.log(picture + np.float32(stray)), dtype=np.float32)
