import math

import pytest

from gui.wording import count_of, format_amount, format_clock, format_label, format_latency, format_share, format_speed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ev/s"),
        (999.0, "999 ev/s"),
        (999.7, "1.00 kev/s"),
        (1234.0, "1.23 kev/s"),
        (12_340.0, "12.3 kev/s"),
        (1.5e6, "1.50 Mev/s"),
        (math.nan, "–"),
    ],
)
def test_amounts_have_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert format_amount(value, "ev/s") == text


def test_energy_keeps_its_digits_below_a_thousand() -> None:
    assert format_amount(9.876, "µJ") == "9.88 µJ"


def test_the_clock_counts_minutes_and_never_runs_below_zero() -> None:
    assert format_clock(62_509_999) == "1:02.50"
    assert format_clock(-5) == "0:00.00"


def test_latency_is_unknown_until_both_numbers_are() -> None:
    assert format_latency(3.14, 5.06) == "3.1 / 5.1 ms"
    assert format_latency(math.nan, 1.0) == "–"


def test_small_things_read_well() -> None:
    assert format_share(0.0042) == "0.42 %"
    assert format_share(0.0) == "0 %"
    assert format_speed(0.0) == "max"
    assert format_speed(0.25) == "0.25×"
    assert format_label("arm_roll") == "arm roll"
    assert count_of(1, "frame") == "1 frame"
    assert count_of(0, "frame") == "0 frames"
