"""Choosing a writer."""

from pathlib import Path

import pytest
from builders import SENSOR

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import choose_format, open_sink


def test_ending_tells_the_format_and_the_option_wins() -> None:
    endings = {"a.aedat": "aedat3", "a.AEDAT2": "aedat2", "a.aedat3": "aedat3", "a.aedat4": "aedat4"}
    assert {name: choose_format(Path(name)) for name in endings} == endings
    assert choose_format(Path("a.aedat4"), "aedat2") == "aedat2"


@pytest.mark.parametrize(("name", "wanted"), [("a.xyz", None), ("a", None), ("a.aedat", "evt9")])
def test_unknown_formats_are_refused_with_the_known_ones(name: str, wanted: str | None) -> None:
    with pytest.raises(UsageError, match="--format"):
        choose_format(Path(name), wanted)


def test_compression_is_for_aedat4_only(tmp_path: Path) -> None:
    for name, compression in (("a.aedat", "lz4"), ("a.aedat4", "brotli")):
        with pytest.raises(UsageError, match="--compression"):
            open_sink(tmp_path / name, SENSOR, compression=compression)


def test_folder_that_does_not_exist_and_sensor_without_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        open_sink(tmp_path / "none" / "a.aedat4", SENSOR)
    with pytest.raises(UsageError, match="size of the sensor"):
        open_sink(tmp_path / "a.aedat4", SensorSize(0, 0))


def test_event_outside_the_sensor_or_back_in_time_is_our_own_mistake(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(make_events([10], [0], [0], [0]))
        with pytest.raises(AssertionError, match="outside"):
            sink.write(make_events([20], [SENSOR.width], [0], [0]))
        with pytest.raises(AssertionError, match="back"):
            sink.write(make_events([9], [0], [0], [0]))
