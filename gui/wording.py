"""Numbers as people read them in the window: three significant digits, a unit, and a width that does not jump.

Pure text; knows no Qt.
"""

import math

from pipeline.schema.clock import US_PER_S

NOT_AVAILABLE = "not available"
# Shown where a number is not known yet.
UNKNOWN = "–"

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS_PER_MINUTE = 60


def format_amount(value: float, unit: str) -> str:
    """Three significant digits with a prefix: `1.23 Mev/s`, `12.3 M`, `0 ev/s`; unknown for NaN."""
    if math.isnan(value):
        return UNKNOWN
    for factor, prefix in _PREFIXES:
        # 0.9995 of a prefix already rounds up to it
        if abs(value) >= 0.9995 * factor:
            return f"{_three_digits(value / factor)} {prefix}{unit}"
    text = f"{value:.0f}" if float(value).is_integer() else _three_digits(value)
    return f"{text} {unit}".rstrip()


def format_clock(us: int) -> str:
    """Sensor time as minutes, seconds and hundredths: `1:02.50`; a negative time counts as zero."""
    seconds = max(us, 0) // (US_PER_S // 100) / 100
    return f"{int(seconds // _SECONDS_PER_MINUTE)}:{seconds % _SECONDS_PER_MINUTE:05.2f}"


def format_latency(p50_ms: float, p99_ms: float) -> str:
    """Median and 99th percentile: `3.1 / 5.2 ms`; unknown for NaN."""
    if math.isnan(p50_ms) or math.isnan(p99_ms):
        return UNKNOWN
    return f"{p50_ms:.1f} / {p99_ms:.1f} ms"


def format_bin_rate(rate_hz: float) -> str:
    """Time bins per second: `100.0 /s`; unknown for NaN."""
    return UNKNOWN if math.isnan(rate_hz) else f"{rate_hz:.1f} /s"


def format_share(share: float) -> str:
    """Write a share of 1 as percent: `0.42 %`, `12.3 %`, `100 %`."""
    return f"{_three_digits(100 * share)} %" if share > 0 else "0 %"


def format_speed(speed: float) -> str:
    """Replay speed: `1×`, `0.25×`, `max` for 0."""
    return f"{speed:g}×" if speed > 0 else "max"


def format_label(name: str) -> str:
    """Write a class name for people: underscores become spaces."""
    return name.replace("_", " ")


def count_of(n: int, noun: str) -> str:
    """Count in words: `1 frame`, `2 frames`, `1,234 frames`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _three_digits(value: float) -> str:
    size = abs(value)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{digits}f}"
