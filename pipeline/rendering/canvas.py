"""Strengths of pixels to colours, each pixel a square of picture pixels."""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize

# uint8 (H, W, 3), red, green, blue.
Picture = npt.NDArray[np.uint8]

# What every H.264 decoder takes; larger sensors do not exist.
_MAX_SIDE_PX = 4096
_MAX_SCALE = 64


@njit(cache=True, nogil=True)
def paint(
    strengths: npt.NDArray[np.float32], colours: npt.NDArray[np.float32], scale: int, picture: npt.NDArray[np.uint8]
) -> None:
    """Colour strengths, float32 (2, H, W) of 0 to 1, OFF first, into `picture`, uint8 (H * scale, W * scale, 3).

    `colours` is float32 (3, 3): ground, OFF, ON. A pixel is as bright as its stronger polarity, in the hue of what prevails
    (weights are squares, so that the newer polarity wins over the fading one); where both are equal the hues mix to a neutral.
    """
    _, height, width = strengths.shape
    for y in range(height):
        for x in range(width):
            off, on = strengths[0, y, x], strengths[1, y, x]
            strongest = max(off, on)
            share = 0.0 if strongest <= 0 else on * on / (on * on + off * off)
            for c in range(3):
                hue = share * colours[2, c] + (1 - share) * colours[1, c]
                picture[y * scale, x * scale : (x + 1) * scale, c] = round(colours[0, c] + strongest * (hue - colours[0, c]))
        for row in range(1, scale):
            picture[y * scale + row] = picture[y * scale]


def choose_scale(sensor_size: SensorSize, wanted: int | None = None, aim_px: int = 720) -> int:
    """Picture pixels a sensor pixel is wide: what is wanted, else the whole factor that reaches `aim_px` without passing it.

    720 fills a slide, and keeps text under small sensors legible. UsageError when the picture would be too large.
    """
    longer = max(sensor_size)
    if min(sensor_size) <= 0:
        raise UsageError("the size of the sensor is not known, and there is no event to tell it")
    scale = wanted if wanted is not None else max(1, aim_px // longer)
    if not 1 <= scale <= _MAX_SCALE or longer * scale > _MAX_SIDE_PX:
        raise UsageError(
            f"{sensor_size.width}x{sensor_size.height} pixels at scale {scale} make no picture; scales are 1 to {_MAX_SCALE}, "
            f"the longer side of a picture at most {_MAX_SIDE_PX} pixels (--filter makes the sensor smaller)"
        )
    return scale


def paint_picture(strengths: npt.NDArray[np.float32], colours: npt.NDArray[np.float32], scale: int) -> Picture:
    """The picture of strengths, see `paint`, in an array of its own."""
    _, height, width = strengths.shape
    picture = np.empty((height * scale, width * scale, 3), dtype=np.uint8)
    paint(strengths, colours, scale, picture)
    return picture
