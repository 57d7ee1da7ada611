from contextlib import closing

import numpy as np
from builders import SENSOR, random_events

from pipeline.binning import TimeBinner
from pipeline.bus import ControlServer
from pipeline.capture import CaptureService
from pipeline.codec import pack, unpack
from pipeline.fakes import ListSource, ManualClock, MemoryBus
from pipeline.filters import parse_filters
from pipeline.schema.errors import InputError
from pipeline.schema.events import SensorSize, make_events
from pipeline.schema.messages import Hello, Request, Wish
from pipeline.sinks.requested import RequestedRecordings
from pipeline.sources.registry import open_recording
from pipeline.sources.replay import ReplaySettings, ReplaySource

FRAME_SIZE = SensorSize(8, 6)
WANTED = Hello("", "canned@0", ["a"], 10_000, 4, "", frame_width=8, frame_height=6)


def make_binner(sensor_size, wanted):
    return TimeBinner(sensor_size, SensorSize(wanted.frame_width, wanted.frame_height), wanted.delta_t_us)


class Bench:
    """A capture service on a bus in memory, with inference played by the test."""

    def __init__(self, source, topics=(b"frame/", b"status/"), filters=None, recordings=None):
        self.bus, self.labels = MemoryBus(10_000), MemoryBus()
        self.inlet = self.bus.connect(topics)
        hellos = self.labels.connect([b"hello/", b"wish/"])
        control = ControlServer([f"inproc://{id(self)}"])
        self.service = CaptureService(source, self.bus, hellos, control, make_binner, filters, recordings)

    def want_frames(self):
        self.labels.greet_with(pack(WANTED))

    def step(self, n=1):
        for _ in range(n):
            assert self.service.step()

    def received(self):
        found = []
        while (parts := self.inlet.receive(0)) is not None:
            found.append(unpack(parts))
        return found

    def run(self):
        """Step to the end of the recording; frames and statuses."""
        self.want_frames()
        found = []
        for _ in range(1000):
            self.step()
            found += self.received()
            if any(message.type == "status" and message.state == "ended" for message, _ in found):
                return found
        raise AssertionError("the recording does not end")

    def close(self):
        self.service.close()


def frames_of(found):
    return [(message, counts) for message, counts in found if message.type == "frame"]


def test_every_event_reaches_a_frame_in_order():
    events = random_events(500)
    with closing(Bench(ListSource([events[:77], events[77:]], SENSOR, name="cam0"))) as bench:
        frames = frames_of(bench.run())
    assert [head.seq for head, _ in frames] == list(range(10))
    assert sum(head.n_events for head, _ in frames) == 500
    assert sum(int(counts.sum()) for _, counts in frames) == 500
    assert all(head.closed_ns <= head.sent_ns for head, _ in frames)


def test_nothing_is_drawn_before_inference_has_said_what_it_wants():
    with closing(Bench(ListSource([random_events()], SENSOR))) as bench:
        bench.step(3)
        assert frames_of(bench.received()) == []
        bench.want_frames()
        bench.step(3)
        assert frames_of(bench.received())


def test_nothing_is_drawn_before_somebody_subscribes_to_frames():
    with closing(Bench(ListSource([random_events()], SENSOR, name="cam0"), topics=[b"status/"])) as bench:
        bench.want_frames()
        bench.step(5)
        bench.inlet.subscribe(b"frame/")
        bench.step(5)
        assert len(frames_of(bench.received())) > 0


def test_the_hello_names_source_sensor_and_control():
    with closing(Bench(ListSource([random_events()], SENSOR, name="cam0"))) as bench:
        hello, _ = unpack(bench.bus.connect([b"hello/"]).receive(0))
        assert (hello.source, hello.sensor_width, hello.sensor_height) == ("cam0", 32, 24)
        assert hello.control.startswith("inproc://")


def test_the_end_is_told_after_the_last_frame_with_what_was_lost():
    with closing(Bench(ListSource([random_events()], SENSOR, is_truncated=True))) as bench:
        found = bench.run()
    ended = found[-1][0]
    assert (ended.state, ended.exit_code, ended.text) == ("ended", 4, "the end is missing")


def test_an_error_is_told():
    with closing(Bench(ListSource([random_events()], SENSOR))) as bench:
        bench.service.fail(InputError("gone"))
        status = bench.received()[-1][0]
        assert (status.state, status.text, status.exit_code) == ("failed", "gone", 3)


def test_events_and_pictures_are_sent_only_while_somebody_subscribes():
    events = random_events(300)
    with closing(Bench(ListSource([events[:100], events[100:200], events[200:]], SENSOR, name="cam0"))) as bench:
        bench.want_frames()
        bench.step(2)
        assert {message.type for message, _ in bench.received()} <= {"frame", "status"}
        bench.inlet.subscribe(b"events/")
        bench.inlet.subscribe(b"preview/")
        bench.step()
        found = bench.received()
    sent = [array for message, array in found if message.type == "events"]
    assert np.array_equal(np.concatenate(sent), events[100:200])
    pictures = [array for message, array in found if message.type == "preview"]
    assert [picture.sum() for picture in pictures] == [100]


def test_filters_come_before_everything():
    events = make_events([0, 1, 2], [0, 31, 1], [0, 0, 0], [1, 1, 0])
    with closing(Bench(ListSource([events], SENSOR), filters=parse_filters(["flip-x", "polarity=on"]))) as bench:
        ((head, counts),) = frames_of(bench.run())
    assert head.n_events == 2
    assert counts[1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


def replay_of(events, **settings):
    clock = ManualClock()
    source = ListSource([events], SENSOR, name="cam0")
    return ReplaySource(lambda: source, ReplaySettings(**settings), clock=clock, wait=clock.wait)


def test_quiet_stretches_are_frames_too_at_their_time():
    events = make_events([0, 95_000], [0, 0], [0, 0], [1, 1])
    with closing(Bench(replay_of(events))) as bench:
        frames = frames_of(bench.run())
    assert [head.n_events for head, _ in frames] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_after_the_end_a_seek_revives_the_recording_and_numbers_run_on():
    with closing(Bench(replay_of(random_events(), speed=0))) as bench:
        frames = frames_of(bench.run())
        assert bench.service.answer(Request("seek", 0.0)).ok
        bench.step(2)
        assert bench.received()[0][0].state == "ended"
        again = frames_of(bench.run())
    assert [head.seq for head, _ in again] == list(range(len(frames), 2 * len(frames)))
    assert [head.start_us for head, _ in again] == [head.start_us for head, _ in frames]


def test_filters_remember_nothing_of_what_was_before_a_seek():
    filters = parse_filters(["refractory=1s", "rate=5k"])
    with closing(Bench(replay_of(random_events(), speed=0), filters=filters)) as bench:
        frames = frames_of(bench.run())
        assert bench.service.answer(Request("seek", 0.0)).ok
        bench.step(2)
        bench.received()
        again = frames_of(bench.run())
    assert [head.n_events for head, _ in again] == [head.n_events for head, _ in frames]
    assert 0 < sum(head.n_events for head, _ in frames) < 200


def test_stop_ends_the_stream_before_the_recording_does():
    with closing(Bench(replay_of(random_events(), is_looped=True))) as bench:
        bench.want_frames()
        bench.step(3)
        assert bench.service.answer(Request("stop")).ok
        bench.step()
        assert bench.received()[-1][0].state == "ended"


def test_a_pause_is_told_and_holds_the_frames():
    events = random_events()
    with closing(Bench(replay_of(events))) as bench:
        bench.want_frames()
        bench.step(3)
        assert bench.service.answer(Request("pause")).ok
        bench.step(2)
        assert bench.received()[-1][0].state == "paused"
        bench.step(20)
        assert frames_of(bench.received()) == []
        assert bench.service.answer(Request("resume")).ok
        assert bench.service.answer(Request("loop", 1.0)).ok
        bench.step(5)
        last = [message for message, _ in bench.received() if message.type == "status"][-1]
        assert (last.state, last.is_looped, last.is_live, last.first_us) == ("running", True, False, events["t"][0])


def test_requests_that_make_no_sense_are_answered_with_the_reason():
    with closing(Bench(replay_of(random_events()))) as bench:
        assert bench.service.answer(Request("speed", -1.0)).text.startswith("speed -1 is out of range")
    with closing(Bench(ListSource([random_events()], SENSOR, name="cam0"))) as bench:
        assert "live" in bench.service.answer(Request("pause")).text


def recorded(bench):
    """The recordings that statuses tell of, one after another."""
    return [message.recording for message, _ in bench.received() if message.type == "status" and message.recording]


def test_a_recording_holds_what_the_camera_sent_and_not_what_filters_left(tmp_path):
    events = random_events(500)
    source = ListSource([events[:100], events[100:300], events[300:]], SENSOR, name="cam0")
    recordings = RequestedRecordings(tmp_path, SENSOR, is_live=True)
    bench = Bench(source, [b"frame/", b"status/"], parse_filters(["polarity=on"]), recordings)
    with closing(bench):
        bench.want_frames()
        bench.step(2)
        assert bench.service.answer(Request("record", 10.0, path="take")).text == "take.aedat4"
        bench.step(3)
        reports = recorded(bench)
    assert (reports[0].state, reports[-1].state, reports[-1].text) == ("running", "ended", "the stream ended")
    with open_recording(tmp_path / "take.aedat4") as source:
        assert np.array_equal(np.concatenate(list(source.packets())), events[100:])


def test_a_seek_ends_a_recording_because_time_breaks_off_there(tmp_path):
    replay = replay_of(random_events(), is_looped=True)
    with closing(Bench(replay, recordings=RequestedRecordings(tmp_path, SENSOR, is_live=False))) as bench:
        bench.want_frames()
        bench.step(3)
        assert bench.service.answer(Request("record", 10.0, path="take")).ok
        bench.step(5)
        assert bench.service.answer(Request("seek", 0.0)).ok
        bench.step(3)
        last = recorded(bench)[-1]
        assert (last.state, last.text) == ("ended", "the stream was played from elsewhere")
        assert last.n_events > 0


def test_what_has_ended_cannot_be_recorded(tmp_path):
    with closing(
        Bench(replay_of(random_events(), speed=0), recordings=RequestedRecordings(tmp_path, SENSOR, is_live=False))
    ) as bench:
        bench.run()
        assert "ended" in bench.service.answer(Request("record", 1.0, path="take")).text
    assert list(tmp_path.iterdir()) == []


def test_leaving_closes_a_recording_whole(tmp_path):
    bench = Bench(ListSource([random_events()] * 3, SENSOR), recordings=RequestedRecordings(tmp_path, SENSOR, is_live=True))
    bench.service.answer(Request("record", 10.0, path="take.raw"))
    bench.want_frames()
    bench.step(2)
    bench.close()
    with open_recording(tmp_path / "take.raw") as source:
        assert sum(len(packet) for packet in source.packets()) == 200


def test_other_bins_are_cut_from_where_they_were_wished_and_said_in_line():
    t = np.array([0, 12_000, 24_000, 31_000, 47_000, 90_000])
    packets = [make_events(t[:3], [0, 8, 16], [0, 0, 0], [1, 1, 1]), make_events(t[3:], [0, 8, 16], [0, 0, 0], [1, 1, 1])]
    with closing(Bench(ListSource(packets, SENSOR, name="cam0"), [b"frame/", b"hello/"])) as bench:
        bench.want_frames()
        bench.step(2)
        bench.labels.send(pack(Wish("cam0", 20_000, 4, 3)))
        # a hello of the network that still runs changes nothing
        bench.labels.send(pack(WANTED))
        bench.step(4)
        found = [message for message, _ in bench.received()]
    assert [message.type for message in found] == ["hello", *["frame"] * 3, "hello", *["frame"] * 3]
    assert (found[0].delta_t_us, found[0].frame_width) == (0, 0)
    told = found[4]
    assert (told.delta_t_us, told.frame_width, told.frame_height, told.sensor_width) == (20_000, 4, 3, 32)
    before, after = found[1:4], found[5:]
    assert [(head.start_us, head.end_us, head.n_events, head.width) for head in before] == [
        (0, 10_000, 1, 8),
        (10_000, 20_000, 1, 8),
        (20_000, 30_000, 1, 8),
    ]
    assert [(head.start_us, head.end_us, head.n_events, head.width) for head in after] == [
        (31_000, 51_000, 2, 4),
        (51_000, 71_000, 0, 4),
        (71_000, 91_000, 1, 4),
    ]
    assert [head.seq for head in before + after] == list(range(6))


def test_a_wish_for_the_bins_that_come_changes_nothing():
    with closing(Bench(ListSource([random_events()] * 2, SENSOR, name="cam0"), [b"hello/"])) as bench:
        bench.want_frames()
        bench.step(2)
        bench.labels.send(pack(Wish("", 10_000, 8, 6)))
        bench.step(2)
        assert [message.delta_t_us for message, _ in bench.received()] == [0]


def test_hostile_wishes_are_survived():
    with closing(Bench(ListSource([random_events()] * 4, SENSOR, name="cam0"))) as bench:
        bench.want_frames()
        for parts in (pack(Wish("cam0", 0, 8, 6)), [b"wish/cam0", b"{}"], [b"wish/cam0"]):
            bench.labels.send(parts)
            bench.step()
        bench.step(3)
        assert {head.width for head, _ in frames_of(bench.received())} == {8}
