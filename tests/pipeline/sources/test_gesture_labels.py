"""Labels of DVS128 Gesture: overlapping intervals, repeated classes, and lists of recordings."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.schema.errors import InputError
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import open_sink
from pipeline.sources.gesture_labels import (
    GESTURE_CLASSES,
    LabelledInterval,
    cut_intervals,
    gesture_clips,
    labelled_recordings,
    read_gesture_labels,
    read_trials,
)

HEADER = "class,startTime_usec,endTime_usec\n"


def write_set(folder: Path, name: str, rows: str, times: list[int]) -> Path:
    zeros = np.zeros(len(times), dtype=np.int64)
    with open_sink(folder / f"{name}.aedat", SensorSize(128, 128)) as sink:
        sink.write(make_events(times, zeros, zeros, zeros))
    (folder / f"{name}_labels.csv").write_text(HEADER + rows)
    return folder / f"{name}.aedat"


def test_classes_count_from_one_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "a_labels.csv").write_text(HEADER + "1,10,20\r\n\n11,15,30\n")
    assert len(GESTURE_CLASSES) == 11
    assert read_gesture_labels(tmp_path / "a_labels.csv") == (
        LabelledInterval("hand_clapping", 10, 20),
        LabelledInterval("other_gestures", 15, 30),
    )


@pytest.mark.parametrize("row", ["0,1,2", "12,1,2", "1,2,2", "1,2", "1,x,3", "1,-2,3", "1,2,3,4", "1,2,99999999999999999999"])
def test_a_line_that_cannot_be_is_named(tmp_path: Path, row: str) -> None:
    (tmp_path / "a_labels.csv").write_text(f"{HEADER}1,1,2\n{row}\n")
    with pytest.raises(InputError, match=r"a_labels\.csv, line 3"):
        read_gesture_labels(tmp_path / "a_labels.csv")


def test_overlapping_and_repeated_intervals_each_get_their_events(tmp_path: Path) -> None:
    rows = "9,100,300\n10,250,400\n9,400,500\n1,900,950\n"
    path = write_set(tmp_path, "user22_led", rows, [50, 100, 249, 250, 299, 300, 399, 400, 499, 500, 800])
    clips = [(label, events["t"].tolist()) for label, events in gesture_clips(path)]
    assert clips == [
        ("air_drums", [100, 249, 250, 299]),
        ("air_guitar", [250, 299, 300, 399]),
        ("air_drums", [400, 499]),
        ("hand_clapping", []),
    ]


@pytest.mark.parametrize("n_parts", [1, 3, 50])
def test_any_split_into_packets_gives_the_same_clips(n_parts: int) -> None:
    t = np.arange(0, 1000, 10)
    events = make_events(t, t % 7, t % 5, t % 2)
    intervals = [
        LabelledInterval("arm_roll", 5, 333),
        LabelledInterval("air_drums", 100, 120),
        LabelledInterval("arm_roll", 990, 2000),
    ]
    found = {interval: part["t"].tolist() for interval, part in cut_intervals(np.array_split(events, n_parts), intervals)}
    assert found == {interval: t[(t >= interval.start_us) & (t < interval.end_us)].tolist() for interval in intervals}


def test_lists_name_recordings_beside_them(tmp_path: Path) -> None:
    path = write_set(tmp_path, "user01_led", "1,1,2\n", [1])
    (tmp_path / "trials_to_train.txt").write_text("user01_led.aedat\n\n")
    assert read_trials(tmp_path / "trials_to_train.txt") == [path]
    assert labelled_recordings(tmp_path) == [path]
    for wrong in ("user02_led.aedat", "../user01_led.aedat", "nul.aedat"):
        (tmp_path / "trials_to_test.txt").write_text(f"{wrong}\n")
        with pytest.raises(InputError):
            read_trials(tmp_path / "trials_to_test.txt")
