import functools
import os
import signal
import subprocess
import sys
from multiprocessing import resource_tracker

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.schema.events import EVENT_DTYPE, SensorSize
from pipeline.simulator.clips import (
    FOREIGN_SCENES,
    NOTHING_SCENES,
    make_clips,
    make_nothing,
    simulate_clip,
    simulate_foreign,
    simulate_quiet,
)
from pipeline.simulator.gestures import GESTURES
from pipeline.simulator.variation import Variation

SMALL = SensorSize(32, 32)
# Asks two workers for clips, says which they are, and waits for its end while they wait for jobs.
ASKER = """
import multiprocessing, time
from pipeline.schema.events import SensorSize
from pipeline.simulator.clips import make_clips

clips = make_clips(("arm_roll",), range(1000), duration_us=20_000, sensor_size=SensorSize(32, 32), n_workers=2)
next(clips)
print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
time.sleep(120)
"""


@pytest.fixture(scope="module")
def clips():
    return {gesture: simulate_clip(gesture, 7, duration_us=500_000) for gesture in GESTURES}


@pytest.fixture(scope="session", autouse=True)
def tracker_of_multiprocessing():
    # lives as long as the interpreter once the first process is spawned; started here so that no test seems to leak it
    resource_tracker.ensure_running()


def test_same_seed_gives_the_same_events_whatever_ran_before(clips):
    simulate_clip("arm_roll", 99, duration_us=20_000)
    assert (simulate_clip("air_drums", 7, duration_us=500_000) == clips["air_drums"]).all()


def test_other_seed_gives_other_events(clips):
    assert len(simulate_clip("air_drums", 8, duration_us=500_000)) != len(clips["air_drums"])


def test_events_are_sorted_and_inside_sensor_and_time(clips):
    for events in clips.values():
        assert events.dtype == EVENT_DTYPE
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"][0] >= 0
        assert events["t"][-1] < 500_000
        assert events["x"].max() < 128
        assert events["y"].max() < 128
        assert set(np.unique(events["p"])) == {0, 1}


def test_ideal_pixel_never_sends_two_events_within_its_blind_time():
    for seed in range(2):
        events = simulate_clip("air_drums", seed, duration_us=300_000, variation=Variation(noise=False))
        order = np.lexsort((events["t"], events["x"], events["y"]))
        pixel = events["y"][order].astype(int) * 128 + events["x"][order]
        gaps = np.diff(events["t"][order])[np.diff(pixel) == 0]
        assert gaps.min() >= 750


def test_rates_are_those_of_real_recordings(clips):
    # ten real clips of such gestures on a DVS128: 44 to 122 thousand events a second, 49 to 55 % ON
    rates = [len(events) / 0.5 for events in clips.values()]
    assert 30_000 < np.median(rates) < 200_000
    assert all(0.4 < events["p"].mean() < 0.62 for events in clips.values())


def difference(gesture, **off):
    """Events with a part of the variation off, beside those with all of it."""
    return [simulate_clip(gesture, 5, duration_us=60_000, variation=Variation(**part)) for part in ({}, off)]


@pytest.mark.parametrize("part", ["body", "texture", "background", "noise", "flicker", "pace", "placement"])
def test_each_part_of_the_variation_can_be_switched_off(part):
    full, plain = difference("air_drums", **{part: False})
    assert len(plain) > 0
    assert len(full) != len(plain) or (full != plain).any()


def test_right_hand_waves_on_the_left_of_the_picture(clips):
    right, left = (np.median(clips[gesture]["x"]) for gesture in ("right_hand_wave", "left_hand_wave"))
    assert right + 20 < left


def test_gestures_of_one_person_differ(clips):
    pictures = [np.histogram2d(events["y"], events["x"], bins=16, range=[[0, 128]] * 2)[0].ravel() for events in clips.values()]
    likeness = np.corrcoef(pictures)[np.triu_indices(len(GESTURES), 1)]
    assert likeness.max() < 0.97


def test_quiet_scene_is_far_below_gestures(clips):
    quiet = [len(simulate_quiet(seed, duration_us=200_000)) / 0.2 for seed in range(9)]
    assert np.median(quiet) < 30_000
    assert np.median(quiet) < 0.5 * np.median([len(events) / 0.5 for events in clips.values()])


def test_any_sensor_size_is_filled():
    events = simulate_clip("hand_clapping", 1, duration_us=100_000, sensor_size=SensorSize(64, 48))
    assert 32 < events["x"].max() < 64
    assert 24 < events["y"].max() < 48


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("jump", 0), {}, "'jump'"),
        (("arm_roll", -1), {}, "-1"),
        (("arm_roll", 0), {"duration_us": 0}, "duration of 0 us"),
        (("arm_roll", 0), {"sensor_size": SensorSize(4, 128)}, "4 x 128"),
        (("arm_roll", 0), {"sensor_size": SensorSize(128, 100_000)}, "128 x 100000"),
    ],
)
def test_bad_arguments_are_refused_with_their_value(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        simulate_clip(*arguments, **options)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_clips_come_in_order_from_any_number_of_workers(n_workers):
    gestures = ("arm_roll", "air_drums")
    made = list(make_clips(gestures, [3, 4], duration_us=20_000, sensor_size=SMALL, n_workers=n_workers))
    assert [(index, seed) for index, seed, _ in made] == [(0, 3), (1, 3), (0, 4), (1, 4)]
    for index, seed, events in made:
        assert (events == simulate_clip(gestures[index], seed, duration_us=20_000, sensor_size=SMALL)).all()


def test_clips_of_nothing_show_every_kind_in_turn_and_no_scene_that_judges():
    made = list(make_nothing(range(len(NOTHING_SCENES)), duration_us=20_000, sensor_size=SMALL))
    for kind, (seed, events) in zip(NOTHING_SCENES, made, strict=True):
        plain = simulate_quiet if kind == "quiet" else functools.partial(simulate_foreign, kind)
        assert (events == plain(seed, duration_us=20_000, sensor_size=SMALL)).all()
    assert set(NOTHING_SCENES) - {"quiet"} < set(FOREIGN_SCENES)


def test_workers_end_when_the_caller_stops_early():
    clips = make_clips(("arm_roll",), range(1000), duration_us=20_000, sensor_size=SMALL, n_workers=1)
    next(clips)
    clips.close()  # the leak guard looks for processes and threads left


def test_workers_end_when_the_caller_is_killed():
    # two workers slept for ever after their training had been terminated
    with subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE, text=True) as asker:
        workers = [int(pid) for pid in asker.stdout.readline().split()]
        asker.kill()
        try:
            asker.communicate(timeout=60)  # ends when the last process that inherited the output has ended
        except subprocess.TimeoutExpired:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            pytest.fail(f"workers {workers} outlived the process that asked for clips")
    assert len(workers) == 2


def test_unknown_gesture_is_refused_before_any_work():
    with pytest.raises(UsageError, match="'jump'"):
        next(make_clips(("arm_roll", "jump"), [0]))
