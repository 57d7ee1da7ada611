"""Events to measure with."""

import numpy as np
import pytest

from app.bench.stream import Stream, make_stream


def test_streams_hold_as_many_events_as_asked_in_order_and_inside_the_sensor() -> None:
    events = np.concatenate(list(make_stream(Stream(100_001, row_px=32, rate_hz=1e6))))
    assert events.size == 100_001
    assert (np.diff(events["t"]) >= 0).all()
    assert (int(events["x"].max()), int(events["y"].max()), int(events["p"].max())) == (639, 479, 1)
    # 100,001 events at a million a second last a tenth of a second
    assert events["t"][-1] == pytest.approx(100_000, rel=0.05)


def test_equal_seeds_give_equal_events_and_others_do_not() -> None:
    first, again, other = (np.concatenate(list(make_stream(Stream(5000, seed=seed)))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pixels_of_a_row_share_time_and_polarity_from_left_to_right() -> None:
    events = np.concatenate(list(make_stream(Stream(20_000, row_px=32))))
    is_next = (np.diff(events["y"].astype(int)) == 0) & (np.diff(events["t"]) == 0)
    steps = np.diff(events["x"].astype(int))[is_next]
    # of up to 32 pixels, half of them silent, 8 fire in a row on average
    assert is_next.mean() > 0.8
    assert np.isin(steps, range(1, 32)).mean() > 0.99
    assert (np.diff(events["p"].astype(int))[is_next] == 0).mean() > 0.99


def test_rows_of_one_pixel_have_no_neighbours() -> None:
    events = np.concatenate(list(make_stream(Stream(20_000, row_px=1))))
    assert (np.diff(events["y"].astype(int)) == 0).mean() < 0.01
