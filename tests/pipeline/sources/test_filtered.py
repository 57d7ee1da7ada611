"""A source behind filters, over a list, a live source and a real file."""

from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from filtering import rows, run

from pipeline.fakes import ListSource
from pipeline.filters import FilterChain, parse_filters
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, empty_events, empty_triggers, make_triggers
from pipeline.sources.filtered import FilteredSource
from pipeline.sources.registry import open_recording

DEMO = Path(__file__).parents[3] / "recordings" / "demo.aedat4"
FILTERS = ["rotate=90", "background=3ms", "polarity=on"]


def halves():
    events = random_events(2000, duration_us=20_000)
    return events, ListSource([events[:900], empty_events(), events[900:]], SENSOR, is_truncated=True)


def test_a_filtered_source_gives_what_the_chain_gives_and_the_size_behind_it():
    events, source = halves()
    with FilteredSource(source, parse_filters(FILTERS)) as filtered:
        packets = list(filtered.packets())
        assert filtered.info.sensor_size == SensorSize(24, 32)
        assert filtered.info.name == "list"
    assert rows(np.concatenate(packets)) == rows(run(FILTERS, events)[0])
    # an empty packet means that the source is alive, and is passed on
    assert [packet.size > 0 for packet in packets] == [True, False, True]
    assert source.is_closed


def test_the_report_says_what_was_damaged_and_what_was_dropped():
    events, source = halves()
    filtered = FilteredSource(source, parse_filters(["polarity=on"]))
    n_off = int((events["p"] == 0).sum())
    assert filtered.report().warnings == ("the end is missing", "polarity: 0 of 0 events dropped (0.0 %)")
    list(filtered.packets())
    report = filtered.report()
    assert report.is_truncated
    assert report.warnings[1] == f"polarity: {n_off:,} of 2,000 events dropped ({n_off / 20:.1f} %)"


def test_each_pass_begins_with_fresh_filters():
    filtered = FilteredSource(halves()[1], parse_filters(["refractory=50ms", "background=1ms"]))
    first, second = (rows(np.concatenate(list(filtered.packets()))) for _ in range(2))
    assert first == second
    assert "of 2,000 events" in filtered.report().warnings[1]


def test_filters_that_do_not_fit_are_refused_at_once():
    with pytest.raises(UsageError, match="32 x 24"):
        FilteredSource(halves()[1], parse_filters(["roi=0,0,64x64"]))


def test_a_source_without_bytes_and_triggers_has_none():
    filtered = FilteredSource(halves()[1], FilterChain())
    assert (filtered.n_bytes, filtered.n_bytes_read) == (0, 0)
    assert filtered.take_triggers().size == 0


def test_triggers_pass_untouched():
    source = ListSource([random_events()], SENSOR)
    waiting = [make_triggers([5], [1], [1])]
    source.take_triggers = lambda: waiting.pop() if waiting else empty_triggers()
    filtered = FilteredSource(source, parse_filters(["roi=0,0,1x1"]))
    assert filtered.take_triggers()["t"].tolist() == [5]
    assert filtered.take_triggers().size == 0


def test_a_recording_can_be_read_again_from_any_time():
    with open_recording(DEMO) as recording, FilteredSource(recording, parse_filters(["flip-x"])) as filtered:
        whole = np.concatenate(list(recording.packets()))
        start_us, end_us = (int(whole["t"][i * whole.size // 4]) for i in (1, 3))
        part = np.concatenate(list(filtered.packets(start_us, end_us)))
        is_inside = (whole["t"] >= start_us) & (whole["t"] < end_us)
        assert part["x"].tolist() == (recording.info.sensor_size.width - 1 - whole["x"][is_inside].astype(int)).tolist()
        assert 0 < filtered.n_bytes_read <= filtered.n_bytes == DEMO.stat().st_size
