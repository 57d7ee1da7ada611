from dataclasses import fields

import msgspec
import numpy as np
import pytest
from builders import random_events

from app.config import Settings, SourceSection, load_settings, reading_of
from app.jobs import CaptureJob, Places
from app.reading import AS_IT_IS, Reading, Span, find_first_event_us, open_part
from pipeline.schema.errors import UsageError
from pipeline.sources.registry import SourceOptions

EVENTS = random_events(300, duration_us=100_000)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "made.npz"
    np.savez(path, t=EVENTS["t"], x=EVENTS["x"], y=EVENTS["y"], p=EVENTS["p"], width=32, height=24)
    return path


def read(source):
    return np.concatenate(list(source.packets()))


def test_filters_see_only_the_wanted_part(recording):
    with open_part(recording, Reading(filter=("polarity=on",)), Span("20ms", "50ms")) as source:
        t = EVENTS["t"] - EVENTS["t"][0]
        assert np.array_equal(read(source), EVENTS[(t >= 20_000) & (t < 50_000) & (EVENTS["p"] == 1)])
        assert source.n_bytes == recording.stat().st_size


def test_the_first_event_is_that_of_the_recording_whatever_the_filters_keep(recording):
    reading = Reading(filter=("roi=0,0,1x1",))
    assert find_first_event_us(recording, reading) == EVENTS["t"][0]


def test_filters_that_do_not_fit_the_sensor_are_refused(recording):
    with pytest.raises(UsageError):
        open_part(recording, Reading(filter=("roi=0,0,64x64",)))


@pytest.mark.parametrize("span", [Span("2s", "1s"), Span(end="0s"), Span("-1s"), Span("soon")])
def test_spans_that_cannot_be_meant_are_refused(span):
    with pytest.raises(UsageError):
        span.bounds_us()


def test_every_option_of_the_readers_can_be_given_but_the_name():
    given = Reading("gen41", 3, "jaer", "text", "t,x,y,p", "/events", ("polarity=on",)).options()
    assert set(given) == set(SourceOptions.__annotations__) - {"name"}
    assert None not in given.values()
    assert set(AS_IT_IS.options().values()) == {None}


def test_a_reading_travels_to_a_worker_as_json():
    job = CaptureJob(Places("/x"), "a.raw", reading=Reading(chip="gen41", filter=("roi=1,2,3x4", "background=2ms")))
    assert msgspec.json.decode(msgspec.json.encode(job), type=CaptureJob) == job


def test_a_configuration_file_says_how_to_read(tmp_path):
    path = tmp_path / "saccade.toml"
    path.write_text('[source]\nuri = "a.csv"\ncolumns = "t_s,x,y,p"\nfilter = ["background=2ms"]\n')
    assert reading_of(load_settings(path).source) == Reading(columns="t_s,x,y,p", filter=("background=2ms",))
    assert reading_of(Settings().source) == AS_IT_IS
    # one name for a flag and for its key
    assert {field.name for field in fields(Reading)} <= set(SourceSection.__struct_fields__)
