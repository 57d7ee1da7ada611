import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize
from pipeline.simulator.clips import FOREIGN_SCENES, simulate_foreign
from pipeline.simulator.foreign import SCENES

SIZE = SensorSize(48, 48)


def capsules(kind, seed, times_us):
    """Parts of a scene at times, (F, P, columns)."""
    _, actors = SCENES[kind](np.random.default_rng(seed), SIZE)
    return actors(np.asarray(times_us))


def test_listed_scenes_are_those_there_are():
    assert tuple(SCENES) == FOREIGN_SCENES


@pytest.mark.parametrize("kind", FOREIGN_SCENES)
def test_scene_is_drawn_from_its_seed_and_lies_in_its_time(kind):
    first, again, other = (simulate_foreign(kind, seed, duration_us=150_000, sensor_size=SIZE) for seed in (1, 1, 2))
    assert len(first) > 0
    assert (first == again).all()
    assert len(other) != len(first) or (other != first).any()
    assert 0 <= first["t"][0] <= first["t"][-1] < 150_000
    assert (np.diff(first["t"]) >= 0).all()


def test_moving_camera_sees_edges_move_all_over_the_picture():
    events = simulate_foreign("moving_camera", 3, duration_us=500_000, sensor_size=SIZE)
    for left, top in ((0, 0), (24, 0), (0, 24), (24, 24)):
        inside = events[(events["x"] // 24 == left // 24) & (events["y"] // 24 == top // 24)]
        assert len(np.unique(inside["y"].astype(int) * 48 + inside["x"])) > 0.15 * 24**2


@pytest.mark.parametrize("seed", range(5))
def test_ball_falls_faster_and_faster_at_one_place(seed):
    ball = capsules("falling_ball", seed, [0, 100_000, 200_000, 300_000])[:, 0]
    fallen = np.diff(ball[:, 1])
    assert (ball[:, 0] == ball[0, 0]).all()
    assert 0.0 < fallen[0] < fallen[1] < fallen[2]
    # from rest, ways in equal times are as 1 to 3 to 5
    assert fallen[1] / fallen[0] == pytest.approx(3.0)


def test_bar_drifts_evenly_across_itself():
    for seed in range(20):
        bar = capsules("drifting_bar", seed, [0, 10_000, 20_000])[:, 0]
        steps = np.diff(bar[:, :2], axis=0)
        if np.allclose(steps[0], steps[1]):  # it did not begin anew between
            assert steps[0] @ (bar[0, 2:4] - bar[0, :2]) == pytest.approx(0.0, abs=1e-6)
            break
    else:
        pytest.fail("no bar drifted evenly")


def test_walker_crosses_the_picture_and_comes_back():
    face = capsules("walker", 6, np.arange(0, 60_000_000, 100_000))[:, 4, 0]
    assert face.min() < 0.0
    assert face.max() > SIZE.width
    assert np.count_nonzero(np.diff(np.sign(np.diff(face))) != 0) >= 4


def test_flickering_lamp_lights_and_darkens_the_whole_picture_at_once():
    events = simulate_foreign("flickering_lamp", 4, duration_us=1_000_000, sensor_size=SIZE)
    balance = [events["p"][events["t"] // 10_000 == part].mean() for part in np.unique(events["t"] // 10_000)]
    assert np.max(balance) > 0.75
    assert np.min(balance) < 0.25


def test_noise_is_everywhere_and_of_either_polarity():
    events = simulate_foreign("noise", 5, duration_us=1_000_000, sensor_size=SIZE)
    assert len(events) > 2 * 48**2
    assert abs(events["p"].mean() - 0.5) < 0.05
    halves = np.count_nonzero(events["x"] < 24) / len(events)
    assert 0.4 < halves < 0.6


def test_unknown_scene_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'rain'.*walker.*noise"):
        simulate_foreign("rain", 0)
