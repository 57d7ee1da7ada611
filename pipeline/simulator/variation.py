"""Which parts of the variation between clips are on: for ablations, all else being equal."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from pipeline.schema.errors import UsageError


@dataclass(frozen=True, slots=True)
class Variation:
    """What differs from clip to clip; a part that is off has its usual value, and the others are drawn as before.

    `body`: proportions, posture and unsteadiness. `texture`: patterns and wrist bands. `background`: what the wall shows.
    `noise`: all that is not ideal about pixels. `flicker`: level and flicker of the light. `pace`: speed, amplitude and rhythm.
    `placement`: distance, place in the picture and turn of the body, and a camera that shakes.
    """

    body: bool = True
    texture: bool = True
    background: bool = True
    noise: bool = True
    flicker: bool = True
    pace: bool = True
    placement: bool = True

    @staticmethod
    def without(names: Iterable[str]) -> "Variation":
        """All variation but the named parts; UsageError for a name that is none."""
        known = tuple(field.name for field in fields(Variation))
        off = list(names)
        for name in off:
            if name not in known:
                raise UsageError(f"the simulator cannot leave out {name!r}; it can {', '.join(known)}")
        return Variation(**dict.fromkeys(off, False))


EVERYTHING = Variation()
