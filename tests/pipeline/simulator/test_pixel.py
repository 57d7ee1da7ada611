"""Traces computed by hand: thresholds of 1/4 log unit and a light that rises by 2 in 8192 us, so 1024 us to each threshold."""

import numpy as np
import pytest

from pipeline.schema.events import SensorSize
from pipeline.simulator.pixel import PixelArray, PixelTraits, draw_traits


def traits(n=1, *, theta_on=0.25, theta_off=0.25, refractory_us=64, leak_hz=0.0, noise_hz=0.0, bandwidth_hz=0.0):
    return PixelTraits(
        theta_on=np.full(n, theta_on),
        theta_off=np.full(n, theta_off),
        refractory_us=np.full(n, refractory_us),
        leak_hz=np.full(n, leak_hz),
        noise_hz=np.full(n, noise_hz),
        bandwidth_hz=bandwidth_hz,
    )


def picture(value, height=1, width=1):
    return np.full((height, width), value, dtype=np.float32)


def watch(pixel_traits, *steps):
    """Events of one pixel, from log light 0, for steps (log light, time in us)."""
    pixels = PixelArray(pixel_traits, picture(0.0), np.random.default_rng(0), settled=0.0)
    for value, time_us in steps:
        pixels.see(picture(value), time_us)
    return pixels.take()


def test_rising_light_sends_on_at_each_threshold_plus_blind_time():
    events = watch(traits(), (2.0, 8192))
    # 1024 to the threshold, then 64 blind, then 1024 again from the light of that moment
    assert events["t"].tolist() == [1024, 2112, 3200, 4288, 5376, 6464, 7552]
    assert (events["p"] == 1).all()


def test_falling_light_sends_off_at_its_own_threshold():
    events = watch(traits(theta_off=0.5), (-2.0, 8192))
    assert events["t"].tolist() == [2048, 4160, 6272]
    assert (events["p"] == 0).all()


def test_same_ramp_in_four_pictures_gives_the_same_events():
    whole = watch(traits(), (2.0, 8192))
    parts = watch(traits(), (0.5, 2048), (1.0, 4096), (1.5, 6144), (2.0, 8192))
    assert (whole == parts).all()


def test_blind_time_that_outlasts_a_picture_goes_on_in_the_next():
    events = watch(traits(refractory_us=3000), (0.5, 2048), (1.0, 4096), (1.5, 6144), (2.0, 8192))
    # 1024, blind until 4024, memory of that moment, threshold 1024 later
    assert events["t"].tolist() == [1024, 5048]


def test_light_that_goes_and_comes_back_is_remembered_from_the_last_event():
    events = watch(traits(), (0.375, 1536), (0.0, 3072))
    # ON at 1024 (light 0.25), memory set at 1088 (light 0.265625); falling from 0.375 at 1536 it reaches 0.015625 at 3008
    assert events["t"].tolist() == [1024, 3008]
    assert events["p"].tolist() == [1, 0]


def test_steady_light_sends_nothing():
    assert len(watch(traits(), (0.0, 5000), (0.0, 10_000))) == 0


def test_event_on_the_last_moment_of_a_picture_is_sent_once():
    events = watch(traits(), (0.25, 1024), (0.25, 2048))
    assert events["t"].tolist() == [1024]


def test_leak_sends_on_at_its_rate():
    events = watch(traits(leak_hz=100.0), *((0.0, time_us) for time_us in range(2000, 42_000, 2000)))
    # every 10 ms, and 64 us blind after each
    np.testing.assert_allclose(events["t"], [10_000, 20_064, 30_128], atol=1)
    assert (events["p"] == 1).all()


def test_slow_photoreceptor_sends_later_and_less():
    step = [(1.0, 2000), *((1.0, time_us) for time_us in range(4000, 20_000, 2000))]
    fast, slow = (watch(traits(bandwidth_hz=bandwidth_hz), *step) for bandwidth_hz in (0.0, 30.0))
    assert len(slow) >= 1
    assert len(slow) <= len(fast)
    assert slow["t"][0] > fast["t"][0]


def test_shot_noise_is_poisson_at_its_rate():
    n = 1024
    pixels = PixelArray(traits(n, noise_hz=20.0), picture(0.0, 32, 32), np.random.default_rng(3), settled=0.0)
    for time_us in range(100_000, 1_000_001, 100_000):
        pixels.see(picture(0.0, 32, 32), time_us)
    events = pixels.take()
    # 20,480 expected, standard deviation 143; blind times lose about one in a thousand
    assert abs(len(events) - 20_480) < 5 * 143 + 41
    assert abs(events["p"].mean() - 0.5) < 0.02
    assert events["t"].min() >= 0
    assert events["t"].max() < 1_000_000


def test_noise_never_comes_while_its_pixel_is_blind():
    pixels = PixelArray(traits(noise_hz=2000.0, refractory_us=1000), picture(0.0), np.random.default_rng(4), settled=0.0)
    gathered = []
    for time_us in range(10_000, 200_001, 10_000):
        pixels.see(picture(0.0), time_us)
        gathered.append(pixels.take())
    times = np.concatenate(gathered)["t"]
    assert len(times) > 50
    assert np.diff(times).min() >= 1000


def test_take_gives_each_event_once_and_empty_when_nothing_happened():
    pixels = PixelArray(traits(), picture(0.0), np.random.default_rng(0), settled=0.0)
    assert len(pixels.take()) == 0
    pixels.see(picture(0.5), 2048)
    assert len(pixels.take()) == 1
    assert len(pixels.take()) == 0


def test_coordinates_are_columns_and_rows():
    pixels = PixelArray(traits(12), picture(0.0, 3, 4), np.random.default_rng(0), settled=0.0)
    after = picture(0.0, 3, 4)
    after[2, 1] = 0.3
    pixels.see(after, 2000)
    events = pixels.take()
    assert (events["x"].tolist(), events["y"].tolist()) == ([1], [2])


def test_drawn_pixels_differ_and_dark_ones_are_noisier():
    size = SensorSize(64, 64)
    bright, dark = (draw_traits(np.random.default_rng(9), size, picture(value, 64, 64)) for value in (0.9, 0.05))
    assert 0.02 < bright.theta_on.std() < 0.04
    assert bright.refractory_us.min() >= 500
    assert np.median(dark.noise_hz) > np.median(bright.noise_hz)
    assert dark.theta_on == pytest.approx(bright.theta_on)
