"""Durations as people type them: 10ms, 50us, 1.5s, 2min."""

import re
from decimal import Decimal

from pipeline.schema.errors import UsageError

_UNITS_US = {"us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000}
# A year; sums of durations and stamps then stay far from the end of 64 bits.
_MAX_US = 366 * 24 * 3600 * 1_000_000


def parse_duration_us(text: str) -> int:
    """A duration in whole microseconds; UsageError without a unit, below 1 us steps, or beyond a year."""
    match = re.fullmatch(r"\s*(\d{1,20}(?:\.\d{1,20})?|\.\d{1,20})\s*(us|µs|μs|ms|s|min)\s*", text, re.ASCII)
    if match is None:
        raise UsageError(f"{text!r} is no duration; write a number and its unit, such as 10ms, 50us or 1.5s")
    duration_us = Decimal(match[1]) * _UNITS_US[match[2]]
    if duration_us != int(duration_us):
        raise UsageError(f"{text!r} is not a whole number of microseconds")
    if duration_us > _MAX_US:
        raise UsageError(f"{text!r} is longer than a year")
    return int(duration_us)
