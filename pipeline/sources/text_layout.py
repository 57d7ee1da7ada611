"""What the first lines of a text recording tell: order and units of its columns, size of the sensor. Reads no event.

Columns are named by a line (`x,y,t,p`; in a comment or not) or by the user, else told by how they look: coordinates and
polarities are whole and small, and times hardly ever fall.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize

WIDEST = SensorSize(1 << 16, 1 << 16)
_SAMPLE_LINES = 400
# Of the sample's lines so many must be events; a damaged one among them is forgiven.
_EVENT_SHARE = 0.9
_N_COLUMNS = 4
_SECONDS_DIGITS = 6

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")
_SEPARATORS = re.compile(rb"[\s,;]+")
_COMMENT = b"#%/"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMES = {
    **dict.fromkeys((b"t", b"ts", b"time", b"timestamp", b"timestamps"), "t"),
    b"x": "x",
    b"y": "y",
    **dict.fromkeys((b"p", b"pol", b"polarity"), "p"),
}
_UNITS = {b"t_us": 0, b"t_s": _SECONDS_DIGITS}
# Orders that programs write, the commonest first; x before y, for nothing tells them apart.
_ORDERS = ("txyp", "xytp", "xypt", "ptxy", "tpxy")
# Fewer lines are too few to tell an unusual order by.
_ENOUGH_ROWS = 10


class TextLayout(NamedTuple):
    """In which of the four columns t, x, y and p stand; `t_digits` is the power of ten from the file's time to us."""

    t: int = 0
    x: int = 1
    y: int = 2
    p: int = 3
    t_digits: int = 0


_ALL_ORDERS = [TextLayout(**{name: order.index(name) for name in order}) for order in _ORDERS]


class Start(NamedTuple):
    """What the first lines tell: layout, sensor size if named, and the offset of the first line that may be an event.

    `is_guess`: nobody names the columns, and they are in another order than usual.
    """

    layout: TextLayout
    sensor_size: SensorSize | None
    data_start: int
    is_guess: bool = False


class _Row(NamedTuple):
    """A line: its offset, its words, and their values if they are four numbers."""

    at: int
    fields: list[bytes]
    values: list[float]


def read_start(sample: bytes, said: TextLayout | None = None, said_digits: int | None = None) -> Start | None:
    """What the first bytes of a text file tell; None if they are no events. What the user `said` of columns and unit counts."""
    named, size = said, None
    rows: list[_Row] = []
    is_first = True
    for at, is_comment, fields in _lines(sample):
        if not rows:
            named = said or _named_layout(fields) or named
        if is_comment:
            continue
        # the first line may be a header: a size, or words
        values = _values(fields)
        if is_first and not values:
            size = SensorSize(int(fields[0]), int(fields[1])) if _is_size(fields) else None
        else:
            rows.append(_Row(at, fields, values))
        is_first = False
    usual = [named or TextLayout()]
    candidates = _ALL_ORDERS if named is None and len(rows) >= _ENOUGH_ROWS else usual
    layout = min(candidates, key=lambda layout: _misfit(rows, layout))
    events = [row for row in rows if _is_event(row.values, layout)]
    if not events or len(events) < _EVENT_SHARE * len(rows):
        return None
    digits = said_digits
    if digits is None:
        digits = _SECONDS_DIGITS if _is_seconds([row.fields[layout.t] for row in events]) else 0
    return Start(layout._replace(t_digits=digits), size, rows[0].at, is_guess=named is None and layout != TextLayout())


def parse_columns(text: str) -> tuple[TextLayout, int | None]:
    """Order of columns as a user says it, such as `x,y,t_us,p`, and the power of ten of the unit if it names one."""
    names = [name for name in _SEPARATORS.split(text.strip().lower().encode()) if name]
    digits = [_UNITS[name] for name in names if name in _UNITS]
    layout = _named_layout([b"t" if name in _UNITS else name for name in names])
    if layout is None:
        raise UsageError(
            f"columns {text!r} do not name t, x, y and p once each; say them in order, such as t_us,x,y,p or x,y,t_s,p"
        )
    return layout, digits[0] if digits else None


def _misfit(rows: list[_Row], layout: TextLayout) -> int:
    """How badly an order fits: lines that are no events, and times that fall."""
    times = [row.values[layout.t] for row in rows if _is_event(row.values, layout)]
    n_falls = sum(later < earlier for earlier, later in pairwise(times))
    return (len(rows) - len(times)) * len(rows) + n_falls


def _lines(sample: bytes) -> Iterator[tuple[int, bool, list[bytes]]]:
    """Offset, whether it is a comment, and the words of every line that has any; a last line without end only if alone."""
    lines = sample.split(b"\n")
    if len(lines) > 1:
        lines.pop()
    at = 0
    for line in lines[:_SAMPLE_LINES]:
        words = line.removeprefix(_BYTE_ORDER_MARK).strip()
        fields = [field for field in _SEPARATORS.split(words.lstrip(_COMMENT)) if field]
        if fields:
            yield at + (len(_BYTE_ORDER_MARK) if line.startswith(_BYTE_ORDER_MARK) else 0), words[:1] in _COMMENT, fields
        at += len(line) + 1


def _named_layout(fields: list[bytes]) -> TextLayout | None:
    """Order of the columns if these words name all four."""
    names = [_NAMES.get(field.lower(), "") for field in fields]
    if sorted(names) != ["p", "t", "x", "y"]:
        return None
    return TextLayout(**{name: names.index(name) for name in names})


def _is_size(fields: list[bytes]) -> bool:
    return len(fields) == 2 and all(field.isdigit() and 0 < int(field[:6]) <= WIDEST.width for field in fields)


def _values(fields: list[bytes]) -> list[float]:
    """The four numbers of a line; none if it is another kind of line."""
    is_row = len(fields) == _N_COLUMNS and all(_NUMBER.match(field) for field in fields)
    return [float(field) for field in fields] if is_row else []


def _is_event(values: list[float], layout: TextLayout) -> bool:
    if not values:
        return False
    x, y, p = values[layout.x], values[layout.y], values[layout.p]
    return 0 <= x < WIDEST.width and 0 <= y < WIDEST.height and x.is_integer() and y.is_integer() and p in (-1, 0, 1)


def _is_seconds(times: list[bytes]) -> bool:
    """Times written with a point are seconds, unless all of several different ones are whole (numpy writes integers so)."""
    if all(re.fullmatch(rb"[+-]?\d+", time) for time in times):
        return False
    values = {float(time) for time in times}
    return len(values) == 1 or not all(value.is_integer() for value in values)
