import pytest

from app.config import RecogniserSection, Settings, SourceSection
from app.streaming import Plan, code_of_end, is_end, make_jobs, make_settings, parse_speed
from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.messages import Status


@pytest.mark.parametrize(("text", "factor"), [("1", 1.0), (0.5, 0.5), ("2x", 2.0), ("MAX", 0.0), (" 10 ", 10.0)])
def test_speeds_are_factors_or_max(text, factor):
    assert parse_speed(text) == factor


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1e9", "fast", ""])
def test_what_is_no_speed_is_refused_by_name(text):
    with pytest.raises(UsageError, match=f"speed '{text}'"):
        parse_speed(text)


def test_settings_become_the_jobs_of_two_workers():
    source = SourceSection(uri="a.aedat4", speed="max", loop=True, start="1.5s", end="2s")
    jobs = make_jobs(Plan(Settings(source, RecogniserSection(hold="50ms"))), "/tmp/x")
    assert list(jobs) == ["inference", "capture"]
    capture, inference = jobs["capture"].capture, jobs["inference"].inference
    assert (capture.uri, capture.speed, capture.is_looped) == ("a.aedat4", 0, True)
    assert (capture.start_us, capture.end_us) == (1_500_000, 2_000_000)
    assert (inference.network, inference.hold_us, inference.is_lossless) == ("default", 50_000, True)


def test_a_window_is_a_third_worker_and_may_lose_what_it_cannot_show():
    jobs = make_jobs(Plan(Settings(SourceSection(uri="a")), is_windowed=True, title="A"), "/tmp/x")
    assert not jobs["inference"].inference.is_lossless
    assert (jobs["window"].window.url, jobs["window"].window.title) == ("ipc:///tmp/x/labels", "A")


def test_a_wrong_value_of_a_flag_is_refused_by_name():
    with pytest.raises(UsageError, match="readout"):
        make_settings({"recogniser": {"readout": "both"}})


def test_a_stream_ends_with_inference_and_not_with_capture():
    assert not is_end(Status("a", "capture", "ended", 1))
    ended = Status("a", "inference", "ended", 1, exit_code=4)
    assert is_end(ended)
    assert code_of_end(ended) == 4


def test_a_stream_that_failed_raises_its_sentence_with_its_code():
    with pytest.raises(SaccadeError, match="unplugged") as caught:
        code_of_end(Status("a", "inference", "failed", 1, text="unplugged", exit_code=5))
    assert caught.value.exit_code == 5
