"""Filters by place and polarity, against what a person sees."""

import pytest
from builders import SENSOR, random_events
from filtering import rows, run

from pipeline.filters import parse_filters
from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events

# 32 x 24 pixels: one event beside the top-left corner
NEAR_CORNER = make_events([7], [1], [2], [0])


@pytest.mark.parametrize(
    ("text", "place", "size"),
    [
        ("flip-x", (30, 2), (32, 24)),
        ("flip-y", (1, 21), (32, 24)),
        ("transpose", (2, 1), (24, 32)),
        # clockwise, the left edge becomes the upper one, and what was above comes to the right
        ("rotate=90", (21, 1), (24, 32)),
        ("rotate=180", (30, 21), (32, 24)),
        ("rotate=270", (2, 30), (24, 32)),
    ],
)
def test_orientation_moves_a_pixel_where_a_person_would(text, place, size):
    turned, _ = run([text], NEAR_CORNER)
    assert rows(turned) == [(7, *place, 0)]
    assert parse_filters([text]).output_size(SENSOR) == size


@pytest.mark.parametrize("filters", [["rotate=90"] * 4, ["rotate=90", "rotate=270"], ["flip-x", "flip-x"], ["transpose"] * 2])
def test_turning_back_gives_the_picture_again(filters):
    events = random_events()
    assert rows(run(filters, events)[0]) == rows(events)


def test_a_region_keeps_its_own_edge_loses_the_next_pixel_and_becomes_the_sensor():
    events = make_events([1, 2, 3, 4], [9, 10, 13, 14], [5, 5, 6, 6], [1, 1, 1, 1])
    assert rows(run(["roi=10,5,4x2"], events)[0]) == [(2, 0, 0, 1), (3, 3, 1, 1)]
    assert parse_filters(["roi=10,5,4x2"]).output_size(SENSOR) == SensorSize(4, 2)


def test_a_region_can_leave_coordinates_and_sensor_as_they_were():
    events = make_events([1, 2], [9, 10], [5, 5], [1, 1])
    assert rows(run(["roi=10,5,4x2,keep"], events)[0]) == [(2, 10, 5, 1)]
    assert parse_filters(["roi=10,5,4x2,keep"]).output_size(SENSOR) == SENSOR


def test_a_region_of_no_interest_loses_exactly_what_the_region_keeps():
    events = random_events()
    outside = rows(run(["roni=10,5,8x9"], events)[0])
    assert sorted(outside + rows(run(["roi=10,5,8x9,keep"], events)[0])) == sorted(rows(events))
    assert not [row for row in outside if 10 <= row[1] < 18 and 5 <= row[2] < 14]


@pytest.mark.parametrize("text", ["roi=30,0,4x4", "roni=30,0,4x4", "roi=0,0,0x4", "mask=32:0"])
def test_a_place_outside_the_sensor_is_refused(text):
    with pytest.raises(UsageError, match="32 x 24"):
        parse_filters([text]).start(SENSOR)


def test_masked_pixels_fall_silent_and_no_others():
    events = make_events([1, 2, 3], [3, 4, 3], [2, 2, 1], [1, 1, 0])
    assert rows(run(["mask=3:2"], events)[0]) == [(2, 4, 2, 1), (3, 3, 1, 0)]


def test_a_mask_is_read_from_a_file(tmp_path):
    path = tmp_path / "hot, pixels.txt"
    path.write_text("# left\n3 2\n\n4,2  # right\n5:2\n")
    events = make_events([1, 2, 3, 4], [3, 4, 5, 6], [2] * 4, [1] * 4)
    assert rows(run([f"mask={path}"], events)[0]) == [(4, 6, 2, 1)]


@pytest.mark.parametrize(("content", "complaint"), [("3\n", "line 1"), ("1 2\nx 3\n", "line 2"), ("1 -2\n", "line 1")])
def test_a_mask_that_is_none_is_refused(tmp_path, content, complaint):
    path = tmp_path / "hot.txt"
    path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        parse_filters([f"mask={path}"])


def test_a_mask_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.txt cannot be read"):
        parse_filters([f"mask={tmp_path / 'absent.txt'}"])


@pytest.mark.parametrize(
    ("text", "polarities", "n_dropped"),
    [("polarity=on", [1], 1), ("polarity=off", [0], 1), ("polarity=invert", [1, 0], 0), ("polarity=merge", [1, 1], 0)],
)
def test_polarities_are_kept_exchanged_or_merged(text, polarities, n_dropped):
    changed, (state,) = run([text], make_events([1, 2], [0, 1], [0, 0], [0, 1]))
    assert changed["p"].tolist() == polarities
    assert state.n_dropped == n_dropped
