"""Colours of rendered pictures. Orange and blue stay apart for every common kind of colour blindness."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import UsageError

Colours = Literal["dark", "light", "grey"]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Red, green and blue, 0 to 255 each, of everything in a picture.

    `ground` is a pixel without events; `footer` lies under the text, `text` on it; `dim` is for what matters less; `line`
    parts the pictures of a sheet.
    """

    ground: Colour
    off: Colour
    on: Colour
    footer: Colour
    text: Colour
    dim: Colour
    accent: Colour
    line: Colour

    def of_events(self) -> npt.NDArray[np.float32]:
        """Ground, OFF and ON, float32 (3, 3), as `paint` takes them."""
        return np.array([self.ground, self.off, self.on], dtype=np.float32)


_PALETTES: dict[Colours, Palette] = {
    "dark": Palette(
        ground=(10, 13, 18), off=(75, 157, 255), on=(255, 157, 69),
        footer=(21, 27, 35), text=(232, 237, 242), dim=(152, 163, 175), accent=(79, 214, 184),
        line=(48, 58, 70),
    ),
    "light": Palette(
        ground=(255, 255, 255), off=(16, 88, 184), on=(217, 84, 0),
        footer=(238, 241, 244), text=(20, 26, 33), dim=(88, 99, 112), accent=(0, 122, 102),
        line=(208, 215, 222),
    ),
    # as most of the field prints events: ON white, OFF black
    "grey": Palette(
        ground=(128, 128, 128), off=(0, 0, 0), on=(255, 255, 255),
        footer=(32, 32, 32), text=(245, 245, 245), dim=(170, 170, 170), accent=(220, 220, 220),
        line=(72, 72, 72),
    ),
}  # fmt: skip


def choose_palette(name: str) -> Palette:
    """The palette of this name; UsageError lists the others."""
    for known in get_args(Colours):
        if name == known:
            return _PALETTES[known]
    raise UsageError(f"unknown colours {name!r}; --colours takes {', '.join(get_args(Colours))}")
