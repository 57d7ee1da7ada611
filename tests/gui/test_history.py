import numpy as np

from gui.history import (
    RASTER_GAP,
    RASTER_ODD_LAYER,
    RASTER_SPIKE,
    EventPicture,
    LabelRun,
    LabelTimeline,
    NumberRing,
    RasterRing,
    RecentValues,
)


def _counts(off: int, on: int) -> np.ndarray:
    return np.array([[[off]], [[on]]], dtype=np.uint8)


def test_on_fills_the_high_nibble_and_off_the_low_one() -> None:
    picture = EventPicture()
    picture.add(_counts(off=0, on=200), 10_000)
    assert picture.indices().tolist() == [[0xF0]]
    picture = EventPicture()
    picture.add(_counts(off=200, on=0), 10_000)
    assert picture.indices().tolist() == [[0x0F]]


def test_a_pixel_fades_by_half_in_its_half_life_and_goes_dark_in_the_end() -> None:
    picture = EventPicture(half_life_us=1000)
    picture.add(_counts(off=0, on=1), 0)
    fresh = picture.indices()[0, 0] >> 4
    picture.add(_counts(off=0, on=0), 1000)
    faded = picture.indices()[0, 0] >> 4
    picture.add(_counts(off=0, on=0), 20_000)
    # 1 - exp(-0.7) of 15 is 7.6, 1 - exp(-0.35) of 15 is 4.4
    assert (fresh, faded, picture.indices()[0, 0]) == (8, 4, 0)


def test_time_that_runs_back_starts_a_new_picture() -> None:
    picture = EventPicture()
    picture.add(_counts(off=200, on=0), 50_000)
    picture.add(_counts(off=0, on=200), 10_000)
    assert picture.indices().tolist() == [[0xF0]]


def test_a_picture_of_another_size_starts_anew() -> None:
    picture = EventPicture()
    picture.add(_counts(off=200, on=0), 10_000)
    picture.add(np.zeros((2, 3, 4), dtype=np.uint8), 20_000)
    assert picture.indices().shape == (3, 4)


def test_numbers_leave_the_ring_oldest_first() -> None:
    ring = NumberRing(3)
    for value in (1.0, 2.0, 3.0, 4.0):
        ring.append(value)
    assert ring.values().tolist() == [2.0, 3.0, 4.0]


def test_missing_numbers_are_holes_and_never_more_than_the_ring_holds() -> None:
    ring = NumberRing(3)
    ring.append(1.0)
    ring.append_missing(1)
    assert ring.values()[1] == 1.0
    ring.append_missing(10**9)
    assert np.isnan(ring.values()).all()


def test_the_newest_bin_is_the_rightmost_column() -> None:
    ring = RasterRing(3)
    ring.append(np.array([1, 0], dtype=np.uint8), (1, 1))
    ring.append(np.array([0, 1], dtype=np.uint8), (1, 1))
    odd, spike = RASTER_ODD_LAYER, RASTER_SPIKE
    assert ring.image().tolist() == [[0, spike, 0], [odd, odd, odd | spike]]


def test_lost_bins_are_columns_of_gap() -> None:
    ring = RasterRing(3)
    ring.append(np.array([1], dtype=np.uint8), (1,))
    ring.append_gap(2)
    assert ring.image().tolist() == [[RASTER_SPIKE, RASTER_GAP, RASTER_GAP]]


def test_other_layers_start_the_raster_anew() -> None:
    ring = RasterRing(2)
    ring.append(np.array([1], dtype=np.uint8), (1,))
    ring.append(np.array([0, 0, 1], dtype=np.uint8), (3,))
    assert ring.image().tolist() == [[0, 0], [0, 0], [0, RASTER_SPIKE]]


def test_bins_that_say_the_same_are_one_run() -> None:
    timeline = LabelTimeline(1000)
    for start in (0, 10, 20):
        timeline.append(LabelRun(start, start + 10, 1, "wave"))
    timeline.append(LabelRun(30, 40, 2, "clap"))
    assert timeline.runs() == (LabelRun(0, 30, 1, "wave"), LabelRun(30, 40, 2, "clap"))


def test_a_missing_bin_leaves_a_hole() -> None:
    timeline = LabelTimeline(1000)
    timeline.append(LabelRun(0, 10, 1, "wave"))
    timeline.append(LabelRun(20, 30, 1, "wave"))
    assert timeline.runs() == (LabelRun(0, 10, 1, "wave"), LabelRun(20, 30, 1, "wave"))


def test_a_loop_joins_end_and_beginning() -> None:
    timeline = LabelTimeline(1000)
    timeline.append(LabelRun(500, 510, 1, "wave"))
    timeline.append(LabelRun(0, 10, 2, "clap"))
    assert timeline.runs() == (LabelRun(0, 10, 1, "wave"), LabelRun(10, 20, 2, "clap"))


def test_runs_that_left_the_span_are_forgotten() -> None:
    timeline = LabelTimeline(25)
    for start in range(0, 100, 10):
        timeline.append(LabelRun(start, start + 10, start, "other"))
    assert [run.start_us for run in timeline.runs()] == [70, 80, 90]


def test_a_rate_counts_the_intervals_since_the_oldest() -> None:
    recent = RecentValues(10**9)
    for k in range(5):
        recent.append(k * 10_000_000, 1.0)
    assert recent.rate_hz(40_000_000) == 100.0
    assert recent.rate_hz(2_000_000_000) == 0.0
