import numpy as np
import pytest
from builders import SENSOR, random_events

from pipeline.schema.errors import UsageError
from pipeline.schema.events import empty_events
from pipeline.sinks.recorder import FLUSH_NS, Recorder, Schedule, check_label, numbered_path
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording


def read(path):
    with open_recording(path) as source:
        return np.concatenate([empty_events(), *source.packets()])


class Bench:
    """A recorder into a folder, its clock in the hand of the test."""

    def __init__(self, folder, schedule):
        self.now_ns, self.clips = 0, []
        self.recorder = Recorder(
            lambda i: (folder / f"{i}.aedat4", open_sink(folder / f"{i}.aedat4", SENSOR)),
            schedule,
            self.clips.append,
            lambda: self.now_ns,
        )


EVENTS = random_events(4000, duration_us=4_000_000)


@pytest.mark.parametrize("packet", [1, 7, 500, 4000])
def test_clips_are_cut_by_sensor_time_whatever_the_packets(tmp_path, packet):
    bench = Bench(tmp_path, Schedule(2, 1_000_000, 500_000))
    with bench.recorder as recorder:
        for at in range(0, EVENTS.size, packet):
            if not recorder.take(EVENTS[at : at + packet]):
                break
    t = EVENTS["t"] - EVENTS["t"][0]
    assert np.array_equal(read(tmp_path / "0.aedat4"), EVENTS[t < 1_000_000])
    assert np.array_equal(read(tmp_path / "1.aedat4"), EVENTS[(t >= 1_500_000) & (t < 2_500_000)])
    assert [clip.n_events for clip in bench.clips] == [np.sum(t < 1_000_000), np.sum((t >= 1_500_000) & (t < 2_500_000))]
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_pause_no_event_between_clips_is_lost(tmp_path):
    with Bench(tmp_path, Schedule(3, 1_000_000, 0)).recorder as recorder:
        recorder.take(EVENTS)
    found = np.concatenate([read(tmp_path / f"{i}.aedat4") for i in range(3)])
    assert np.array_equal(found, EVENTS[EVENTS["t"] < EVENTS["t"][0] + 3_000_000])


def test_events_wait_in_memory_no_longer_than_the_flush_interval(tmp_path):
    bench = Bench(tmp_path, Schedule())
    with bench.recorder as recorder:
        recorder.take(EVENTS[:10])  # the first call always flushes
        recorder.take(EVENTS[10:20])
        assert read(tmp_path / "0.aedat4").size == 10
        bench.now_ns = FLUSH_NS
        recorder.take(empty_events())
        assert read(tmp_path / "0.aedat4").size == 20


def test_leaving_in_the_middle_closes_the_clip_under_way_and_leaves_no_empty_one(tmp_path):
    bench = Bench(tmp_path, Schedule(5, 1_000_000, 1_000_000))
    with bench.recorder as recorder:
        recorder.take(EVENTS[EVENTS["t"] < EVENTS["t"][0] + 1_500_000])
        assert recorder.n_clips_done == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0.aedat4"]
    assert len(bench.clips) == 1


def test_a_clip_ended_by_the_host_begins_the_next_after_the_pause(tmp_path):
    bench = Bench(tmp_path, Schedule(2, 1_000_000, 1_000_000))
    with bench.recorder as recorder:
        recorder.take(EVENTS[:3])
        recorder.end_clip()
        recorder.take(EVENTS[3:])
    second = read(tmp_path / "1.aedat4")
    assert second["t"][0] >= EVENTS["t"][0] + 2_000_000
    assert second["t"][-1] < EVENTS["t"][0] + 3_000_000


@pytest.mark.parametrize("wrong", [(0, 1, 0), (2, None, 0), (1, 0, 0), (1, 1, -1)])
def test_schedules_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UsageError):
        Schedule(*wrong)


@pytest.mark.parametrize("label", ["", "../x", "a/b", ".hidden", "x" * 65, "wave ", "a\\b", "end."])
def test_labels_that_are_no_folder_names_are_refused(label):
    with pytest.raises(UsageError):
        check_label(label)


def test_labels_may_have_spaces_and_letters_of_all_languages():
    assert check_label("Grüße 2") == "Grüße 2"


def test_numbers_go_on_after_the_highest_of_any_ending(tmp_path):
    for name in ("wave-001.aedat4", "wave-007.raw", "wave-x.raw", "wavy-009.raw"):
        (tmp_path / name).touch()
    assert numbered_path(tmp_path, "wave", ".aedat4") == tmp_path / "wave-008.aedat4"
    assert numbered_path(tmp_path / "none", "wave", ".raw").name == "wave-001.raw"
