"""Text recordings: one event a line, `t x y p`, separated by blanks, commas or semicolons.

Lines that begin with `#`, `%` or `/` are comments. A line that names the columns (`x,y,t,p`; in a comment or not) sets their
order. A first line of two whole numbers is width and height. Times with a decimal point are seconds, whole ones microseconds;
which was taken is told in the encoding. Times are rounded exactly, digit by digit, never through floating point.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import UnknownFormatError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    MAX_FILE_TIME_US,
    NO_RESET,
    DecodeState,
    allocate,
    bounding_size,
    order,
    signed,
)

# Enough for the comments that simulators write, and for events to judge the file by.
_SAMPLE_BYTES = 1 << 16
_SAMPLE_LINES = 400
# Of the sample's lines so many must be events; a damaged one among them is forgiven.
_EVENT_SHARE = 0.9
_SHORTEST_LINE_BYTES = 8
_WIDEST = SensorSize(1 << 16, 1 << 16)
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

# The bytes that the decoder looks for.
_NEWLINE, _PLUS, _MINUS, _POINT, _ZERO, _NINE, _LOWER_E = 10, 43, 45, 46, 48, 57, 101
# More digits than these do not fit into 64 bits; later ones only move the point.
_MAX_DIGITS = 17
# Exponents beyond this are as good as infinite.
_MAX_EXPONENT = 999


class TextLayout(NamedTuple):
    """In which of the four columns t, x, y and p stand; `t_digits` is the power of ten from the file's time to us."""

    t: int = 0
    x: int = 1
    y: int = 2
    p: int = 3
    t_digits: int = 0


class _Start(NamedTuple):
    """What the first lines tell: layout, sensor size if named, and the offset of the first line that may be an event."""

    layout: TextLayout
    sensor_size: SensorSize | None
    data_start: int


class TextSource(FileSource):
    """A text recording; without `sensor_size` it is the one named in the first line, or the smallest that holds all events."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, sensor_size: SensorSize | None = None) -> None:
        handle.seek(0)
        sample = handle.read(_SAMPLE_BYTES)
        start = read_start(sample)
        if start is None:
            first = sample.lstrip().split(b"\n")[0].decode("utf-8", errors="replace").strip()[:40]
            raise UnknownFormatError(
                f"{path} is text that begins {first!r}; only text with one event a line, t x y p, is a recording"
            )
        self._layout, self._data_start = start.layout, start.data_start
        columns = " ".join(sorted("txyp", key=lambda column: getattr(start.layout, column)))
        unit = "seconds" if start.layout.t_digits else "microseconds"
        super().__init__(path, SourceInfo(name, "text", f"{columns}, t in {unit}", _WIDEST), handle)
        size = sensor_size or start.sensor_size
        self._is_measured = size is None
        self._info = replace(self._info, sensor_size=size or self._measure())

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            width, height = self._info.sensor_size
            self._note(f"the file names no sensor size; {width}x{height} pixels is what its events need")
        n_malformed = 0
        is_whole = True
        for text, is_whole in self._texts():
            events, out = allocate(text.size // _SHORTEST_LINE_BYTES + 1)
            n, n_bad, self._state = _decode(text, out, self._layout, self._info.sensor_size, self._state)
            n_malformed += n_bad
            # a last line without end that is no event was cut off; one in the middle is damage
            if n_bad and not is_whole:
                n_malformed -= 1
                self._note_cut(text.size - _last_line(text), "the last line is cut off")
            yield events[:n]
        if n_malformed:
            self._note(f"{n_malformed} lines that are no events left out")

    def _texts(self) -> Iterator[tuple[npt.NDArray[np.uint8], bool]]:
        """Whole lines in blocks, uint8 (n,); False comes with a last line that has no end."""
        self._handle.seek(self._data_start)
        block = np.empty(2 * BLOCK_BYTES, dtype=np.uint8)
        n_left = 0
        while n_read := self._read_into(block[n_left : n_left + BLOCK_BYTES]):
            n_bytes = n_left + n_read
            n_used = _last_line(block[:n_bytes])
            # a line longer than a block is no event: it is handed on in pieces, to be counted as damage
            n_used = n_used or (n_bytes if n_bytes >= BLOCK_BYTES else 0)
            if n_used:
                yield block[:n_used], True
            n_left = n_bytes - n_used
            block[:n_left] = block[n_used:n_bytes].copy()
        if n_left:
            yield block[:n_left], False

    def _measure(self) -> SensorSize:
        """The smallest sensor that holds all events."""
        max_x = max_y = -1
        for text, _ in self._texts():
            events, out = allocate(text.size // _SHORTEST_LINE_BYTES + 1)
            n, _, _ = _decode(text, out, self._layout, _WIDEST, DecodeState())
            if n:
                max_x, max_y = max(max_x, int(events["x"][:n].max())), max(max_y, int(events["y"][:n].max()))
        return bounding_size(max_x, max_y)


def read_start(sample: bytes) -> _Start | None:
    """What the first bytes of a text file tell; None if they are no events."""
    layout, size = TextLayout(), None
    rows: list[tuple[int, list[bytes]]] = []
    is_first = True
    for at, is_comment, fields in _lines(sample):
        if not rows:
            layout = _named_layout(fields) or layout
        if is_comment:
            continue
        # the first line may be a header: a size, or words
        if is_first and not _is_event(fields, layout):
            size = SensorSize(int(fields[0]), int(fields[1])) if _is_size(fields) else None
        else:
            rows.append((at, fields))
        is_first = False
    events = [fields for _, fields in rows if _is_event(fields, layout)]
    if not events or len(events) < _EVENT_SHARE * len(rows):
        return None
    is_seconds = _is_seconds([fields[layout.t] for fields in events])
    return _Start(layout._replace(t_digits=_SECONDS_DIGITS if is_seconds else 0), size, rows[0][0])


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
    return len(fields) == 2 and all(field.isdigit() and 0 < int(field[:6]) <= _WIDEST.width for field in fields)


def _is_event(fields: list[bytes], layout: TextLayout) -> bool:
    if len(fields) != _N_COLUMNS or not all(_NUMBER.match(field) for field in fields):
        return False
    x, y, p = (float(fields[column]) for column in (layout.x, layout.y, layout.p))
    return x.is_integer() and y.is_integer() and 0 <= x < _WIDEST.width and 0 <= y < _WIDEST.height and p in (-1, 0, 1)


def _is_seconds(times: list[bytes]) -> bool:
    """Times written with a point are seconds, unless all of several different ones are whole (numpy writes integers so)."""
    if all(re.fullmatch(rb"[+-]?\d+", time) for time in times):
        return False
    values = {float(time) for time in times}
    return len(values) == 1 or not all(value.is_integer() for value in values)


def _last_line(text: npt.NDArray[np.uint8]) -> int:
    """Where the last line begins that has no end: behind the last line break, 0 if there is none."""
    return text.tobytes().rfind(b"\n") + 1


@njit(cache=True, nogil=True)
def _number(text: npt.NDArray[np.uint8], at: int, digits: int) -> tuple[int, int, bool]:
    """The number that begins at `at`, times 10^digits, rounded; gives it, where it ends, and whether it is one at all.

    Numbers beyond `MAX_FILE_TIME_US` become that bound, which no reader lets pass.
    """
    sign = 1
    if text[at] == _PLUS or text[at] == _MINUS:
        sign = -1 if text[at] == _MINUS else 1
        at += 1
    value = n_digits = 0
    is_fraction = is_number = False
    while at < text.size:
        byte = signed(text[at])
        if byte == _POINT and not is_fraction:
            is_fraction = True
        elif _ZERO <= byte <= _NINE:
            is_number = True
            if n_digits < _MAX_DIGITS:
                value = 10 * value + byte - _ZERO
                n_digits += value > 0
                digits -= is_fraction
            else:
                digits += not is_fraction
        else:
            break
        at += 1
    if is_number and at < text.size and text[at] | 32 == _LOWER_E:
        exponent, at, is_number = _exponent(text, at + 1)
        digits += exponent
    return sign * _scale(value, digits), at, is_number


@njit(cache=True, nogil=True)
def _exponent(text: npt.NDArray[np.uint8], at: int) -> tuple[int, int, bool]:
    """The exponent behind an `e`; gives it, where it ends, and whether it is one at all."""
    sign = 1
    if at < text.size and (text[at] == _PLUS or text[at] == _MINUS):
        sign = -1 if text[at] == _MINUS else 1
        at += 1
    first, value = at, 0
    while at < text.size and _ZERO <= text[at] <= _NINE:
        value = 10 * value + signed(text[at]) - _ZERO if value < _MAX_EXPONENT else value
        at += 1
    return sign * value, at, at > first


@njit(cache=True, nogil=True)
def _scale(value: int, digits: int) -> int:
    """`value` >= 0 times 10^digits, rounded half up, at most `MAX_FILE_TIME_US`."""
    if value == 0 or digits < -_MAX_DIGITS - 1:
        return 0
    if digits > _MAX_DIGITS + 1:
        return MAX_FILE_TIME_US
    power = 1
    for _ in range(abs(digits)):
        power *= 10
    if digits < 0:
        return (value + power // 2) // power
    return value * power if value <= MAX_FILE_TIME_US // power else MAX_FILE_TIME_US


@njit(cache=True, nogil=True)
def _line(text: npt.NDArray[np.uint8], at: int, t_column: int, t_digits: int, values: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Numbers of the line that begins at `at` into `values`, int64 (4,).

    Gives how many there are (0 for blank lines and comments, -1 if it is no line of numbers) and where the next line begins.
    """
    n = 0
    while at < text.size and text[at] != _NEWLINE:
        byte = text[at]
        # blanks, tabs, carriage returns, commas and semicolons
        if byte <= 32 or byte == 44 or byte == 59:
            at += 1
            continue
        # a number sign, a percent sign or a slash
        is_comment = n == 0 and (byte == 35 or byte == 37 or byte == 47)
        is_number = False
        if n < values.size and not is_comment:
            value, at, is_number = _number(text, at, t_digits if n == t_column else 0)
            values[n] = value
        n += 1
        if not is_number or (at < text.size and not (text[at] <= 32 or text[at] == 44 or text[at] == 59)):
            n = 0 if is_comment else -1
            while at < text.size and text[at] != _NEWLINE:
                at += 1
    return n, at + 1


@njit(cache=True, nogil=True)
def _decode(
    text: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint64],
    layout: TextLayout,
    sensor_size: SensorSize,
    state: DecodeState,
) -> tuple[int, int, DecodeState]:
    """Whole lines, uint8 (n,), to events; gives how many were written to `out` and how many lines were no events."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    values = np.zeros(_N_COLUMNS, dtype=np.int64)
    n = n_malformed = at = 0
    while at < text.size:
        n_values, at = _line(text, at, layout.t, layout.t_digits, values)
        if n_values != values.size:
            n_malformed += n_values != 0
            continue
        x, y = values[layout.x], values[layout.y]
        if not (0 <= x < sensor_size.width and 0 <= y < sensor_size.height):
            n_outside += 1
            continue
        last, shift, verdict = order(values[layout.t], last, shift, NO_RESET)
        n_backward += verdict == HELD
        n_jumps += verdict == FELL
        n_impossible += verdict == IMPOSSIBLE
        if verdict == IMPOSSIBLE:
            continue
        out[n, 0] = x | (y << 16) | (signed(values[layout.p] > 0) << 32)
        out[n, 1] = last
        n += 1
    return n, n_malformed, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
