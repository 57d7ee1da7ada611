from fractions import Fraction

import numpy as np
import pytest

from pipeline.rendering.rhythm import cut_at_edges, step_of
from pipeline.schema.errors import UsageError
from pipeline.schema.events import make_events


def packet(*times):
    zeros = np.zeros(len(times), int)
    return make_events(times, zeros, zeros, zeros)


def pictures(packets, step_us):
    """(due time, stamps in it) of each picture."""
    found, stamps = [], []
    for events, due_us in cut_at_edges(iter(packets), Fraction(step_us)):
        stamps += events["t"].tolist()
        if due_us is not None:
            found.append((due_us, stamps))
            stamps = []
    assert not stamps
    return found


def test_pictures_are_due_at_even_steps_after_the_first_event():
    assert pictures([packet(5, 14, 15, 24), packet(36)], 10) == [(15, [5, 14]), (25, [15, 24]), (35, []), (45, [36])]


@pytest.mark.parametrize("split", range(6))
def test_pictures_do_not_depend_on_how_events_were_split(split):
    times = [5, 14, 15, 24, 36]
    assert pictures([packet(*times[:split]), packet(), packet(*times[split:])], 10) == pictures([packet(*times)], 10)


def test_steps_that_are_no_whole_number_do_not_drift():
    due = [due_us for due_us, _ in pictures([packet(0, 999_999)], Fraction(1_000_000, 3))]
    assert due == [333_333, 666_667, 1_000_000]


def test_there_is_no_picture_without_events():
    assert pictures([packet(), packet()], 10) == []


def test_a_silence_of_hours_is_refused_with_the_way_out():
    with pytest.raises(UsageError, match="--delta-t"):
        pictures([packet(0, 1 << 40)], 33_333)


def test_speed_and_rate_say_how_much_sensor_time_lies_between_pictures():
    assert step_of(30, 1) == Fraction(1_000_000, 30)
    assert step_of(25, 0.1) == 4_000
