"""Time bins: edges, silence, saturation, and independence of packets."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from builders import SENSOR, random_events
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.binning import TimeBinner, bin_events
from pipeline.schema.errors import UsageError
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize, empty_events, make_events
from pipeline.schema.frames import SpikeFrame

SMALL = SensorSize(4, 3)


def at(*times: int) -> Events:
    """ON events in the top-left corner."""
    n = len(times)
    return make_events(times, [0] * n, [0] * n, [1] * n)


def all_frames(events: Events, cuts: list[int], sensor: SensorSize, size: SensorSize, delta_t_us: int) -> list[SpikeFrame]:
    binner = TimeBinner(sensor, size, delta_t_us)
    frames = [frame for part in np.split(events, sorted(cuts)) for frame in binner.push(part)]
    return [*frames, *binner.flush()]


def reference(events: Events, sensor: SensorSize, size: SensorSize, delta_t_us: int) -> npt.NDArray[np.uint8]:
    """The definition, in plain numpy: counts, uint8 (T, 2, H, W)."""
    if events.size == 0:
        return np.zeros((0, 2, size.height, size.width), dtype=np.uint8)
    bins = (events["t"] - events["t"][0]) // delta_t_us
    counts = np.zeros((int(bins[-1]) + 1, 2, size.height, size.width), dtype=np.int64)
    x = events["x"].astype(np.int64) * size.width // sensor.width
    y = events["y"].astype(np.int64) * size.height // sensor.height
    np.add.at(counts, (bins, events["p"], y, x), 1)
    return np.minimum(counts, 255).astype(np.uint8)


def test_bins_begin_at_the_first_event() -> None:
    frames = all_frames(at(1003, 1004, 1012), [], SMALL, SMALL, 10)
    assert [(frame.start_us, frame.end_us, frame.seq, frame.n_events) for frame in frames] == [(1003, 1013, 0, 3)]


def test_event_on_the_edge_goes_to_the_later_bin() -> None:
    frames = all_frames(at(0, 9, 10), [], SMALL, SMALL, 10)
    assert [frame.n_events for frame in frames] == [2, 1]


def test_empty_bins_are_frames_too() -> None:
    frames = all_frames(at(0, 35), [], SMALL, SMALL, 10)
    assert [frame.n_events for frame in frames] == [1, 0, 0, 1]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert frames[1].counts.sum() == 0


def test_off_comes_first_and_arrays_are_indexed_y_x() -> None:
    (frame,) = all_frames(make_events([0, 1], [3, 1], [2, 0], [0, 1]), [], SMALL, SMALL, 10)
    assert frame.counts.shape == (2, 3, 4)
    assert frame.counts[0, 2, 3] == 1
    assert frame.counts[1, 0, 1] == 1
    assert frame.counts.sum() == 2


def test_pixels_fall_into_cells_by_whole_division() -> None:
    (frame,) = all_frames(make_events([0] * 5, [0, 1, 2, 3, 4], [0] * 5, [1] * 5), [], SensorSize(5, 1), SensorSize(2, 1), 10)
    # 0, 2, 4, 6, 8 over 5
    assert frame.counts[1, 0].tolist() == [3, 2]


def test_counts_saturate_but_n_events_does_not() -> None:
    (frame,) = all_frames(at(*[5] * 300), [], SMALL, SMALL, 10)
    assert frame.counts.max() == 255
    assert frame.n_events == 300


def test_events_before_the_open_bin_are_dropped_and_counted() -> None:
    binner = TimeBinner(SMALL, SMALL, 10)
    assert [frame.n_dropped for frame in binner.push(at(0, 25))] == [0, 0]
    assert list(binner.push(at(3))) == []
    (frame,) = binner.push(at(30))
    assert (frame.start_us, frame.n_events, frame.n_dropped) == (20, 1, 1)


def test_events_outside_the_sensor_are_dropped_and_counted() -> None:
    (frame,) = all_frames(make_events([0, 1, 2], [4, 0, 0], [0, 3, 0], [1, 1, 1]), [], SMALL, SMALL, 10)
    assert (frame.n_events, frame.n_dropped) == (1, 2)


def test_advance_closes_bins_that_no_event_closed() -> None:
    binner = TimeBinner(SMALL, SMALL, 10)
    assert list(binner.advance(1_000_000)) == []  # nothing says yet where bins begin
    assert list(binner.push(at(100))) == []
    assert list(binner.advance(109)) == []
    assert [frame.n_events for frame in binner.advance(130)] == [1, 0, 0]
    assert [frame.start_us for frame in binner.push(at(145))] == [130]
    assert [frame.start_us for frame in binner.flush()] == [140]


def test_flush_gives_nothing_for_an_empty_bin_and_starts_a_new_row() -> None:
    binner = TimeBinner(SMALL, SMALL, 10)
    assert list(binner.flush()) == []
    list(binner.push(at(0)))
    list(binner.advance(10))
    assert list(binner.flush()) == []
    list(binner.push(at(3)))
    assert [(frame.start_us, frame.seq) for frame in binner.flush()] == [(3, 1)]


def test_long_silence_gives_frames_one_at_a_time() -> None:
    binner = TimeBinner(SMALL, SMALL, 1)
    frames = binner.push(at(0, 1 << 40))
    assert [next(frames).seq for _ in range(3)] == [0, 1, 2]


def test_frames_own_their_arrays() -> None:
    first, second = all_frames(at(0, 10), [], SMALL, SMALL, 10)
    assert not np.shares_memory(first.counts, second.counts)


def test_counts_never_change_while_any_view_of_them_is_left() -> None:
    # one event in bin 0, two in bin 1, …: what is kept of a bin tells its number
    events = at(*(10 * i for i in range(9) for _ in range(i + 1)))
    rows, bytes_of, copies = [], [], []
    for frame in TimeBinner(SMALL, SMALL, 10).push(events):
        rows.append(frame.counts[1, :1])
        bytes_of.append(memoryview(frame.counts[1, 0]))
        copies.append(frame.counts.copy())
        del frame
    assert [row[0, 0] for row in rows] == [view[0] for view in bytes_of] == [copy[1, 0, 0] for copy in copies]
    assert [int(row[0, 0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_memory_of_dropped_frames_is_used_again() -> None:
    addresses = set()
    for frame in TimeBinner(SENSOR, SENSOR, 10).push(at(*range(0, 1000, 10))):
        addresses.add(frame.counts.ctypes.data)
        assert frame.counts.sum() == 1  # nothing is left of the frame that was there before
        del frame
    # the first use again may move it
    assert len(addresses) <= 2


def test_frames_kept_for_good_do_not_stop_the_others_from_sharing_memory() -> None:
    kept, addresses = [], set()
    for frame in TimeBinner(SENSOR, SENSOR, 10).push(at(*range(0, 1000, 10))):
        addresses.add(frame.counts.ctypes.data)
        if frame.seq < 4:
            kept.append(frame)
        del frame
    assert len({frame.counts.ctypes.data for frame in kept}) == 4
    assert len(addresses) <= 6


def test_counts_go_where_the_caller_says() -> None:
    film = np.zeros((3, 2 * 3 * 4), dtype=np.uint8)
    binner = TimeBinner(SMALL, SMALL, 10, memory=iter(film).__next__)
    frames = [*binner.push(at(0, 1, 25)), *binner.flush()]
    assert all(np.shares_memory(frame.counts, row) for frame, row in zip(frames, film, strict=True))
    assert film[:, 12].tolist() == [2, 0, 1]


@pytest.mark.parametrize(("delta_t_us", "size"), [(0, SMALL), (-5, SMALL), (10, SensorSize(0, 3))])
def test_senseless_bins_are_refused(delta_t_us: int, size: SensorSize) -> None:
    with pytest.raises(UsageError):
        TimeBinner(SMALL, size, delta_t_us)


@given(
    steps=st.lists(st.integers(0, 40), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    delta_t_us=st.integers(1, 50),
    size=st.sampled_from([SENSOR, SensorSize(8, 8), SensorSize(5, 7), SensorSize(40, 30)]),
    seed=st.integers(0, 1000),
)
def test_any_split_gives_the_frames_of_the_definition(
    steps: list[int], cuts: list[int], delta_t_us: int, size: SensorSize, seed: int
) -> None:
    events = random_events(len(steps), seed=seed)
    events["t"] = np.cumsum(np.array(steps, dtype=np.int64)) - 500
    frames = all_frames(events, cuts, SENSOR, size, delta_t_us)
    expected = reference(events, SENSOR, size, delta_t_us)
    assert np.array_equal(np.array([frame.counts for frame in frames]).reshape(expected.shape), expected)
    assert sum(frame.n_events for frame in frames) == events.size
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert all(before.end_us == after.start_us for before, after in pairwise(frames))
    counts, start_us = bin_events(events, SENSOR, size, delta_t_us)
    assert np.array_equal(counts, expected)
    assert start_us.tolist() == [frame.start_us for frame in frames]


@pytest.mark.parametrize("size", [SENSOR, SensorSize(8, 5)])
def test_many_events_with_some_outside_the_sensor_give_the_frames_of_the_definition(size: SensorSize) -> None:
    # more than a block that is counted at once, edges at every place in it, and cells that saturate
    events = random_events(20_000, seed=3, sensor=SensorSize(40, 30), duration_us=60_000)
    events["x"][::3], events["y"][::3] = 5, 6
    is_inside = (events["x"] < SENSOR.width) & (events["y"] < SENSOR.height)
    expected = reference(events[is_inside], SENSOR, size, 7_001)
    for cuts in ([], [511, 512, 513, 10_000], list(range(0, 20_000, 997))):
        frames = all_frames(events, cuts, SENSOR, size, 7_001)
        assert np.array_equal([frame.counts for frame in frames], expected)
        assert expected.max() == 255
        assert sum(frame.n_events for frame in frames) == is_inside.sum()
        assert sum(frame.n_dropped for frame in frames) == 20_000 - is_inside.sum()


@pytest.mark.parametrize("n", [511, 512, 513, 1024])
def test_an_edge_beside_the_end_of_a_block_loses_no_event(n: int) -> None:
    frames = all_frames(at(*[3] * n, 13, 13), [], SMALL, SMALL, 10)
    assert [frame.n_events for frame in frames] == [n, 2]


def test_late_events_before_others_of_their_packet_are_dropped_alone() -> None:
    binner = TimeBinner(SMALL, SMALL, 10)
    assert len(list(binner.push(at(0, 25)))) == 2
    (frame,) = binner.push(at(3, 19, 20, 29, 30))
    assert (frame.start_us, frame.n_events, frame.n_dropped) == (20, 3, 2)


def test_any_polarity_but_0_counts_as_on() -> None:
    (frame,) = all_frames(make_events([0, 1, 2], [1] * 3, [1] * 3, [0, 1, 255]), [], SMALL, SMALL, 10)
    assert frame.counts[:, 1, 1].tolist() == [1, 2]


def test_frames_too_large_to_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match=r"65536x65536.*--size"):
        TimeBinner(SMALL, SensorSize(65536, 65536), 10)


def test_sensors_that_cannot_be_divided_exactly_are_refused() -> None:
    with pytest.raises(UsageError, match=r"65536x1 .*--size"):
        TimeBinner(SensorSize(65536, 1), SensorSize(65536, 1), 10)


@given(n_pixels=st.integers(1, 65536), n_cells=st.integers(1, 65536))
@example(n_pixels=32768, n_cells=32768)
@example(n_pixels=65536, n_cells=16384)
@example(n_pixels=3, n_cells=65536)
@settings(max_examples=60, deadline=None)
def test_every_pixel_falls_into_the_cell_of_whole_division(n_pixels: int, n_cells: int) -> None:
    n_cells = min(n_cells, (1 << 30) // n_pixels)
    x = np.arange(n_pixels)
    events = make_events(np.zeros(n_pixels), x, np.zeros(n_pixels), np.ones(n_pixels))
    (frame,) = all_frames(events, [], SensorSize(n_pixels, 1), SensorSize(n_cells, 1), 10)
    expected = np.minimum(np.bincount(x * n_cells // n_pixels, minlength=n_cells), 255)
    assert np.array_equal(frame.counts[1, 0], expected)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 32, 33, 47])
def test_few_events_are_all_counted_once(n: int) -> None:
    # all of them in one column of their own, two outside the sensor
    events = make_events(np.zeros(n + 2), [64, *range(n), 0], [0] * (n + 1) + [1], [1] * (n + 2))
    (frame,) = all_frames(events, [], SensorSize(64, 1), SensorSize(64, 1), 10)
    assert frame.counts[1, 0].tolist() == [1] * n + [0] * (64 - n)
    assert (frame.n_events, frame.n_dropped) == (n, 2)


def test_what_lies_between_the_fields_of_an_event_does_not_matter() -> None:
    # three bytes of padding behind p, which numpy leaves as they were
    memory = np.full(20 * EVENT_DTYPE.itemsize, 0xFF, dtype=np.uint8)
    events = memory.view(EVENT_DTYPE)
    events["x"], events["y"], events["p"], events["t"] = 2, 1, 0, 5
    (frame,) = all_frames(events, [], SMALL, SMALL, 10)
    assert frame.counts[0, 1, 2] == frame.counts.sum() == 20


def test_no_events_give_no_bins() -> None:
    counts, start_us = bin_events(empty_events(), SENSOR, SMALL, 10)
    assert counts.shape == (0, 2, 3, 4)
    assert start_us.shape == (0,)


def test_bins_that_would_fill_the_memory_are_refused_before_they_are_made() -> None:
    with pytest.raises(UsageError, match=r"GB.*--delta-t"):
        bin_events(at(0, 1 << 50), SMALL, SMALL, 1)
