import itertools

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize
from pipeline.simulator.show import limit_show, plan_show, play_show

SIZE = SensorSize(32, 32)


def test_gestures_take_turns_with_pauses_between():
    acts = list(itertools.islice(plan_show(("arm_roll", "air_drums"), 1, gesture_us=900, pause_us=100), 6))
    assert [act.gesture for act in acts] == ["arm_roll", None, "air_drums", None, "arm_roll", None]
    assert [act.duration_us for act in acts] == [900, 100] * 3
    assert acts[0].manner != acts[4].manner


def test_unknown_gesture_is_refused_before_the_show():
    with pytest.raises(UsageError, match="'jump'"):
        plan_show(("jump",), 0)


@pytest.mark.parametrize(("gestures", "seed"), [((), 0), (("arm_roll",), -1)])
def test_show_of_nothing_or_of_a_negative_seed_is_refused(gestures, seed):
    with pytest.raises(UsageError):
        plan_show(gestures, seed)


def test_limit_shortens_the_last_act():
    acts = plan_show(("arm_roll",), 1, gesture_us=900, pause_us=100)
    assert [act.duration_us for act in limit_show(acts, 1500)] == [900, 100, 500]


def test_limit_on_the_end_of_an_act_adds_no_empty_one():
    acts = plan_show(("arm_roll",), 1, gesture_us=900, pause_us=100)
    assert [act.duration_us for act in limit_show(acts, 1000)] == [900, 100]


def test_packets_hold_their_time_and_the_last_of_an_act_less():
    acts = limit_show(plan_show(("arm_roll",), 1, gesture_us=30_000, pause_us=15_000), 45_000)
    packets = list(play_show(acts, 1, sensor_size=SIZE, packet_us=10_000))
    starts_us = [0, 10_000, 20_000, 30_000, 40_000]
    assert len(packets) == len(starts_us)
    for packet, start_us in zip(packets, starts_us, strict=True):
        assert ((packet["t"] >= start_us) & (packet["t"] < start_us + 10_000)).all()


def test_same_seed_plays_the_same_show():
    shows = [
        np.concatenate(list(play_show(limit_show(plan_show(("arm_roll",), 4), 60_000), 4, sensor_size=SIZE))) for _ in range(2)
    ]
    assert len(shows[0]) > 0
    assert (shows[0] == shows[1]).all()
