"""Filters as people type them: `background=2ms`, `roi=10,20,64x64`. The one list of all that exist."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pipeline.filters.base import Filter
from pipeline.filters.chain import FilterChain
from pipeline.filters.noise import BackgroundActivity, HotPixels, Refractory
from pipeline.filters.places import ChangePolarity, DropPixels, DropRegion, KeepPolarity, KeepRegion, Orientation, Region
from pipeline.filters.thinning import Downsample, RateLimit
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import UsageError

_MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
# Clockwise, as a person sees the picture.
_ROTATIONS = {
    "90": Orientation(is_transposed=True, is_flipped_x=True),
    "180": Orientation(is_flipped_x=True, is_flipped_y=True),
    "270": Orientation(is_transposed=True, is_flipped_y=True),
}
# A list of pixels longer than this is no list of pixels.
_MOST_MASK_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class FilterKind:
    """One entry of the list: what to type, what it does, what is taken for parts left out, and where it comes from."""

    name: str
    syntax: str
    does: str
    default: str
    origin: str
    make: Callable[[list[str]], Filter]


def parse_filters(texts: Iterable[str]) -> FilterChain:
    """The chain that texts like `name` or `name=part,part` stand for, in their order; UsageError names what exists."""
    return FilterChain(tuple(_parse_filter(text) for text in texts))


def describe_filters() -> list[FilterKind]:
    """All filters, in the order in which they are commonly used."""
    return list(_KINDS.values())


def _parse_filter(text: str) -> Filter:
    name, equals, rest = text.strip().partition("=")
    kind = _KINDS.get(name.strip())
    if kind is None:
        raise UsageError(f"unknown filter {name.strip()!r}; there are {', '.join(_KINDS)}")
    parts = rest.split(",") if equals else []
    try:
        return kind.make(parts)
    except UsageError as error:
        raise UsageError(f"filter {text.strip()!r}: {error}") from None
    except (ValueError, TypeError, KeyError):
        raise UsageError(f"filter {text.strip()!r} cannot be read; write {kind.syntax}") from None


def _oriented(*, transposed: bool = False, flipped_x: bool = False, flipped_y: bool = False) -> Callable[[list[str]], Filter]:
    def make(parts: list[str]) -> Filter:
        _expect(parts, 0)
        return Orientation(transposed, flipped_x, flipped_y)

    return make


def _make_rotation(parts: list[str]) -> Filter:
    (degrees,) = parts
    return _ROTATIONS[degrees.strip()]


def _make_region(parts: list[str]) -> Region:
    x, y, size = parts
    width, height = re.split("[xX×]", size)
    return Region(_whole(x), _whole(y), _whole(width), _whole(height))


def _make_roi(parts: list[str]) -> Filter:
    is_in_place = [part.strip() for part in parts[3:]] == ["keep"]
    return KeepRegion(_make_region(parts[:3] if is_in_place else parts), is_in_place)


def _make_roni(parts: list[str]) -> Filter:
    return DropRegion(_make_region(parts))


def _make_polarity(parts: list[str]) -> Filter:
    (part,) = parts
    what = part.strip()
    if what in ("on", "off"):
        return KeepPolarity(1 if what == "on" else 0)
    return ChangePolarity(is_merged={"invert": False, "merge": True}[what])


def _make_mask(parts: list[str]) -> Filter:
    if parts and all(re.fullmatch(r"\s*\d+:\d+\s*", part) for part in parts):
        return DropPixels(tuple(_pixel(part.split(":")) for part in parts))
    path = ",".join(parts)
    if not path.strip():
        raise ValueError(parts)
    return DropPixels(_read_mask(Path(path)))


def _read_mask(path: Path) -> tuple[tuple[int, int], ...]:
    """The pixels of a text file: `x y` a line, blanks or a comma or a colon between them, # before a comment."""
    try:
        if path.stat().st_size > _MOST_MASK_BYTES:
            raise UsageError(f"{path} is no list of pixels: it has more than {_MOST_MASK_BYTES} bytes")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the list of pixels {path} cannot be read: {error}") from None
    texts = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    pixels = []
    for number, text in texts:
        try:
            pixels += [_pixel(re.split(r"[\s,:]+", text))] if text else []
        except ValueError:
            raise UsageError(f"line {number} of {path} is no pixel: {text[:40]!r}; write x y") from None
    return tuple(pixels)


def _make_hot_pixels(parts: list[str]) -> Filter:
    _expect(parts, 2)
    usual = HotPixels()
    return HotPixels(_duration(parts, 0, usual.learn_us), _whole(parts[1]) if len(parts) > 1 else usual.factor)


def _make_background(parts: list[str]) -> Filter:
    _expect(parts, 1)
    return BackgroundActivity(_duration(parts, 0, BackgroundActivity().delta_t_us))


def _make_refractory(parts: list[str]) -> Filter:
    _expect(parts, 1)
    return Refractory(_duration(parts, 0, Refractory().period_us))


def _make_downsample(parts: list[str]) -> Filter:
    return Downsample(*(_whole(part) for part in parts))


def _make_rate(parts: list[str]) -> Filter:
    rate, *rest = parts
    _expect(rest, 1)
    return RateLimit(_rate_hz(rate), _duration(rest, 0, RateLimit.DEFAULT_SLICE_US))


def _expect(parts: list[str], n_most: int) -> None:
    if len(parts) > n_most:
        raise ValueError(parts)


def _pixel(parts: list[str]) -> tuple[int, int]:
    x, y = parts
    return _whole(x), _whole(y)


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        raise ValueError(text)
    return int(text)


def _duration(parts: list[str], index: int, default_us: int) -> int:
    return parse_duration_us(parts[index]) if len(parts) > index else default_us


def _rate_hz(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)([kMG]?)", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(text)
    return int(Decimal(match[1]) * _MULTIPLES[match[2]])


_COMMON = "common to all programs"
_KINDS = {
    kind.name: kind
    for kind in (
        FilterKind("flip-x", "flip-x", "mirrors left and right", "", _COMMON, _oriented(flipped_x=True)),
        FilterKind("flip-y", "flip-y", "mirrors top and bottom", "", _COMMON, _oriented(flipped_y=True)),
        FilterKind("transpose", "transpose", "exchanges x and y", "", _COMMON, _oriented(transposed=True)),
        FilterKind(
            "rotate", "rotate=90|180|270", "turns the picture clockwise by so many degrees", "", _COMMON, _make_rotation
        ),
        FilterKind(
            "roi",
            "roi=X,Y,WxH[,keep]",
            "keeps the events of a rectangle, which becomes the sensor; with keep, sensor and coordinates stay as they were",
            "",
            "dv-processing, OpenEB, jAER",
            _make_roi,
        ),
        FilterKind("roni", "roni=X,Y,WxH", "drops the events of a rectangle", "", "Prophesee sensors", _make_roni),
        FilterKind(
            "mask",
            "mask=X:Y,X:Y or mask=FILE",
            "drops the events of these pixels; FILE has one x y a line",
            "",
            "dv-processing's EventMaskFilter",
            _make_mask,
        ),
        FilterKind(
            "polarity",
            "polarity=on|off|invert|merge",
            "keeps ON or OFF, exchanges them, or makes every event ON",
            "",
            "jAER, OpenEB, tonic",
            _make_polarity,
        ),
        FilterKind(
            "hot-pixels",
            "hot-pixels[=LEARN[,FACTOR]]",
            "drops pixels that fire FACTOR times as often as the median pixel and their neighbours, learnt anew every LEARN",
            "1s, 10",
            "after jAER's HotPixelFilter; the rule is our own",
            _make_hot_pixels,
        ),
        FilterKind(
            "background",
            "background[=DURATION]",
            "drops events that no neighbour supports within DURATION",
            "2ms",
            "Delbruck 2008",
            _make_background,
        ),
        FilterKind(
            "refractory",
            "refractory[=DURATION]",
            "silences a pixel for DURATION after each event that passed",
            "1ms",
            "jAER's RefractoryFilter",
            _make_refractory,
        ),
        FilterKind(
            "downsample",
            "downsample=FACTOR[,COUNT]",
            "makes cells of FACTOR x FACTOR pixels; every COUNT-th event of a cell and polarity passes",
            "COUNT: FACTOR x FACTOR",
            "event counts of Gruel and others 2022; polarities apart",
            _make_downsample,
        ),
        FilterKind(
            "rate",
            "rate=EVENTS_PER_SECOND[,SLICE]",
            "lets at most so many events (5M, 200k) through, evenly thinned in each slice of time",
            "SLICE: 1ms",
            "after Prophesee's event rate controller; the rule is our own",
            _make_rate,
        ),
    )
}
