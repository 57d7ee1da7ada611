import json
import sys

import numpy as np
import pytest

from pipeline.schema.errors import InputError
from pipeline.schema.events import SensorSize, make_events
from training import calibration
from training.calibration import STATISTICS, compare, describe_events, main, read_real
from training.calibration_picture import draw_comparison

SIZE = SensorSize(4, 2)


def beats(gap_us=100_000):
    """Two pixels side by side that take turns, ON at (0, 0) and OFF at (1, 0)."""
    t = np.arange(0, 1_000_000, gap_us)
    return make_events(t, np.arange(len(t)) % 2, np.zeros(len(t)), (np.arange(len(t)) + 1) % 2)


def test_figures_of_two_pixels_that_take_turns():
    figures = describe_events(beats(), SIZE)
    assert set(figures) == set(STATISTICS)
    assert figures["rate_khz"] == pytest.approx(0.01)
    assert figures["on_share"] == 0.5
    assert figures["gap_50_ms"] == pytest.approx(200.0)
    assert (figures["middle_x_px"], figures["spread_x_px"], figures["spread_y_px"]) == (0.5, 0.5, 0.0)
    assert figures["busy_share"] == 0.0  # five events each, and more than five are wanted
    assert figures["active_share"] == 0.0  # three of four spans of 25 ms are empty
    assert figures["alone_share"] == 1.0  # 100 ms after the neighbour
    # ten of forty spans hold one event: mean 1/4, variance 3/16
    assert figures["modulation"] == pytest.approx(np.sqrt(3.0))
    assert figures["rhythm"] == pytest.approx(1.0)


def test_event_soon_after_its_neighbour_is_not_alone():
    events = make_events([0, 9_000, 20_000], [1, 2, 2], [1, 0, 0], [1, 1, 1])
    # the second follows its neighbour by 9 ms; the third its own pixel by 11 ms
    assert describe_events(events, SIZE)["alone_share"] == pytest.approx(2 / 3)


def test_comparison_says_how_many_real_clips_lie_within():
    real = [dict.fromkeys(STATISTICS, value) for value in (0.0, 5.0, 9.5)]
    made = [dict.fromkeys(STATISTICS, float(value)) for value in range(11)]
    row = compare(real, made)["rate_khz"]
    assert (row["simulated_10"], row["simulated_50"], row["simulated_90"]) == (1.0, 5.0, 9.0)
    assert row["real_within"] == 1
    assert row["real_median_within"]


def write_real(folder, **more):
    events = beats(1000)
    columns = {name: np.tile(events[name], 2) for name in ("t", "x", "y", "p")}
    np.savez(folder / "dvs128_gesture_first_1s.npz", offsets=np.array([0, len(events), 2 * len(events)]), **columns, **more)


def test_real_clips_are_read_without_any_labels(tmp_path):
    write_real(tmp_path)  # there are none in it
    clips = read_real(tmp_path)
    assert [len(clip) for clip in clips] == [1000, 1000]
    assert (clips[0] == beats(1000)).all()


def test_folder_without_the_clips_is_refused(tmp_path):
    with pytest.raises(InputError, match="dvs128_gesture_first_1s"):
        read_real(tmp_path)


def test_command_writes_figures_and_a_picture(tmp_path, monkeypatch, capsys):
    write_real(tmp_path)
    monkeypatch.setattr(calibration, "simulated", lambda n_people: (beats(gap_us) for gap_us in (500, 1000, 2000)))
    out, picture = tmp_path / "found.json", tmp_path / "found.svg"
    arguments = ["calibration", "--data", str(tmp_path), "--out", str(out), "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    found = json.loads(out.read_text())
    assert (found["n_real"], found["n_simulated"]) == (2, 3)
    assert found["statistics"]["rate_khz"]["real_median"] == 1.0
    assert picture.read_text().count("<circle") == 2 * len(STATISTICS)
    assert capsys.readouterr().out.count("2 of 2") == len(STATISTICS)


def test_picture_has_a_tile_for_each_simulated_clip():
    rows = compare([describe_events(beats())], [describe_events(beats())])
    drawing = draw_comparison(rows, STATISTICS, [beats(), beats()])
    assert drawing.count("<image") == 2
    assert drawing.count("<rect") == 1 + len(STATISTICS)
