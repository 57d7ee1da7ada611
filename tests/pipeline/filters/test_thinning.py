"""Down-sampling and the limit of the rate, by hand and against plain definitions."""

from collections import Counter

import numpy as np
import pytest
from builders import SENSOR, random_events
from filtering import rows, run

from pipeline.filters import parse_filters
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize, make_events


def every_nth_of_each_cell(events: Events, factor: int, n_for_one: int) -> list[tuple[int, int, int, int]]:
    """The definition of down-sampling."""
    seen: Counter[tuple[int, int, int]] = Counter()
    passed = []
    for t, x, y, p in rows(events):
        cell = (x // factor, y // factor, p)
        seen[cell] += 1
        if seen[cell] % n_for_one == 0:
            passed.append((t, *cell))
    return passed


@pytest.mark.parametrize(("text", "factor", "n"), [("downsample=2", 2, 4), ("downsample=5", 5, 25), ("downsample=3,1", 3, 1)])
def test_downsampling_keeps_what_the_definition_keeps(text, factor, n):
    events = random_events(5000)
    passed, (state,) = run([text], events)
    expected = every_nth_of_each_cell(events, factor, n)
    assert rows(passed) == expected
    assert state.n_dropped == 5000 - len(expected)


def test_an_edge_over_a_cell_leaves_one_event_of_its_polarity():
    on_edge = [(t, x, y, 1) for t, (x, y) in enumerate([(2, 2), (2, 3), (3, 2), (3, 3)])]
    off_edge = [(t + 10, x, y, 0) for t, x, y, _ in on_edge]
    t, x, y, p = zip(*(on_edge + off_edge), strict=True)
    assert rows(run(["downsample=2"], make_events(t, x, y, p))[0]) == [(3, 1, 1, 1), (13, 1, 1, 0)]


def test_polarities_do_not_cancel_each_other():
    events = make_events(range(8), [0] * 8, [0] * 8, [0, 1] * 4)
    assert rows(run(["downsample=2"], events)[0]) == [(6, 0, 0, 0), (7, 0, 0, 1)]


def test_cells_cut_off_at_the_border_are_cells_too():
    assert parse_filters(["downsample=5"]).output_size(SENSOR) == SensorSize(7, 5)
    corner = make_events([0], [31], [23], [1])
    assert rows(run(["downsample=5,1"], corner)[0]) == [(0, 6, 4, 1)]


def slices_of(events: Events, slice_us: int, first_us: int) -> Counter[int]:
    return Counter(((events["t"] - first_us) // slice_us).tolist())


@pytest.mark.parametrize("seed", range(3))
def test_no_slice_of_time_gives_more_than_its_share(seed):
    rng = np.random.default_rng(seed)
    events = random_events(5000, seed=seed)
    # bursts and silences
    events["t"] = np.sort(rng.choice(rng.integers(0, 100_000, 40), 5000) + rng.integers(0, 3000, 5000))
    passed, (state,) = run(["rate=20k,1ms"], events)
    assert max(slices_of(passed, 1000, int(events["t"][0])).values()) == 20
    assert state.n_dropped == 5000 - passed.size


def test_a_rate_below_the_limit_passes_whole():
    events = random_events(2000, duration_us=2_000_000)
    assert run(["rate=1M"], events)[1][0].n_dropped == 0


def test_a_steady_rate_is_thinned_evenly():
    # 10 events a ms, 5 allowed: the first ms ends with its 5th event, later ones keep every other event
    n = 40
    events = make_events(range(0, n * 100, 100), [0] * n, [0] * n, [1] * n)
    kept = (run(["rate=5k,1ms"], events)[0]["t"] // 100).tolist()
    assert kept == [0, 1, 2, 3, 4, *range(11, 40, 2)]


def test_after_a_silence_the_share_is_given_to_the_first_events():
    times = [*range(0, 1000, 100), *range(5000, 6000, 100)]
    events = make_events(times, [0] * 20, [0] * 20, [1] * 20)
    assert run(["rate=5k,1ms"], events)[0]["t"].tolist() == [*range(0, 500, 100), *range(5000, 5500, 100)]


@pytest.mark.parametrize(
    "text", ["rate=999,1ms", "rate=0", "downsample=0", "downsample=129", "downsample=2,0", "downsample=2,70000"]
)
def test_what_would_leave_nothing_is_refused(text):
    with pytest.raises(UsageError, match=text):
        parse_filters([text])
