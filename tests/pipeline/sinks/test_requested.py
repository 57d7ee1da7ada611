import resource
from contextlib import contextmanager

import numpy as np
import pytest
from builders import SENSOR, random_events

from pipeline.schema.clock import NS_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.events import empty_events
from pipeline.schema.messages import Request
from pipeline.sinks.requested import MAX_SECONDS, RequestedRecordings, allow_recordings, reserve
from pipeline.sources.base import SourceInfo
from pipeline.sources.registry import open_recording

EVENTS = random_events(4000, duration_us=4_000_000)


def read(path):
    with open_recording(path) as source:
        return np.concatenate([empty_events(), *source.packets()])


class Bench:
    """Recordings below a folder, the host's clock in the hand of the test."""

    def __init__(self, folder, *, is_live=False):
        self.now_ns = 0
        self.recordings = RequestedRecordings(folder, SENSOR, is_live=is_live, clock=lambda: self.now_ns)

    def ask(self, value=1.0, path="take", name=""):
        return self.recordings.answer(Request("record", value, name=name, path=path))

    def feed(self, events=EVENTS, packet=100):
        for at in range(0, events.size, packet):
            piece = events[at : at + packet]
            self.recordings.take(piece, int(piece["t"][0]))


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.recordings.end("the test is over")


def test_what_is_drawn_after_the_request_is_written_for_as_long_as_was_asked(bench, tmp_path):
    bench.feed(EVENTS[:300])
    assert (bench.ask(2.0).text, bench.recordings.report.state) == ("take.aedat4", "running")
    bench.feed(EVENTS[300:])
    t = EVENTS["t"]
    wanted = EVENTS[(t >= t[300]) & (t < t[300] + 2_000_000)]
    assert np.array_equal(read(tmp_path / "take.aedat4"), wanted)
    report = bench.recordings.report
    assert (report.state, report.n_events, report.text) == ("ended", wanted.size, "")
    assert (report.first_us, report.last_us) == (wanted["t"][0], wanted["t"][-1])


def test_the_report_follows_a_recording_under_way(bench, tmp_path):
    assert bench.recordings.report is None
    bench.ask(3.0)
    bench.feed(EVENTS[:100])
    assert (bench.recordings.report.state, bench.recordings.report.n_events) == ("running", 100)


def test_clips_of_a_label_are_numbered_on_in_a_folder_of_their_own(bench, tmp_path):
    for number in (1, 2):
        assert bench.ask(0.5, path="mine", name="wave").text == f"mine/wave/wave-00{number}.aedat4"
        bench.feed()
    assert bench.ask(0.5, path="", name="wave").text == "wave/wave-001.aedat4"


def test_a_second_recording_is_refused_until_the_first_is_ended_by_request(bench, tmp_path):
    bench.ask(3.0, "first.raw")
    bench.feed(EVENTS[:200])
    assert "first.raw is being recorded" in bench.ask(1.0, "second").text
    assert bench.ask(0.0).ok
    assert bench.recordings.report.text == "as was asked for"
    assert np.array_equal(read(tmp_path / "first.raw"), EVENTS[:200])
    assert not bench.ask(0.0).ok
    assert bench.ask(1.0, "second").ok


@pytest.mark.parametrize("value", [None, -1.0, float("nan"), MAX_SECONDS + 1])
def test_a_recording_without_a_length_that_can_be_kept_is_refused(tmp_path, value):
    assert not Bench(tmp_path).ask(value).ok
    assert list(tmp_path.iterdir()) == []


PATHS = [
    "",
    ".",
    "..",
    "../out",
    "a/../../out",
    "/etc/out",
    "a//b",
    "a/",
    ".hidden",
    "a\\b",
    "C:x",
    "a\0b",
    "~/x",
    "a/b/c/d/e",
    "x" * 65,
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    folder = tmp_path / "in"
    folder.mkdir()
    reply = Bench(folder).ask(1.0, path)
    assert (reply.ok, "is no path of a recording" in reply.text) == (False, True)
    assert [*tmp_path.rglob("*")] == [folder]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/x"])
def test_no_label_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    assert not Bench(folder).ask(1.0, "", name).ok
    assert [*tmp_path.rglob("*")] == [folder]


def test_links_inside_the_folder_do_not_lead_out_of_it(tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (folder / "way").symlink_to(outside)
    (folder / "file.aedat4").symlink_to(outside / "new.aedat4")
    bench = Bench(folder)
    assert "leads out" in bench.ask(1.0, "way/take").text
    assert "leads out" in bench.ask(1.0, "way", "wave").text
    assert "exists" in bench.ask(1.0, "file").text
    assert [*outside.iterdir()] == []


def test_nothing_is_overwritten(bench, tmp_path):
    (tmp_path / "take.aedat4").write_bytes(b"mine")
    (tmp_path / "file").touch()
    assert "exists" in bench.ask(1.0, "take").text
    assert "folder should" in bench.ask(1.0, "file/take").text
    assert (tmp_path / "take.aedat4").read_bytes() == b"mine"


def test_without_a_folder_nobody_may_record_and_the_way_out_is_named():
    assert "--record-to" in Bench(None).ask().text


def test_a_format_that_cannot_hold_the_sensor_leaves_no_file(tmp_path):
    wide = SENSOR._replace(width=4000)
    reply = RequestedRecordings(tmp_path, wide, is_live=False).answer(Request("record", 1.0, path="take.aedat2"))
    assert not reply.ok
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(n_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_ends_the_recording_and_not_the_stream(bench, tmp_path):
    with files_of_at_most(4000):
        bench.ask(4.0, "take.raw")
        bench.feed()
        bench.feed()
    report = bench.recordings.report
    assert (report.state, "cannot be written" in report.text) == ("failed", True)
    found = read(tmp_path / "take.raw")
    assert 0 < found.size < EVENTS.size
    assert np.array_equal(found, EVENTS[: found.size])
    assert bench.ask(1.0, "next").ok


def test_a_disk_that_is_nearly_full_is_left_alone(bench, tmp_path, monkeypatch):
    free = [10**10]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free[0]}))
    bench.ask(4.0)
    free[0] = 10**8
    bench.now_ns += NS_PER_S
    bench.feed(EVENTS[:100])
    assert (bench.recordings.report.state, "the disk is full" in bench.recordings.report.text) == ("failed", True)
    assert "the disk is full" in bench.ask(1.0, "next").text


def test_a_silent_camera_is_recorded_until_the_hosts_clock_says_so(tmp_path):
    bench = Bench(tmp_path, is_live=True)
    bench.ask(2.0)
    for second, state in ((1, "running"), (3, "running"), (4, "ended")):
        bench.now_ns = second * NS_PER_S
        bench.recordings.take(empty_events(), 0)
        assert bench.recordings.report.state == state
    assert read(tmp_path / "take.aedat4").size == 0


def test_a_quiet_stretch_of_a_recording_ends_by_its_own_time(bench, tmp_path):
    bench.ask(1.0)
    bench.feed(EVENTS[:10])
    bench.now_ns = 100 * NS_PER_S
    bench.recordings.take(empty_events(), int(EVENTS["t"][0]) + 999_999)
    assert bench.recordings.report.state == "running"
    bench.recordings.take(empty_events(), int(EVENTS["t"][0]) + 1_000_000)
    assert bench.recordings.report.state == "ended"


def test_the_folder_is_made_where_it_is_missing_and_must_be_one(tmp_path):
    info = SourceInfo("cam0", "npz", "", SENSOR)
    allow_recordings(str(tmp_path / "a" / "b"), info)
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--record-to"):
        allow_recordings(str(tmp_path / "file"), info)


def test_a_reserved_place_is_free_once_only(tmp_path):
    assert reserve(tmp_path, "a/b.raw", "") == tmp_path / "a" / "b.raw"
    with pytest.raises(UsageError, match=r"a/b\.raw exists"):
        reserve(tmp_path, "a/b.raw", "")
