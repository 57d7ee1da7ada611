"""What holds for every filter: packets do not matter, input stays, nothing is invented."""

import numpy as np
import pytest
from builders import SENSOR, random_events
from filtering import rows, run
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filters import FilterChain, describe_filters, parse_filters
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, empty_events, make_events

SMALL = SensorSize(7, 5)
EXAMPLES = {
    "flip-x": ["flip-x"],
    "flip-y": ["flip-y"],
    "transpose": ["transpose"],
    "rotate": ["rotate=90"],
    "roi": ["roi=1,1,4x3"],
    "roni": ["roni=1,1,4x3"],
    "mask": ["mask=0:0,3:2"],
    "polarity": ["polarity=off"],
    "hot-pixels": ["hot-pixels=5ms,2"],
    "background": ["background=1ms"],
    "refractory": ["refractory=2ms"],
    "downsample": ["downsample=2,3"],
    "rate": ["rate=5k,2ms"],
    "all": ["rotate=270", "hot-pixels=5ms,2", "background=2ms", "refractory", "roi=0,1,5x6", "downsample=2,2", "rate=3k"],
}


def test_every_filter_has_an_example_here():
    assert [kind.name for kind in describe_filters()] == list(EXAMPLES)[:-1]


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12), seed=st.integers(0, 1000))
def test_any_split_into_packets_gives_the_same_events_and_counts(name, cuts, seed):
    events = random_events(400, seed=seed, sensor=SMALL, duration_us=40_000)
    # a pixel that is hot, and times that meet
    events["x"][::4], events["y"][::4] = 3, 2
    events["t"] = events["t"] // 50 * 50
    before = events.copy()
    whole, state = run(EXAMPLES[name], events, sensor=SMALL)
    pieces, state_of_pieces = run(EXAMPLES[name], events, cuts, SMALL)
    assert rows(pieces) == rows(whole)
    assert [(each.n_events, each.n_dropped) for each in state_of_pieces] == [(each.n_events, each.n_dropped) for each in state]
    assert rows(events) == rows(before)
    assert state[0].n_events == 400
    assert state[-1].n_events - state[-1].n_dropped == whole.size
    size = parse_filters(EXAMPLES[name]).output_size(SMALL)
    assert (whole["x"] < size.width).all()
    assert (whole["y"] < size.height).all()
    assert (np.diff(whole["t"]) >= 0).all()
    assert np.isin(whole["t"], events["t"]).all()


def test_filters_work_in_the_order_given():
    events = make_events([1], [31], [0], [1])
    assert rows(run(["flip-x", "roi=0,0,4x4"], events)[0]) == [(1, 0, 0, 1)]
    assert rows(run(["roi=0,0,4x4", "flip-x"], events)[0]) == []
    assert parse_filters(["rotate=90", "roi=0,8,24x24", "downsample=4"]).output_size(SENSOR) == SensorSize(6, 6)


def test_a_filter_must_fit_what_comes_to_it():
    with pytest.raises(UsageError, match="4 x 4"):
        parse_filters(["roi=0,0,4x4", "roni=4,0,1x1"]).start(SENSOR)


def test_an_empty_packet_stays_empty_and_counts_nothing():
    for filters in EXAMPLES.values():
        passed, states = run(filters, empty_events(), sensor=SMALL)
        assert passed.size == 0
        assert {state.n_events for state in states} == {0}


def test_without_filters_the_packet_itself_is_given_back():
    events = random_events()
    assert FilterChain().apply(events, FilterChain().start(SENSOR)) == (events, ())


def test_what_was_dropped_is_said_filter_by_filter():
    chain = parse_filters(["flip-x", "polarity=on", "roi=0,0,4x4"])
    states = chain.start(SENSOR)
    assert chain.describe(states)[0] == "polarity: 0 of 0 events dropped (0.0 %)"
    events = make_events(range(2000), [31] * 2000, [0] * 2000, [1] * 1234 + [0] * 766)
    _, states = chain.apply(events, states)
    assert chain.describe(states) == (
        "polarity: 766 of 2,000 events dropped (38.3 %)",
        "roi: 0 of 1,234 events dropped (0.0 %)",
    )
