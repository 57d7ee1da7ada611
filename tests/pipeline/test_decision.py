import dataclasses

import numpy as np
import pytest

from pipeline.decision import DecisionSettings, DecisionState, decide
from pipeline.schema.errors import UsageError
from pipeline.schema.recognition import Prediction

PLAIN = DecisionSettings(threshold=0.6, hold_bins=2, quiet_events=5, quiet_bins=2, smoothing=1.0)


def predict(*scores, is_window_end=True):
    return Prediction(np.array(scores, np.float32), 0, 0, 0.0, np.zeros(0, np.uint8), (), is_window_end)


def run(steps, settings=PLAIN):
    """(index, is_stable) after each step of (prediction, n_events)."""
    state, answers = DecisionState(), []
    for prediction, n_events in steps:
        decision, state = decide(state, prediction, n_events, settings)
        answers.append((decision.index, decision.is_stable))
    return answers


def test_a_label_is_stable_once_it_has_led_long_enough():
    assert run([(predict(0.9, 0.1), 100)] * 3) == [(0, False), (0, True), (0, True)]


def test_a_change_of_label_starts_the_hold_anew():
    assert run([(predict(0.9, 0.1), 100), (predict(0.9, 0.1), 100), (predict(0.1, 0.9), 100)])[-1] == (1, False)


def test_nothing_is_said_when_no_class_is_sure_enough():
    assert run([(predict(0.55, 0.45), 100)] * 2) == [(-1, False), (-1, True)]


def test_a_class_that_means_nothing_is_nothing_however_sure_it_is():
    nobody = dataclasses.replace(predict(0.1, 0.9), nothing=1)
    someone = dataclasses.replace(predict(0.9, 0.1), nothing=1)
    assert run([(nobody, 100), (nobody, 100), (someone, 100)]) == [(-1, False), (-1, True), (0, False)]


def test_nothing_is_said_when_the_scene_is_quiet():
    assert [index for index, _ in run([(predict(0.9, 0.1), 4)] * 3)] == [0, -1, -1]


def test_one_busy_bin_ends_the_quiet():
    assert [index for index, _ in run([(predict(0.9, 0.1), 0)] * 3 + [(predict(0.9, 0.1), 5)])] == [0, -1, -1, 0]


def test_what_was_said_of_a_still_scene_does_not_linger():
    partial = predict(0.9, 0.1, is_window_end=False)
    still = [(predict(0.9, 0.1), 0)] * 2
    assert [index for index, _ in run([*still, (partial, 100), (partial, 100), (predict(0.1, 0.9), 100)])] == [0, -1, -1, -1, 1]


def test_nothing_is_said_before_the_first_whole_window():
    early = predict(0.9, 0.1, is_window_end=False)
    assert [index for index, _ in run([(early, 100), (early, 100), (predict(0.9, 0.1), 100)])] == [-1, -1, 0]


def test_between_two_windows_the_label_of_the_last_one_holds():
    partial = predict(0.0, 1.0, is_window_end=False)
    assert [index for index, _ in run([(predict(0.9, 0.1), 100), (partial, 100), (predict(0.1, 0.9), 100)])] == [0, 0, 1]


def test_scores_are_averaged_with_the_weight_of_the_newest():
    settings = DecisionSettings(smoothing=0.25)
    _, state = decide(DecisionState(), predict(1.0, 0.0), 100, settings)
    decision, _ = decide(state, predict(0.0, 1.0), 100, settings)
    assert decision.scores.tolist() == [0.75, 0.25]
    assert (decision.index, decision.confidence) == (0, 0.75)


def test_nothing_has_no_confidence():
    decision, _ = decide(DecisionState(), predict(0.5, 0.5), 100, PLAIN)
    assert decision.confidence == 0.0


@pytest.mark.parametrize(
    "values", [{"threshold": 1.1}, {"hold_bins": 0}, {"quiet_bins": 0}, {"quiet_events": -1}, {"smoothing": 0}]
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        DecisionSettings(**values)
