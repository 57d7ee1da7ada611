"""Durations as people type them."""

import pytest

from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import UsageError


@pytest.mark.parametrize(
    ("text", "duration_us"),
    [
        ("10ms", 10_000),
        ("50us", 50),
        ("1.5s", 1_500_000),
        (" 2 min ", 120_000_000),
        ("0.001ms", 1),
        ("7µs", 7),
        (".5s", 500_000),
        ("0s", 0),
    ],
)
def test_number_and_unit(text: str, duration_us: int) -> None:
    assert parse_duration_us(text) == duration_us


@pytest.mark.parametrize(
    "text", ["", "10", "ms", "-1s", "1h", "1e3us", "nan s", "inf s", "1.5us", "1s 2ms", "9" * 20 + "s", "١s"]
)
def test_anything_else_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration_us(text)
