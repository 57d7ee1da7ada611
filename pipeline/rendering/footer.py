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
_MIN_TEXT_PX = 10
# How far text may shrink to find room.
_SHRINK = 0.7
# A hyphen: the typeface has no dashes.
NO_LABEL = "-"


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
    text = caption.text.replace("_", " ") if caption is not None else NO_LABEL
    confidence = caption.confidence if caption is not None else None
    sure = "" if confidence is None else f"  {confidence:.0%}"
    text, sure, clock, size_px = _fit((text, sure, clock), width_px - 2 * margin_px, margin_px, height_px * _TEXT_SHARE)
    font = _font(size_px)
    draw.text((width_px - margin_px, middle_px), clock, fill=palette.dim, font=font, anchor="rm")
    draw.text((margin_px, middle_px), text, fill=palette.text if caption else palette.dim, font=font, anchor="lm")
    draw.text((margin_px + font.getlength(text), middle_px), sure, fill=palette.dim, font=font, anchor="lm")
    if confidence is not None:
        draw.rectangle((0, 0, round(confidence * width_px) - 1, line_px - 1), fill=palette.accent)
    return np.asarray(image)


def _fit(words: tuple[str, str, str], room_px: float, gap_px: float, size_px: float) -> tuple[str, str, str, int]:
    """Label, confidence and time as far as they find room side by side, and the size of the type in pixels.

    The type shrinks first; then the confidence goes, which the line shows too, then the time, then the end of the label.
    """
    text, sure, clock = words
    smallest_px = max(_MIN_TEXT_PX, round(size_px * _SHRINK))
    for kept in ((text, sure, clock), (text, "", clock), (text, "", "")):
        for px in range(round(size_px), smallest_px - 1, -1):
            needed_px = _font(px).getlength("".join(kept)) + (gap_px if kept[2] else 0)
            if needed_px <= room_px:
                return *kept, px
    while text and _font(smallest_px).getlength(text + "…") > room_px:
        text = text[:-1]
    return text + "…", "", "", smallest_px


def format_seconds(elapsed_us: int, step_us: float) -> str:
    """Sensor time for people, `3.25 s`: as many digits as tell two pictures apart that lie `step_us` from each other."""
    n_digits = min(max(2, math.ceil(-math.log10(step_us / US_PER_S))), 6)
    return f"{elapsed_us / US_PER_S:.{n_digits}f} s"


@cache
def _font(size_px: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Pillow's own typeface, so that pictures look the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
