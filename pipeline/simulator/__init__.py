"""The simulator: people doing gestures before an event camera, computed from a seed.

The rest of the program knows only the names below. numba is loaded at the first clip, not at import.
"""

from pipeline.simulator.clips import (
    DVS128,
    FOREIGN_SCENES,
    NOTHING_SCENES,
    make_clips,
    make_nothing,
    simulate_clip,
    simulate_foreign,
    simulate_quiet,
)
from pipeline.simulator.gestures import GESTURES, Act, check_gesture
from pipeline.simulator.show import limit_show, plan_show, play_show
from pipeline.simulator.variation import EVERYTHING, Variation

__all__ = [
    "DVS128",
    "EVERYTHING",
    "FOREIGN_SCENES",
    "GESTURES",
    "NOTHING_SCENES",
    "Act",
    "Variation",
    "check_gesture",
    "limit_show",
    "make_clips",
    "make_nothing",
    "plan_show",
    "play_show",
    "simulate_clip",
    "simulate_foreign",
    "simulate_quiet",
]
