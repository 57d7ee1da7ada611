"""A long scene: gestures one after another with pauses between, sensor time running on."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.simulator.clips import DVS128, check_sizes
from pipeline.simulator.gestures import Act, check_gesture, draw_manner

GESTURE_US = 3_000_000
PAUSE_US = 600_000
# Time in which the arms come up from rest, and in which they go down again.
RAMP_US = 250_000
# Packets computed at a time: more cost less, but then live packets come in bursts.
_PACKETS_PER_BLOCK = 2

# Stream of chance of the show; the stage uses 0 to 3 of the same seed, single clips 16 to 19.
_SHOW_STREAM = 32


def plan_show(gestures: Sequence[str], seed: int, *, gesture_us: int = GESTURE_US, pause_us: int = PAUSE_US) -> Iterator[Act]:
    """Acts without end: the gestures in turn, each in a manner of its own, and a pause after each.

    UsageError at once for an unknown gesture, none, a negative seed, or no time.
    """
    check_sizes(seed, gesture_us, DVS128)
    check_sizes(seed, pause_us, DVS128)
    if not gestures:
        raise UsageError("a show of no gestures; name at least one")
    for gesture in gestures:
        check_gesture(gesture)
    rng = np.random.default_rng([seed, _SHOW_STREAM])
    return _plan(gestures, rng, gesture_us, pause_us)


def _plan(gestures: Sequence[str], rng: np.random.Generator, gesture_us: int, pause_us: int) -> Iterator[Act]:
    for gesture in itertools.cycle(gestures):
        yield Act(gesture, draw_manner(gesture, rng), gesture_us, RAMP_US)
        yield Act(None, None, pause_us)


def play_show(acts: Iterable[Act], seed: int, *, sensor_size: SensorSize = DVS128, packet_us: int = 10_000) -> Iterator[Events]:
    """Events of the acts, done by one person before one camera, t from 0.

    A packet holds `packet_us`, less at the end of an act; one without events is empty.
    """
    check_sizes(seed, packet_us, sensor_size)
    from pipeline.simulator.stage import Stage

    stage = Stage(seed, sensor_size)
    start_us = stage.time_us
    for events in stage.play(acts, block_us=_PACKETS_PER_BLOCK * packet_us):
        edges_us = np.arange(start_us + packet_us, stage.time_us, packet_us)
        yield from np.split(events, np.searchsorted(events["t"], edges_us))
        start_us = stage.time_us


def limit_show(acts: Iterable[Act], duration_us: int) -> Iterator[Act]:
    """Acts until `duration_us` are full; the last one is shortened to fit."""
    left_us = duration_us
    for act in acts:
        yield Act(act.gesture, act.manner, min(act.duration_us, left_us), act.ramp_us)
        left_us -= act.duration_us
        if left_us <= 0:
            return
