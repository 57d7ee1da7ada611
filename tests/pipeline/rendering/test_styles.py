import math

import numpy as np
import pytest
from builders import SENSOR, random_events

from pipeline.rendering.styles import Trace, choose_style, glow
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events

TINY = SensorSize(2, 1)
# pixel 0: two ON events and later an OFF one; pixel 1: one ON event
EVENTS = make_events([0, 1_000, 2_000, 3_000], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0])


def strengths(style, t_us, *, tau_us=1_000.0):
    trace = Trace(style, TINY, tau_us)
    trace.add(EVENTS)
    return trace.show(t_us)


def test_accumulation_counts_each_polarity_and_saturates():
    expected = 1 - np.exp(-np.array([[[1, 0]], [[2, 1]]]))
    assert np.allclose(strengths("accumulate", 3_000), expected)
    assert np.allclose(glow(np.array([0, 1, 2, 50], np.float32)), [0, 0.632, 0.865, 1], atol=5e-4)


def test_accumulation_begins_anew_after_each_picture_and_after_a_skipped_one():
    trace = Trace("accumulate", TINY, 1.0)
    for begin_anew in (lambda: trace.show(3_000), trace.skip):
        trace.add(EVENTS)
        begin_anew()
        assert not trace.show(4_000).any()


def test_decay_is_a_leaky_count():
    # ON of pixel 0: 1 leaks for 1 ms, plus 1, leaks for 2 ms more; tau is 1 ms
    level = (math.exp(-1) + 1) * math.exp(-2)
    shown = strengths("decay", 3_000)
    assert shown[1, 0, 0] == pytest.approx(1 - math.exp(-level), rel=1e-5)
    assert shown[0, 0, 0] == pytest.approx(1 - math.exp(-1), rel=1e-5)
    assert shown[1, 0, 1] == pytest.approx(1 - math.exp(-math.exp(-1)), rel=1e-5)
    assert shown[0, 0, 1] == 0


def test_time_surface_is_the_age_of_the_latest_event():
    shown = strengths("time-surface", 4_000, tau_us=2_000.0)
    assert shown.ravel().tolist() == pytest.approx([math.exp(-0.5), 0, math.exp(-1.5), math.exp(-1)], rel=1e-5)


def test_fading_styles_go_on_after_a_picture():
    trace = Trace("decay", TINY, 1_000.0)
    trace.add(EVENTS)
    first = trace.show(3_000)
    trace.skip()
    assert np.array_equal(trace.show(3_000), first)


@pytest.mark.parametrize("style", ["accumulate", "decay", "time-surface"])
def test_pictures_do_not_depend_on_how_events_were_split(style):
    events = random_events(300, seed=3)
    whole, split = Trace(style, SENSOR, 20_000.0), Trace(style, SENSOR, 20_000.0)
    whole.add(events)
    for piece in np.array_split(events, 7):
        split.add(piece)
    split.add(events[:0])
    assert np.array_equal(whole.show(100_000), split.show(100_000))


def test_times_far_from_zero_fade_as_those_near_it():
    near, far = Trace("decay", TINY, 1_000.0), Trace("decay", TINY, 1_000.0)
    near.add(EVENTS)
    moved = EVENTS.copy()
    moved["t"] += 1 << 61
    far.add(moved)
    assert np.array_equal(near.show(5_000), far.show((1 << 61) + 5_000))


def test_unknown_styles_are_refused_with_those_there_are():
    assert choose_style("decay") == "decay"
    with pytest.raises(UsageError, match="accumulate, decay, time-surface"):
        choose_style("blur")
