"""The rule for times that run backwards."""

import pytest

from pipeline.schema.events import SensorSize
from pipeline.sources.ordering import FELL, FINE, HELD, IMPOSSIBLE, DecodeState, allocate, describe, order

START = DecodeState().last_us


def test_first_event_may_have_any_sane_time() -> None:
    assert order(-5, START, 0, was_reset=False) == (-5, 0, FINE)


def test_small_step_back_is_held_at_the_running_maximum() -> None:
    assert order(99, 100, 0, was_reset=False) == (100, 0, HELD)
    assert order(100 - 999_999, 100, 0, was_reset=False) == (100, 0, HELD)


def test_step_back_of_a_second_lets_time_continue_from_the_event_before() -> None:
    assert order(0, 1_000_000, 0, was_reset=False) == (1_000_000, 1_000_000, FELL)
    assert order(5, 1_000_000, 1_000_000, was_reset=False) == (1_000_005, 1_000_000, FINE)


def test_after_a_reset_any_fall_lets_time_continue() -> None:
    assert order(0, 100, 0, was_reset=True) == (100, 100, FELL)


@pytest.mark.parametrize("t", [1 << 60, -(1 << 60), (1 << 63) - 1, -(1 << 63)])
def test_impossible_time_changes_nothing(t: int) -> None:
    assert order(t, 100, 7, was_reset=False) == (100, 7, IMPOSSIBLE)


def test_packed_words_are_the_fields_of_an_event() -> None:
    events, words = allocate(1)
    words[0] = (3 | 5 << 16 | 1 << 32, 42)
    assert events[0].tolist() == (3, 5, 1, 42)


def test_sentences_name_the_numbers() -> None:
    assert describe(DecodeState(), SensorSize(4, 4)) == []
    assert describe(DecodeState(n_backward=2, n_outside=3), SensorSize(4, 5)) == [
        "2 events ran backwards, held at the running maximum",
        "3 events outside the sensor of 4x5 pixels dropped",
    ]
