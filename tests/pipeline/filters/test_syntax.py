"""Filters as people type them, and the page that tells them how."""

from pathlib import Path

import pytest

from pipeline.filters import FilterChain, describe_filters, parse_filters
from pipeline.filters.noise import BackgroundActivity, HotPixels, Refractory
from pipeline.filters.places import ChangePolarity, DropPixels, DropRegion, KeepPolarity, KeepRegion, Orientation, Region
from pipeline.filters.thinning import Downsample, RateLimit
from pipeline.schema.errors import UsageError

PAGE = Path(__file__).parents[3] / "docs" / "filters.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flip-x", Orientation(is_flipped_x=True)),
        ("rotate=90", Orientation(is_transposed=True, is_flipped_x=True)),
        (" roi = 10, 20, 64x48 ", KeepRegion(Region(10, 20, 64, 48))),
        ("roi=10,20,64x48,keep", KeepRegion(Region(10, 20, 64, 48), is_in_place=True)),
        ("roni=1,2,3x4", DropRegion(Region(1, 2, 3, 4))),
        ("mask=1:2,30:4", DropPixels(((1, 2), (30, 4)))),
        ("polarity=on", KeepPolarity(1)),
        ("polarity=merge", ChangePolarity(is_merged=True)),
        ("hot-pixels", HotPixels(1_000_000, 10)),
        ("hot-pixels=500ms,20", HotPixels(500_000, 20)),
        ("background", BackgroundActivity(2_000)),
        ("background=1.5ms", BackgroundActivity(1_500)),
        ("refractory=200us", Refractory(200)),
        ("downsample=2", Downsample(2, None)),
        ("downsample=2,1", Downsample(2, 1)),
        ("rate=5M", RateLimit(5_000_000, 1_000)),
        ("rate=1.5k,10ms", RateLimit(1_500, 10_000)),
    ],
)
def test_texts_become_filters(text, expected):
    assert parse_filters([text]) == FilterChain((expected,))


def test_an_unknown_filter_names_all_that_exist():
    with pytest.raises(UsageError, match=r"'denoise'; there are flip-x.*background.*rate"):
        parse_filters(["background", "denoise=2"])


@pytest.mark.parametrize(
    "text",
    [
        "roi", "roi=1,2", "roi=1,2,3", "roi=1,2,3x4x5", "roi=-1,2,3x4", "roi=1,2,3x4,keep,keep", "roi=1,2,3x4,stay",
        "rotate", "rotate=45", "flip-x=1", "flip-x=", "polarity=both", "polarity", "mask", "mask=",
        "hot-pixels=1s,x", "hot-pixels=1s,10,3", "background=1ms,2", "downsample", "downsample=2.5", "downsample=1,2,3",
        "rate", "rate=fast", "rate=5M,1ms,2", "rate=-5",
    ],
)  # fmt: skip
def test_what_cannot_be_read_shows_how_to_write_it(text):
    name = text.partition("=")[0]
    syntax = next(kind.syntax for kind in describe_filters() if kind.name == name)
    with pytest.raises(UsageError) as caught:
        parse_filters([text])
    assert f"filter {text!r}" in str(caught.value)
    assert syntax in str(caught.value)


def test_a_duration_needs_its_unit():
    with pytest.raises(UsageError, match=r"filter 'background=2': '2' is no duration.*10ms"):
        parse_filters(["background=2"])


def test_the_page_shows_every_filter_as_it_is_typed():
    page = PAGE.read_text(encoding="utf-8")
    for kind in describe_filters():
        syntax = kind.syntax.replace("|", "\\|")
        assert f"| `{kind.name}` | `{syntax}` | {kind.does} | {kind.default} | {kind.origin} |" in page
