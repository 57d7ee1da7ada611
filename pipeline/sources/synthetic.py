"""`synthetic:NAME`: the simulator as an event source, the false twin of a camera.

Turns a name with options into acts for the simulator; knows nothing of how events are made.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events
from pipeline.simulator import DVS128, GESTURES, Act, check_gesture, limit_show, plan_show, play_show
from pipeline.sources.base import EventSource, ReadReport, SourceInfo

SYNTHETIC_NAMES = ("gestures", "quiet")

_PACKET_US = 10_000
_OPTIONS = ("seed", "seconds", "gestures")
# Length of the acts that an endless quiet scene is made of; they join without a seam.
_QUIET_ACT_US = 1_000_000
_MAX_SECONDS = 1e6
_MAX_SEED_DIGITS = 18


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for: `duration_us` None plays for ever, `gestures` empty shows a person who stands still."""

    gestures: tuple[str, ...]
    seed: int = 0
    duration_us: int | None = None


class SyntheticSource:
    """An event source that plays a simulated scene, 128 x 128 pixels, as fast as it is asked.

    Packets hold 10 ms each or a little less; one without events is empty. Every call of `packets` plays the scene from t = 0.
    """

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._is_closed = False
        name = "gestures" if order.gestures else "quiet"
        self._info = SourceInfo(f"synthetic-{name}", "simulator", f"seed {order.seed}", DVS128)

    @property
    def info(self) -> SourceInfo:
        """What this source is."""
        return self._info

    def packets(self) -> Iterator[Events]:
        """Packets until the time is full or the source is closed."""
        order = self._order
        acts = plan_show(order.gestures, order.seed) if order.gestures else itertools.repeat(Act(None, None, _QUIET_ACT_US))
        if order.duration_us is not None:
            acts = limit_show(acts, order.duration_us)
        for packet in play_show(acts, order.seed, packet_us=_PACKET_US):
            if self._is_closed:
                return
            yield packet

    def report(self) -> ReadReport:
        """Nothing is ever damaged."""
        return ReadReport()

    def close(self) -> None:
        """End the scene at the next packet."""
        self._is_closed = True

    def __enter__(self) -> Self:
        """Give the source itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()


def open_synthetic(name: str) -> EventSource:
    """Open `gestures` or `quiet`, with options: `gestures?seed=3&seconds=20&gestures=arm_roll,air_drums`.

    `synthetic:` may stand before it. UsageError, naming what there is, for anything else.
    """
    kind, _, options = name.removeprefix("synthetic:").partition("?")
    if kind not in SYNTHETIC_NAMES:
        raise UsageError(
            f"no synthetic source {kind!r}; there are {', '.join(f'synthetic:{known}' for known in SYNTHETIC_NAMES)}"
        )
    return SyntheticSource(_read_order(kind, _read_options(options)))


def _read_options(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in filter(None, text.split("&")):
        key, separator, value = pair.partition("=")
        if key not in _OPTIONS or not separator:
            raise UsageError(f"synthetic source: {pair!r} is not an option; give {'=, '.join(_OPTIONS)}= joined by &")
        if key in options:
            raise UsageError(f"synthetic source: {key} is given twice")
        options[key] = unquote(value)
    return options


def _read_order(kind: str, options: dict[str, str]) -> _Order:
    gestures: tuple[str, ...] = ()
    if kind == "gestures":
        gestures = tuple(options.get("gestures", ",".join(GESTURES)).split(","))
        for gesture in gestures:
            check_gesture(gesture)
    elif "gestures" in options:
        raise UsageError("synthetic:quiet plays no gestures; use synthetic:gestures?gestures=…")
    seed_text = options.get("seed", "0")
    if not (seed_text.isascii() and seed_text.isdigit() and len(seed_text) <= _MAX_SEED_DIGITS):
        raise UsageError(f"synthetic source: seed={seed_text!r} is not a whole number of at most {_MAX_SEED_DIGITS} digits")
    duration_us = _read_seconds(options["seconds"]) if "seconds" in options else None
    return _Order(gestures, int(seed_text), duration_us)


def _read_seconds(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1.0 / US_PER_S <= seconds <= _MAX_SECONDS:
        raise UsageError(f"synthetic source: seconds={text!r} is not a number above 0 and at most {_MAX_SECONDS:.0f}")
    return round(seconds * US_PER_S)
