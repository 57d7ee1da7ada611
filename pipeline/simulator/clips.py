"""Labelled clips from the simulator: what training and tests ask for."""

import functools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from pipeline.schema.errors import UsageError, WorkerLostError
from pipeline.schema.events import Events, SensorSize
from pipeline.simulator.gestures import GESTURES, Act, check_gesture, draw_manner
from pipeline.simulator.variation import EVERYTHING, Variation

DVS128 = SensorSize(128, 128)
CLIP_US = 1_500_000

# What `simulate_foreign` shows: false alarms are counted on these.
FOREIGN_SCENES = ("moving_camera", "walker", "flickering_lamp", "falling_ball", "drifting_bar", "noise")
# What clips of nothing show, in turn. The other foreign scenes are never trained on, so that they judge what was learnt.
NOTHING_SCENES = ("quiet", "walker", "moving_camera", "quiet", "walker", "flickering_lamp", "noise")

# Streams of chance of a clip; the stage uses 0 to 3 of the same seed.
_MANNER_STREAM, _QUIET_STREAM, _FOREIGN_STREAM = 16, 17, 18
# Sizes that the simulator accepts: smaller shows no person, larger takes too long to be meant.
_MIN_SIDE_PX, _MAX_SIDE_PX = 16, 1280
_MAX_DURATION_US = 3_600_000_000
# Clips under way or waiting for each worker of `make_clips`.
_AHEAD_PER_WORKER = 4


def simulate_clip(
    gesture: str,
    seed: int,
    *,
    duration_us: int = CLIP_US,
    sensor_size: SensorSize = DVS128,
    variation: Variation = EVERYTHING,
) -> Events:
    """Simulate a person doing `gesture` all the time: events with t in `[0, duration_us)`.

    Everything is drawn from `seed` >= 0: same arguments, same events; parts of `variation` that are off leave the others' draws
    alone. UsageError for an unknown gesture, seed, time or size.
    """
    check_gesture(gesture)
    check_sizes(seed, duration_us, sensor_size)
    from pipeline.simulator.stage import Stage

    manner = draw_manner(gesture, np.random.default_rng([seed, _MANNER_STREAM, GESTURES.index(gesture)]), variation)
    return _join(Stage(seed, sensor_size, variation=variation).play([Act(gesture, manner, duration_us)]), duration_us)


def simulate_quiet(seed: int, *, duration_us: int = CLIP_US, sensor_size: SensorSize = DVS128) -> Events:
    """Simulate a scene without a gesture: a person who stands and sways a little, or (one time in three) nobody.

    Everything is drawn from `seed` >= 0; t in `[0, duration_us)`.
    """
    check_sizes(seed, duration_us, sensor_size)
    from pipeline.simulator.stage import Stage

    is_empty = bool(np.random.default_rng([seed, _QUIET_STREAM]).random() < 1.0 / 3.0)
    return _join(Stage(seed, sensor_size, is_empty=is_empty).play([Act(None, None, duration_us)]), duration_us)


def simulate_foreign(kind: str, seed: int, *, duration_us: int = CLIP_US, sensor_size: SensorSize = DVS128) -> Events:
    """Simulate a scene of `FOREIGN_SCENES`, in which something moves or flickers and nobody does a gesture.

    Everything is drawn from `seed` >= 0; t in `[0, duration_us)`. UsageError for an unknown kind, seed, time or size.
    """
    if kind not in FOREIGN_SCENES:
        raise UsageError(f"no foreign scene {kind!r} in the simulator; it knows {', '.join(FOREIGN_SCENES)}")
    check_sizes(seed, duration_us, sensor_size)
    from pipeline.simulator.foreign import film_foreign

    rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in (_FOREIGN_STREAM, _FOREIGN_STREAM + 1))
    return _join(film_foreign(kind, rng, noise_rng, sensor_size, duration_us), duration_us)


def make_clips(
    gestures: Sequence[str],
    seeds: Iterable[int],
    *,
    duration_us: int = CLIP_US,
    sensor_size: SensorSize = DVS128,
    n_workers: int = 0,
    variation: Variation = EVERYTHING,
) -> Iterator[tuple[int, int, Events]]:
    """Make clips of all gestures with each seed in turn: (index in `gestures`, seed, events), always in the same order.

    `n_workers` 0 computes here; more start that many processes, which end with the iterator, exhausted or closed, or with
    this process, killed.
    """
    for gesture in gestures:
        check_gesture(gesture)
    simulate = functools.partial(simulate_clip, duration_us=duration_us, sensor_size=sensor_size, variation=variation)
    jobs = ((index, gesture, seed) for seed in seeds for index, gesture in enumerate(gestures))
    yield from _in_turn(simulate, jobs, n_workers)


def make_nothing(
    seeds: Iterable[int], *, duration_us: int = CLIP_US, sensor_size: SensorSize = DVS128, n_workers: int = 0
) -> Iterator[tuple[int, Events]]:
    """Make a clip of each seed in which nobody does a gesture, the kinds of `NOTHING_SCENES` in turn: (seed, events).

    Order and `n_workers` as in `make_clips`.
    """
    simulate = functools.partial(_simulate_nothing, duration_us=duration_us, sensor_size=sensor_size)
    jobs = ((0, NOTHING_SCENES[seed % len(NOTHING_SCENES)], seed) for seed in seeds)
    for _, seed, events in _in_turn(simulate, jobs, n_workers):
        yield seed, events


def _simulate_nothing(kind: str, seed: int, *, duration_us: int, sensor_size: SensorSize) -> Events:
    if kind == "quiet":
        return simulate_quiet(seed, duration_us=duration_us, sensor_size=sensor_size)
    return simulate_foreign(kind, seed, duration_us=duration_us, sensor_size=sensor_size)


def _in_turn(
    simulate: Callable[[str, int], Events], jobs: Iterable[tuple[int, str, int]], n_workers: int
) -> Iterator[tuple[int, int, Events]]:
    """Simulate each job (index, what, seed), here or in as many processes: (index, seed, events) in the order of the jobs."""
    if n_workers <= 0:
        for index, what, seed in jobs:
            yield index, seed, simulate(what, seed)
        return
    # Spawned, not forked: a fork would copy locks that threads of torch, numba or ZeroMQ may hold.
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[int, int, Future[Events]]] = deque()
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_end_with_parent)
    try:
        for index, what, seed in jobs:
            future = pool.submit(simulate, what, seed)
            waiting.append((index, seed, future))
            if len(waiting) >= _AHEAD_PER_WORKER * n_workers:
                yield _await(waiting)
        while waiting:
            yield _await(waiting)
    except BrokenProcessPool:
        raise WorkerLostError(
            "a process that simulates clips ended early, perhaps for lack of memory; try fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: end as soon as the process that asks for clips has ended, however it did."""
    threading.Thread(target=_watch_parent, name="lifeline", daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "not in a worker"
    parent.join()
    # the queue of jobs never tells: every worker holds both its ends, and would wait for ever
    os._exit(1)


def _await(waiting: deque[tuple[int, int, Future[Events]]]) -> tuple[int, int, Events]:
    index, seed, future = waiting.popleft()
    return index, seed, future.result()


def check_sizes(seed: int, duration_us: int, sensor_size: SensorSize) -> None:
    """Raise UsageError for a negative seed, no time or more than an hour of it, or a sensor too small or too large."""
    if seed < 0:
        raise UsageError(f"seed {seed} is negative; give 0 or more")
    if not 0 < duration_us <= _MAX_DURATION_US:
        raise UsageError(f"duration of {duration_us} us; give more than 0 and at most {_MAX_DURATION_US}")
    if not all(_MIN_SIDE_PX <= side <= _MAX_SIDE_PX for side in sensor_size):
        width, height = sensor_size
        raise UsageError(f"sensor of {width} x {height} pixels; sides must be {_MIN_SIDE_PX} to {_MAX_SIDE_PX}")


def _join(packets: Iterator[Events], duration_us: int) -> Events:
    """One array of all packets without the events that fall on the very end."""
    events = np.concatenate(list(packets))
    return events[: np.searchsorted(events["t"], duration_us)]
