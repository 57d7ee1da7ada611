"""What seeking must give: from wherever a reader begins, the same events as the slice of the whole recording."""

from pathlib import Path
from typing import Unpack

import numpy as np

from pipeline.schema.events import Events, empty_events
from pipeline.sources.file import FileSource
from pipeline.sources.registry import SourceOptions, open_recording


def read_span(source: FileSource, start_us: int | None = None, end_us: int | None = None) -> Events:
    """All events of `[start_us, end_us)` as one array."""
    return np.concatenate([empty_events(), *source.packets(start_us, end_us)])


def check_spans_from_every_bookmark(path: Path, *, at_least: int, **options: Unpack[SourceOptions]) -> Events:
    """Read the whole, then a span from each bookmark, just behind it and up to it; gives the whole.

    There must be `at_least` so many bookmarks, and reading must have begun at them.
    """
    with open_recording(path, **options) as source:
        whole = read_span(source)
        bookmarks = source._open_index()._bookmarks
        assert len(bookmarks) >= at_least
        length = int(whole["t"][-1] - whole["t"][0]) // 7 + 1
        for bookmark in bookmarks:
            for start in (bookmark.t_us, bookmark.t_us + 1):
                expected = whole[(whole["t"] >= start) & (whole["t"] < start + length)]
                assert np.array_equal(read_span(source, start, start + length), expected)
            assert source._begin is not None
            assert np.array_equal(read_span(source, bookmark.t_us + 1), whole[whole["t"] > bookmark.t_us])
    return whole


def assert_spans_are_slices(path: Path, **options: Unpack[SourceOptions]) -> int:
    """Check spans that begin at and between events, each in a source of its own; gives how many began behind the front."""
    with open_recording(path, **options) as source:
        whole = read_span(source)
    times = np.unique(whole["t"])
    starts = [int(t) + step for t in times[:: max(1, times.size // 12)] for step in (0, 1)]
    n_resumed = 0
    for start in [int(times[0]) - 1, *starts, int(times[-1]) + 1]:
        for end in (None, start, start + 1, int(times[times.size // 2])):
            with open_recording(path, **options) as source:
                inside = (whole["t"] >= start) & (whole["t"] < (np.iinfo(np.int64).max if end is None else end))
                assert np.array_equal(read_span(source, start, end), whole[inside]), (start, end)
                n_resumed += source._begin is not None
    return n_resumed
