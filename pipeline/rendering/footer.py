"""The strip of text under a picture: label on the left, sensor time on the right, confidence as a line above both."""

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pipeline.rendering.canvas import Picture
from pipeline.rendering.palette import Palette
from pipeline.rendering.track import Caption
from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL import ImageFont

# Shares of the picture's width and height, within bounds that keep text legible and small.
_HEIGHT_SHARE = 1 / 13
_MIN_HEIGHT_PX, _MAX_HEIGHT_PX = 26, 96
_TEXT_SHARE = 0.5  # of the strip's height
_LINE_SHARE = 0.09
_MARGIN_SHARE = 0.4
_MIN_TEXT_PX = 8
NO_LABEL = "–"


def check_pillow() -> None:
    """Raise MissingExtraError where text and still pictures cannot be made."""
    try:
        import PIL  # noqa: F401 # asked for only
    except ImportError:
        raise MissingExtraError("video", "Pillow") from None


def footer_height(width_px: int) -> int:
    """Height in pixels of the strip under a picture of this width; even, so that video codecs take it."""
    return round(min(max(width_px * _HEIGHT_SHARE, _MIN_HEIGHT_PX), _MAX_HEIGHT_PX) / 2) * 2


def draw_footer(width_px: int, caption: Caption | None, clock: str, palette: Palette) -> Picture:
    """The strip as a picture, uint8 (footer_height, width, 3); `clock` is the sensor time in words."""
    from PIL import Image, ImageDraw

    height_px = footer_height(width_px)
    image = Image.new("RGB", (width_px, height_px), palette.footer)
    draw = ImageDraw.Draw(image)
    line_px = max(2, round(height_px * _LINE_SHARE))
    margin_px = round(height_px * _MARGIN_SHARE)
    middle_px = (height_px + line_px) / 2
    size_px = height_px * _TEXT_SHARE
    draw.text((width_px - margin_px, middle_px), clock, fill=palette.dim, font=_font(size_px), anchor="rm")
    text = caption.text.replace("_", " ") if caption is not None else NO_LABEL
    sure = "" if caption is None or caption.confidence is None else f"  {caption.confidence:.0%}"
    room_px = width_px - 3 * margin_px - draw.textlength(clock, font=_font(size_px))
    while size_px > _MIN_TEXT_PX and draw.textlength(text + sure, font=_font(size_px)) > room_px:
        size_px -= 1
    draw.text((margin_px, middle_px), text, fill=palette.text if caption else palette.dim, font=_font(size_px), anchor="lm")
    if sure:
        start_px = margin_px + draw.textlength(text, font=_font(size_px))
        draw.text((start_px, middle_px), sure, fill=palette.dim, font=_font(size_px), anchor="lm")
    if caption is not None and caption.confidence is not None:
        draw.rectangle((0, 0, round(caption.confidence * width_px) - 1, line_px - 1), fill=palette.accent)
    return np.asarray(image)


def format_seconds(elapsed_us: int, step_us: float) -> str:
    """Sensor time for people, `3.25 s`: as many digits as tell two pictures apart that lie `step_us` from each other."""
    n_digits = min(max(2, math.ceil(-math.log10(step_us / US_PER_S))), 6)
    return f"{elapsed_us / US_PER_S:.{n_digits}f} s"


@cache
def _font(size_px: float) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Pillow's own typeface, so that pictures look the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(round(size_px))
