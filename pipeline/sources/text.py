"""Text recordings: one event a line, `t x y p`, separated by blanks, commas or semicolons.

Lines that begin with `#`, `%` or `/` are comments. A line (`x,y,t,p`, in a comment or not) or the user names the columns, else
they are told by how they look. A first line of two whole numbers is width and height. Times with a decimal point are seconds,
whole ones microseconds, unless the user names the unit; what was taken is told in the encoding. Times are rounded exactly,
digit by digit, never through floating point.
"""

from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

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
    LEAP_US,
    MAX_FILE_TIME_US,
    NO_RESET,
    DecodeState,
    allocate,
    bounding_size,
    order,
    signed,
)
from pipeline.sources.text_layout import WIDEST, TextLayout, parse_columns, read_start

# Enough for the comments that simulators write, and for events to judge the file by.
_SAMPLE_BYTES = 1 << 16
_SHORTEST_LINE_BYTES = 8
_N_COLUMNS = 4

# The bytes that the decoder looks for.
_NEWLINE, _RETURN, _PLUS, _MINUS, _POINT, _ZERO, _NINE, _LOWER_E = 10, 13, 43, 45, 46, 48, 57, 101
# More digits than these do not fit into 64 bits; later ones only move the point.
_MAX_DIGITS = 17
# Exponents beyond this are as good as infinite.
_MAX_EXPONENT = 999


class TextSource(FileSource):
    """A text recording; without `sensor_size` it is the one named in the first line, or the smallest that holds all events."""

    def __init__(
        self,
        path: Path,
        handle: BufferedReader,
        *,
        name: str,
        sensor_size: SensorSize | None = None,
        columns: str | None = None,
    ) -> None:
        handle.seek(0)
        sample = handle.read(_SAMPLE_BYTES)
        said, digits = parse_columns(columns) if columns else (None, None)
        start = read_start(sample, said, digits)
        if start is None:
            first = sample.lstrip().split(b"\n")[0].decode("utf-8", errors="replace").strip()[:40]
            wanted = "only text with one event a line, t x y p, is a recording"
            if said is not None:
                wanted = f"as the columns {columns} its lines are no events; name them in another order, or leave --columns out"
            raise UnknownFormatError(f"{path} is text that begins {first!r}; {wanted}")
        self._is_guess = start.is_guess
        self._layout, self._data_start = start.layout, start.data_start
        found = " ".join(sorted("txyp", key=lambda column: getattr(start.layout, column)))
        unit = "seconds" if start.layout.t_digits else "microseconds"
        super().__init__(path, SourceInfo(name, "text", f"{found}, t in {unit}", WIDEST), handle)
        size = sensor_size or start.sensor_size
        self._is_measured = size is None
        self._info = replace(self._info, sensor_size=size or self._measure())

    def _decode(self) -> Iterator[Events]:
        if self._is_measured:
            width, height = self._info.sensor_size
            self._note(f"the file names no sensor size; {width}x{height} pixels is what its events need")
        if self._is_guess:
            self._note(f"no line names the columns; {self._info.encoding} is how they look (say it with --columns)")
        n_malformed = 0
        for text, end, is_whole in self._texts(self._data_start if self._begin is None else self._begin.position):
            events, out = allocate(text.size // _SHORTEST_LINE_BYTES + 1)
            n, n_bad, self._state = _decode(text, out, self._layout, self._info.sensor_size, self._state)
            n_malformed += n_bad
            # a last line without end that is no event was cut off; one in the middle is damage
            if n_bad and not is_whole:
                n_malformed -= 1
                self._note_cut(text.size - _last_line(text), "the last line is cut off")
            yield events[:n]
            self._mark(end)
        if n_malformed:
            self._note(f"{n_malformed} lines that are no events left out")

    def _texts(self, at: int) -> Iterator[tuple[npt.NDArray[np.uint8], int, bool]]:
        """Whole lines in blocks, uint8 (n,), and where the next line begins; False comes with a last line that has no end."""
        self._handle.seek(at)
        block = np.empty(2 * BLOCK_BYTES, dtype=np.uint8)
        n_left = 0
        while n_read := self._read_into(block[n_left : n_left + BLOCK_BYTES]):
            n_bytes = n_left + n_read
            n_used = _last_line(block[:n_bytes])
            # a line longer than a block is no event: it is handed on in pieces, to be counted as damage
            n_used = n_used or (n_bytes if n_bytes >= BLOCK_BYTES else 0)
            at += n_used
            if n_used:
                yield block[:n_used], at, True
            n_left = n_bytes - n_used
            block[:n_left] = block[n_used:n_bytes].copy()
        if n_left:
            yield block[:n_left], at + n_left, False

    def _measure(self) -> SensorSize:
        """The smallest sensor that holds all events."""
        max_x = max_y = -1
        for text, _, _ in self._texts(self._data_start):
            events, out = allocate(text.size // _SHORTEST_LINE_BYTES + 1)
            n, _, _ = _decode(text, out, self._layout, WIDEST, DecodeState())
            if n:
                max_x, max_y = max(max_x, int(events["x"][:n].max())), max(max_y, int(events["y"][:n].max()))
        return bounding_size(max_x, max_y)


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
def _plain_line(
    text: npt.NDArray[np.uint8], at: int, t_column: int, t_digits: int, values: npt.NDArray[np.int64]
) -> tuple[bool, int]:
    """The same for a line as most are: four numbers of digits alone, one byte between them, a point at most in the time.

    Gives whether it is one and where the next line begins. A line break must follow somewhere: it ends every loop.
    """
    for column in range(_N_COLUMNS):
        first, value = at, 0
        byte = signed(text[at])
        while _ZERO <= byte <= _NINE:
            value = 10 * value + byte - _ZERO
            at += 1
            byte = signed(text[at])
        n_digits = at - first
        digits = t_digits if column == t_column else 0
        if byte == _POINT and column == t_column:
            at += 1
            byte, point = signed(text[at]), at
            while _ZERO <= byte <= _NINE:
                value = 10 * value + byte - _ZERO
                at += 1
                byte = signed(text[at])
            digits -= at - point
            n_digits += at - point
        if n_digits == 0 or n_digits > _MAX_DIGITS:
            return False, at
        values[column] = value if digits == 0 else _scale(value, digits)
        if byte == _RETURN:
            at += 1
            byte = signed(text[at])
        # a blank, a tab, a comma or a semicolon
        is_apart = byte == 32 or byte == 9 or byte == 44 or byte == 59
        if byte != _NEWLINE if column == _N_COLUMNS - 1 else not is_apart:
            return False, at
        at += 1
    return True, at


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
    # up to here a line break ends every loop over digits
    last_break = text.size - 1
    while last_break >= 0 and text[last_break] != _NEWLINE:
        last_break -= 1
    while at < text.size:
        is_plain, behind = False, at
        if at <= last_break:
            is_plain, behind = _plain_line(text, at, layout.t, layout.t_digits, values)
        if not is_plain:
            n_values, behind = _line(text, at, layout.t, layout.t_digits, values)
            if n_values != values.size:
                n_malformed += n_values != 0
                at = behind
                continue
        at = behind
        x, y = values[layout.x], values[layout.y]
        if not (0 <= x < sensor_size.width and 0 <= y < sensor_size.height):
            n_outside += 1
            continue
        t = values[layout.t] + shift
        if not last <= t <= last + LEAP_US:
            t, shift, verdict = order(values[layout.t], last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        out[n, 0] = x | (y << 16) | (signed(values[layout.p] > 0) << 32)
        out[n, 1] = last
        n += 1
    return n, n_malformed, DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)
