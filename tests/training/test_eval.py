from training.eval import Evaluation, Tally, tally


def test_clips_of_some_classes_are_counted_apart_whatever_was_answered():
    result = Evaluation(0.5, 5, 10, [[3, 0, 1], [0, 0, 2], [2, 0, 2]], ["up", "down", "wave"], 0.0, 0.0)
    assert tally(result, ["up", "down"]) == Tally(0.5, 3, 6)
    assert tally(result, ("wave",)) == Tally(0.5, 2, 4)
    assert tally(result, ["none"]) == Tally(None, 0, 0)
