"""Judging over time, with recognisers whose answers are written down."""

import numpy as np
import pytest

from pipeline.decision import DecisionSettings
from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.recognition import Prediction, RecogniserInfo
from training.data import ClipSet
from training.judging import Answers, accuracy_over_time, answer_clip, answer_clips, count_alarms, decision_times


class _Scripted:
    """Is sure of the class that stands in the frame's first pixel; trusted from the second bin after rest on."""

    def __init__(self, classes: tuple[str, ...] = ("a", "b", "c")) -> None:
        self.info = RecogniserInfo("scripted@0", classes, 25_000, 2, SensorSize(2, 1))
        self._n = 0

    def step(self, frame: SpikeFrame) -> Prediction:
        self._n += 1
        scores = np.full(len(self.info.classes), 0.05, dtype=np.float32)
        scores[int(frame.counts[0, 0, 0])] = 0.9
        return Prediction(scores, 0, 0, 0.0, np.zeros(0, dtype=np.uint8), (), self._n >= 2)

    def reset(self) -> None:
        self._n = 0


def _clip(*classes: int, events: int = 50) -> np.ndarray:
    counts = np.zeros((len(classes), 2, 1, 2), dtype=np.uint8)
    counts[:, 0, 0, 0] = classes
    counts[:, 1, 0, 1] = events
    return counts


# no smoothing, so that what follows can be counted on fingers
SETTINGS = DecisionSettings(threshold=0.5, hold_bins=2, quiet_events=10, quiet_bins=2, smoothing=1.0)


def test_each_clip_begins_at_rest_and_a_label_is_stable_after_its_hold() -> None:
    clips = ClipSet([_clip(0, 0, 0, 1, 1), _clip(2, 2, 2)], np.array([0, 2]), ("a", "b", "c"), ["r1", "r2"])
    first, second = answer_clips(_Scripted(), clips, SETTINGS)
    assert first.best.tolist() == [0, 0, 0, 1, 1]
    # the first bin is not trusted, the second is the first of two, the third holds; b needs two again
    assert first.stable.tolist() == [-1, -1, 0, -1, 1]
    assert second.stable.tolist() == [-1, -1, 2]


def test_a_quiet_scene_and_a_class_called_nothing_give_no_label() -> None:
    quiet = answer_clip(_Scripted(), _clip(0, 0, 0, 0, events=0), SETTINGS)
    assert quiet.stable.tolist() == [-1, -1, -1, -1]
    named = answer_clip(_Scripted(("nothing", "b", "c")), _clip(0, 0, 0, 1, 1), SETTINGS)
    assert named.stable.tolist() == [-1, -1, -1, -1, 1]


def _answers(best: list[int], stable: list[int]) -> Answers:
    return Answers(np.array(best), np.array(stable))


ROWS = [
    _answers([1, 0, 0, 0], [-1, -1, 0, 0]),
    _answers([0, 0, 1, 1], [-1, 0, -1, 1]),
    _answers([1, 1], [-1, -1]),
    _answers([0, 1, 0, 0], [-1, 1, 0, 0]),
]
LABELS = np.array([0, 1, 1, 1])


def test_accuracy_is_that_of_the_moment_and_short_clips_keep_their_last_answer() -> None:
    assert accuracy_over_time(ROWS, LABELS, 4) == [0.25, 0.75, 0.75, 0.75]


def test_decision_times_tell_right_from_wrong_first_labels() -> None:
    times = decision_times(ROWS, LABELS, 25_000)
    assert times.decided == 0.75
    assert times.first_right == 0.5  # the first and the fourth clip
    assert times.ever_right == 0.75
    assert times.last_right == 0.5  # the first and the second clip
    assert times.median_ms == 50.0  # bins 3, 2 and 2
    assert times.median_right_ms == 75.0  # bins 3, 4 and 2
    assert times.p90_ms == pytest.approx(70.0)
    assert decision_times([ROWS[2]], LABELS[2:3], 25_000).median_ms is None


def test_an_alarm_is_counted_when_its_label_begins() -> None:
    scenes = [_answers([0] * 6, [-1, 0, 0, -1, 0, 1]), _answers([0] * 6, [-1] * 6)]
    alarms = count_alarms(scenes, ("a", "b"), 25_000)
    assert (alarms.alarms, alarms.classes) == (3, {"a": 2, "b": 1})
    assert alarms.minutes == 0.005
    assert alarms.per_minute == pytest.approx(600.0)
    assert alarms.share == pytest.approx(4 / 12)
    assert count_alarms([], ("a",), 25_000).per_minute == 0.0
