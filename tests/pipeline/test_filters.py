import numpy as np
import pytest
from builders import SENSOR, random_events
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filters import (
    FilterSettings,
    Region,
    apply_filters,
    filtered_size,
    flip_x,
    flip_y,
    keep_polarity,
    keep_region,
    transpose,
)
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, empty_events, make_events

CORNER = make_events([1], [0], [0], [1])
EVERYTHING = FilterSettings(is_transposed=True, is_flipped_x=True, is_flipped_y=True, region=Region(1, 1, 5, 5), polarity=1)


def test_flips_send_the_first_pixel_to_the_last():
    assert flip_x(CORNER, SENSOR)["x"].tolist() == [31]
    assert flip_y(CORNER, SENSOR)["y"].tolist() == [23]


def test_flipping_twice_changes_nothing():
    events = random_events()
    assert np.array_equal(flip_y(flip_x(flip_y(flip_x(events, SENSOR), SENSOR), SENSOR), SENSOR), events)


def test_transposing_exchanges_the_sides_of_the_sensor():
    events = make_events([1], [31], [2], [0])
    assert transpose(events)[["x", "y"]].tolist() == [(2, 31)]
    assert filtered_size(SENSOR, FilterSettings(is_transposed=True)) == SensorSize(24, 32)


def test_a_region_keeps_its_own_edge_and_loses_the_next_pixel():
    events = make_events([1, 2, 3], [9, 10, 14], [5, 5, 5], [1, 1, 1])
    assert keep_region(events, Region(10, 5, 4, 1))[["x", "y"]].tolist() == [(0, 0)]


def test_one_polarity_is_kept():
    events = make_events([1, 2], [0, 1], [0, 0], [0, 1])
    assert keep_polarity(events, 1)["x"].tolist() == [1]


def test_a_region_outside_the_sensor_is_refused():
    with pytest.raises(UsageError, match="32 x 24"):
        filtered_size(SENSOR, FilterSettings(region=Region(30, 0, 4, 4)))


def test_input_is_never_changed():
    events = random_events()
    before = events.copy()
    apply_filters(events, SENSOR, EVERYTHING)
    assert np.array_equal(events, before)


def test_an_empty_packet_stays_empty():
    assert len(apply_filters(empty_events(), SENSOR, EVERYTHING)) == 0


@given(st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(0, 1), st.booleans(), st.integers(0, 99))
def test_filters_never_invent_an_event_and_stay_inside(is_transposed, is_flipped_x, is_flipped_y, polarity, has_region, seed):
    region = Region(3, 2, 7, 11) if has_region else None
    settings = FilterSettings(is_transposed, is_flipped_x, is_flipped_y, region, polarity)
    events = random_events(seed=seed)
    kept = apply_filters(events, SENSOR, settings)
    size = filtered_size(SENSOR, settings)
    assert len(kept) <= len(events)
    assert (kept["x"] < size.width).all()
    assert (kept["y"] < size.height).all()
    assert np.isin(kept["t"], events["t"]).all()
