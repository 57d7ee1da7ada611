"""Filters against noise, by hand and against definitions written without any memory of pixels."""

from hashlib import sha256

import numpy as np
import pytest
from builders import random_events
from filtering import rows, run

from pipeline.filters import parse_filters
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sources.filtered import FilteredSource
from pipeline.sources.registry import open_recording

SMALL = SensorSize(6, 5)


def on(*places: tuple[int, int, int]) -> Events:
    """ON events from (t, x, y)."""
    t, x, y = zip(*places, strict=True)
    return make_events(t, x, y, [1] * len(places))


def supported(events: Events, delta_t_us: int) -> list[tuple[int, int, int, int]]:
    """The definition of background activity: some earlier event of one of the 8 neighbours, less than `delta_t_us` ago."""
    all_rows = rows(events)
    return [
        (t, x, y, p)
        for i, (t, x, y, p) in enumerate(all_rows)
        if any(t - t0 < delta_t_us and max(abs(x - x0), abs(y - y0)) == 1 for t0, x0, y0, _ in all_rows[:i])
    ]


def rested(events: Events, period_us: int) -> list[tuple[int, int, int, int]]:
    """The definition of refractory: nothing of that pixel passed within the period."""
    passed: list[tuple[int, int, int, int]] = []
    for t, x, y, p in rows(events):
        if not any((x, y) == (x0, y0) and t - t0 < period_us for t0, x0, y0, _ in passed):
            passed.append((t, x, y, p))
    return passed


@pytest.mark.parametrize("seed", range(5))
def test_background_keeps_what_the_definition_keeps(seed):
    events = random_events(300, seed=seed, sensor=SMALL, duration_us=20_000)
    passed, (state,) = run(["background=300us"], events, sensor=SMALL)
    expected = supported(events, 300)
    assert rows(passed) == expected
    assert 0 < len(expected) < 300
    assert (state.n_events, state.n_dropped) == (300, 300 - len(expected))


def test_an_event_is_supported_by_a_neighbour_of_either_polarity_but_not_by_its_own_pixel():
    alone = on((0, 2, 2), (10, 2, 2), (20, 4, 2))
    assert rows(run(["background=1ms"], alone, sensor=SMALL)[0]) == []
    beside = make_events([0, 10], [2, 3], [2, 3], [0, 1])
    assert rows(run(["background=1ms"], beside, sensor=SMALL)[0]) == [(10, 3, 3, 1)]


def test_support_ends_before_its_duration_is_over():
    events = on((0, 2, 2), (999, 3, 2), (2999, 2, 2))
    assert rows(run(["background=1ms"], events, sensor=SMALL)[0]) == [(999, 3, 2, 1)]
    assert rows(run(["background=1ms"], on((0, 2, 2), (1000, 3, 2)), sensor=SMALL)[0]) == []


def test_pixels_of_opposite_borders_are_no_neighbours():
    events = on((0, 5, 0), (1, 0, 1), (2, 0, 0), (3, 5, 4))
    assert rows(run(["background=1ms"], events, sensor=SMALL)[0]) == [(2, 0, 0, 1)]


def test_the_first_event_has_no_support_however_small_its_time():
    assert rows(run(["background=1ms"], on((0, 0, 0)), sensor=SMALL)[0]) == []


@pytest.mark.parametrize("seed", range(5))
def test_refractory_keeps_what_the_definition_keeps(seed):
    events = random_events(300, seed=seed, sensor=SMALL, duration_us=20_000)
    passed, (state,) = run(["refractory=2ms"], events, sensor=SMALL)
    expected = rested(events, 2_000)
    assert rows(passed) == expected
    assert 0 < state.n_dropped == 300 - len(expected)


def test_dropped_events_do_not_prolong_the_silence():
    events = on((0, 1, 1), (600, 1, 1), (1000, 1, 1), (1999, 1, 1))
    assert run(["refractory=1ms"], events, sensor=SMALL)[0]["t"].tolist() == [0, 1000]


def test_a_hot_pixel_is_masked_from_the_end_of_the_stretch_in_which_it_was_found():
    # every 10 us the hot pixel fires; 2 events of each other pixel in each ms
    hot = [(t, 3, 2) for t in range(0, 3000, 10)]
    others = [(t + 1, x, y) for t in range(0, 3000, 500) for x in range(6) for y in range(5) if (x, y) != (3, 2)]
    events = on(*sorted(hot + others))
    passed, (state,) = run(["hot-pixels=1ms"], events, sensor=SMALL)
    is_hot = (passed["x"] == 3) & (passed["y"] == 2)
    assert passed["t"][is_hot].tolist() == list(range(0, 1000, 10))
    assert np.count_nonzero(~is_hot) == len(others)
    assert state.n_dropped == 200


def test_a_pixel_that_calms_down_is_heard_again():
    events = on(*[(t, 3, 2) for t in range(0, 2000, 10)], (2100, 0, 0), (3000, 3, 2), (3001, 3, 2))
    passed, _ = run(["hot-pixels=1ms"], events, sensor=SMALL)
    # masked from 1000; calm within [2000, 3000), so heard from 3000 on
    assert passed["t"].tolist() == [*range(0, 1000, 10), 2100, 3000, 3001]


def test_a_busy_neighbourhood_is_not_hot():
    busy = [(t, x, y) for t in range(0, 2000, 10) for x in (1, 2, 3) for y in (1, 2, 3)]
    passed, (state,) = run(["hot-pixels=1ms"], on(*busy), sensor=SMALL)
    assert state.n_dropped == 0
    assert passed.size == len(busy)


def test_two_hot_pixels_side_by_side_are_both_found():
    pair = [(t, x, 2) for t in range(0, 2000, 10) for x in (2, 3)]
    assert run(["hot-pixels=1ms"], on(*pair), sensor=SMALL)[0]["t"].max() == 990


def test_the_median_pixel_sets_what_is_often():
    # others fire 3 times in the first ms: 30 events are not hot, 31 are
    others = [(t, x, y) for t in (0, 1, 2) for x in range(6) for y in range(5) if (x, y) != (3, 2)]
    for n, n_dropped in ((30, 0), (31, 1)):
        events = on(*sorted(others + [(3 + t, 3, 2) for t in range(n)]), (1000, 3, 2))
        assert run(["hot-pixels=1ms"], events, sensor=SMALL)[1][0].n_dropped == n_dropped


def test_as_often_as_the_factor_is_not_yet_hot():
    ten, eleven = ([(t, 3, 2) for t in range(n)] for n in (10, 11))
    for burst, n_dropped in ((ten, 0), (eleven, 1)):
        _, (state,) = run(["hot-pixels=1ms,10"], on(*burst, (1000, 3, 2)), sensor=SMALL)
        assert state.n_dropped == n_dropped


def test_a_stretch_without_events_changes_nothing():
    events = on(*[(t, 3, 2) for t in range(0, 1000, 10)], (5000, 3, 2))
    assert run(["hot-pixels=1ms"], events, sensor=SMALL)[0]["t"].max() == 990


def test_times_that_run_backwards_end_too():
    times = [0, 5000, 10, 9000, 20, 30, 8000]
    assert run(["hot-pixels=1ms"], on(*[(t, 1, 1) for t in times]), sensor=SMALL)[0].size == 7


def test_a_sensor_of_one_pixel_has_no_neighbours_to_compare_with():
    one = SensorSize(1, 1)
    events = on(*[(t, 0, 0) for t in range(0, 2000, 10)])
    # the pixel is the median itself
    assert run(["hot-pixels=1ms"], events, sensor=one)[1][0].n_dropped == 0
    assert run(["background=1ms"], events, sensor=one)[1][0].n_dropped == 200


@pytest.mark.parametrize("text", ["background", "refractory", "hot-pixels", "mask=0:0", "downsample=2,1"])
def test_events_outside_the_sensor_touch_no_memory_and_are_dropped(text):
    events = on((0, 6, 0), (1, 0, 5), (2, 65535, 65535))
    passed, (state,) = run([text], events, sensor=SMALL)
    assert passed.size == 0
    assert state.n_dropped == 3


@pytest.mark.parametrize("text", ["background=0us", "refractory=0us", "hot-pixels=0us", "hot-pixels=1s,1"])
def test_senseless_settings_are_refused(text):
    with pytest.raises(UsageError, match=text):
        parse_filters([text])


def test_background_keeps_the_events_of_a_real_camera_that_dv_processing_keeps(shared_data):
    # answer of BackgroundActivityNoiseFilter of dv-processing 2.0.4, 2 ms: 29,333 events, digest over t, x and y
    path = shared_data / "recordings" / "aedat4" / "dvxplorer_lz4_320x240.aedat4"
    with FilteredSource(open_recording(path), parse_filters(["background=2ms"])) as source:
        passed = np.concatenate(list(source.packets()))
    columns = b"".join(np.ascontiguousarray(passed[name]).tobytes() for name in ("t", "x", "y"))
    assert passed.size == 29_333
    assert sha256(columns).hexdigest()[:16] == "b48ed4cf0285135e"
