import json

import numpy as np
import pytest
from builders import SENSOR

from app.captions import FileCaptions, NetworkCaptions, TimeOnly, choose_captioner, read_captions
from pipeline.decision import DecisionSettings
from pipeline.fakes import CannedRecogniser
from pipeline.rendering.track import Caption
from pipeline.schema.errors import InputError
from pipeline.schema.events import empty_events, make_events


def line(start_us, label, confidence=0.9, *, stable=True, **more):
    """One line as `saccade replay --json` prints it, of a bin of 10 us."""
    return {
        "v": 1, "type": "label", "seq": 0, "start_us": start_us, "end_us": start_us + 10, "label": label,
        "confidence": confidence, "stable": stable, **more,
    }  # fmt: skip


@pytest.fixture
def labels(tmp_path):
    def write(*lines):
        path = tmp_path / "labels.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
        return path

    return write


def test_a_label_is_shown_from_when_it_was_known_for_as_long_as_a_bin(labels):
    assert list(read_captions(labels(line(0, "wave")))) == [Caption(10, 20, "wave", 0.9)]


def test_a_label_that_is_not_stable_yet_leaves_the_text_and_moves_the_confidence(labels):
    found = read_captions(labels(line(0, "wave"), line(10, "wave", 0.7, stable=False), line(20, "clap", 0.8, stable=False)))
    assert [(caption.text, caption.confidence) for caption in found] == [("wave", 0.9), ("wave", 0.7), ("wave", 0.7)]


def test_nothing_and_the_other_lines_of_a_stream_are_no_captions(labels):
    track = FileCaptions(
        labels(
            {"type": "gap", "v": 1, "n_lost": 3}, line(0, "nothing"), line(10, "wave"), {"type": "status"}, line(20, "nothing")
        )
    )
    track.take(empty_events())
    assert [track.at(t) and track.at(t).text for t in (15, 25, 35)] == [None, "wave", None]


def test_labels_of_dvs128_gesture_are_captions_in_the_order_of_time(tmp_path):
    path = tmp_path / "user01_led_labels.csv"
    path.write_text("class,startTime_usec,endTime_usec\n8,500,700\n2,100,550\n")
    assert list(read_captions(path)) == [Caption(100, 550, "right_hand_wave"), Caption(500, 700, "arm_roll")]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"type": "label", "start_us": "soon"}\n', "line 1"),
        ('{"type": "status"}\nhello\n', "line 2"),
        ('{"type": "status"}\n\xff\n', "line 2"),
        (json.dumps(line(50, "a")) + "\n" + json.dumps(line(0, "a")) + "\n", "line 2: time goes back"),
    ],
)
def test_lines_that_are_no_labels_are_named(tmp_path, text, match):
    (tmp_path / "a").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=match):
        list(read_captions(tmp_path / "a"))


def test_a_missing_file_of_labels_is_named(tmp_path):
    with pytest.raises(InputError, match="none"):
        read_captions(tmp_path / "none")


def test_a_network_captions_what_it_has_seen_by_then():
    # a recogniser of 10 ms bins that names the stripe with the most events, sure after four bins
    captions = NetworkCaptions(CannedRecogniser(), SENSOR, DecisionSettings(hold_bins=1, quiet_events=1))
    times = np.arange(0, 60_000, 100)
    events = make_events(times, np.full(600, 30), 0 * times, 0 * times)
    captions.take(events[:400])
    assert captions.at(39_999) is None
    assert captions.at(40_000) == Caption(40_000, 50_000, "right", pytest.approx(0.9))
    captions.take(events[400:])
    assert captions.at(60_000).start_us == 60_000
    assert captions.at(200_000) is None, "a quiet scene has no label"


def test_a_network_is_shown_no_label_before_it_is_sure():
    captions = NetworkCaptions(CannedRecogniser(), SENSOR, DecisionSettings(hold_bins=1, quiet_events=0))
    captions.take(make_events([0, 10_000, 20_000], [30] * 3, [0] * 3, [1] * 3))
    assert captions.at(30_000) is None


def test_the_captioner_is_chosen_by_what_was_given(labels):
    assert choose_captioner(None, None, SENSOR) is None
    assert isinstance(choose_captioner(labels(), None, SENSOR), FileCaptions)
    assert isinstance(choose_captioner(None, "canned", SENSOR), NetworkCaptions)
    only = TimeOnly()
    only.take(empty_events())
    assert only.at(5) == Caption(5, 6, "")
