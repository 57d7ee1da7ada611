import numpy as np

from pipeline.schema.events import SensorSize
from pipeline.simulator.gestures import Act, draw_manner
from pipeline.simulator.stage import Stage

SIZE = SensorSize(48, 48)
WAVE = Act("right_hand_wave", draw_manner("right_hand_wave", np.random.default_rng(0)), 300_000, ramp_us=100_000)
PAUSE = Act(None, None, 130_000)


def test_time_runs_on_over_the_acts():
    stage = Stage(3, SIZE)
    packets, ends = [], []
    for packet in stage.play([WAVE, PAUSE]):
        packets.append(packet)
        ends.append(stage.time_us)
    assert ends == [100_000, 200_000, 300_000, 400_000, 430_000]
    times = np.concatenate(packets)["t"]
    assert (np.diff(times) >= 0).all()
    assert times[-1] <= 430_000


def test_gesture_comes_up_from_rest_and_goes_back():
    stage = Stage(3, SIZE)
    counts = [len(packet) for packet in stage.play([PAUSE, WAVE, PAUSE])]
    pause, edge, middle = counts[0], counts[2], counts[3]
    assert middle > 3 * pause
    assert edge > pause


def test_nobody_is_only_noise():
    counts = [sum(map(len, Stage(5, SIZE, is_empty=empty).play([PAUSE]))) for empty in (True, False)]
    assert counts[0] < counts[1]
