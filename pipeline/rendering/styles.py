"""What a pixel remembers of its events, and how strongly it shows at a moment: three styles, each a pure step over events.

Levels and stamps are arrays (2, H, W), OFF first, changed in place by the compiled loops; `Trace` carries them.
"""

import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize

StyleName = Literal["accumulate", "decay", "time-surface"]

# The first event lights 63 % of a pixel's brightness, each further one 63 % of what is left (1 - exp(-1)): an edge of many
# events stands out against noise of single ones, and never glares.
_GLOW_PER_EVENT = 1.0
# A pixel that has seen no event yet, far enough back for every time constant, and with room for differences in int64.
_NEVER_US = -(1 << 61)


@njit(cache=True, nogil=True)
def _leak(events: Events, levels: npt.NDArray[np.float32], stamps_us: npt.NDArray[np.int64], rate_per_us: float) -> None:
    """Each event adds 1 to the level of its pixel and polarity, which leaked since the pixel's event before.

    level <- level * exp(-(t - stamp) * rate) + 1; with rate 0 that is a plain count.
    """
    for event in events:
        p, y, x = 1 if event.p else 0, event.y, event.x
        age_us = event.t - stamps_us[p, y, x]
        levels[p, y, x] = levels[p, y, x] * math.exp(-age_us * rate_per_us) + 1
        stamps_us[p, y, x] = event.t


@njit(cache=True, nogil=True)
def _stamp(events: Events, levels: npt.NDArray[np.float32], stamps_us: npt.NDArray[np.int64]) -> None:
    """Keep the time of the latest event of each pixel and polarity."""
    for event in events:
        p = 1 if event.p else 0
        levels[p, event.y, event.x] = 1
        stamps_us[p, event.y, event.x] = event.t


def glow(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Strength 0 to 1 of pixels with so many events, any shape: 0, 0.63, 0.86, 0.95 and so on."""
    strengths: npt.NDArray[np.float32] = 1 - np.exp(-_GLOW_PER_EVENT * levels)
    return strengths


class Trace:
    """What the pixels of one sensor remember, in one style.

    - `accumulate`: the events since the last picture, counted.
    - `decay`: a leaky count, which falls by 1/e in `tau_us` microseconds.
    - `time-surface`: exp(-age / tau) of the latest event (Lagorce et al. 2017, HOTS, equation 2).

    The pictures do not depend on how events were split into packets.
    """

    def __init__(self, style: StyleName, sensor_size: SensorSize, tau_us: float) -> None:
        width, height = sensor_size
        self._style = style
        self._rate_per_us = 0.0 if style == "accumulate" else 1 / tau_us
        self._levels = np.zeros((2, height, width), dtype=np.float32)
        self._stamps_us = np.full((2, height, width), _NEVER_US, dtype=np.int64)

    def add(self, events: Events) -> None:
        """Take events, (n,) inside the sensor, not earlier than those before."""
        if self._style == "time-surface":
            _stamp(events, self._levels, self._stamps_us)
        else:
            _leak(events, self._levels, self._stamps_us, self._rate_per_us)

    def show(self, t_us: int) -> npt.NDArray[np.float32]:
        """Strengths at `t_us`, not earlier than any event taken: float32 (2, H, W), 0 to 1, OFF first."""
        if self._style == "accumulate":
            strengths = glow(self._levels)
            self.skip()
            return strengths
        shares = self._levels * np.exp((self._stamps_us - t_us) * self._rate_per_us).astype(np.float32)
        return shares if self._style == "time-surface" else glow(shares)

    def skip(self) -> None:
        """Pass over a picture that nobody looks at."""
        if self._style == "accumulate":
            self._levels[:] = 0


def choose_style(name: str) -> StyleName:
    """The style of this name; UsageError lists the others."""
    for known in get_args(StyleName):
        if name == known:
            return known  # type: ignore[no-any-return] # a member of the Literal
    raise UsageError(f"unknown style {name!r}; --style takes {', '.join(get_args(StyleName))}")
