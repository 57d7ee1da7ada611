from builders import random_events

from pipeline.preview import PreviewBuilder
from pipeline.schema.events import SensorSize, empty_events, make_events


def test_a_small_sensor_keeps_its_pixels():
    builder = PreviewBuilder(SensorSize(4, 3))
    builder.add(make_events([0, 1, 2], [3, 3, 0], [2, 2, 0], [1, 1, 0]))
    picture = builder.take()
    assert picture.shape == (2, 3, 4)
    assert picture[1, 2, 3] == 2
    assert picture[0, 0, 0] == 1
    assert picture.sum() == 3


def test_a_large_sensor_is_reduced_by_a_whole_factor():
    builder = PreviewBuilder(SensorSize(1280, 720))
    builder.add(make_events([0, 1], [1279, 1276], [719, 716], [0, 0]))
    assert builder.size == SensorSize(320, 180)
    assert builder.take()[0, 179, 319] == 2


def test_taking_a_picture_starts_anew():
    builder = PreviewBuilder(SensorSize(32, 24))
    builder.add(random_events())
    builder.take()
    builder.add(empty_events())
    assert builder.take().sum() == 0


def test_counts_saturate():
    builder = PreviewBuilder(SensorSize(1, 1))
    builder.add(make_events(range(300), [0] * 300, [0] * 300, [1] * 300))
    assert builder.take()[1, 0, 0] == 255
