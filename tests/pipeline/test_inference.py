from contextlib import closing

import numpy as np
import pytest
from inference_bench import Bench

from pipeline.codec import pack, unpack
from pipeline.decision import DecisionSettings
from pipeline.fakes import CannedRecogniser
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.events import SensorSize
from pipeline.schema.messages import FrameHead, Hello, PreviewHead, Request, Status
from pipeline.seat import Loaded


def test_every_frame_becomes_a_label():
    with closing(Bench()) as bench:
        for seq in range(6):
            bench.send_frame(seq, column=31)
        labels = [label for label, _ in bench.received("label")]
    assert [label.seq for label in labels] == list(range(6))
    # the canned recogniser has seen its window after four bins; the label is stable one bin later
    assert [label.label for label in labels] == ["nothing"] * 3 + ["right"] * 3
    assert [label.stable for label in labels] == [False, True, True, False, True, True]
    last = labels[-1]
    assert (last.index, last.confidence, last.top[0]) == (2, 0.9, ("right", 0.9))
    assert (last.start_us, last.end_us, last.n_events, last.n_dropped, last.sops) == (50_000, 60_000, 100, 1, 100)
    assert last.network == "canned@0"
    latency = last.latency_ms
    assert 0 < latency.queue <= latency.queue + latency.infer <= latency.total + 0.002


def test_a_gap_is_told_and_resets_the_recogniser():
    with closing(Bench()) as bench:
        bench.send_frame(0)
        bench.send_frame(4)
        ((gap, _),) = bench.received("gap")
        assert (gap.topic, gap.after_seq, gap.n_lost) == ("frame/cam0", 0, 3)
        assert bench.recogniser.n_resets == 1


def test_time_that_breaks_off_resets_the_recogniser_without_a_gap():
    with closing(Bench()) as bench:
        bench.send_frame(0)
        bench.send_frame(1, start_us=500_000)
        assert bench.received("gap") == []
        assert bench.recogniser.n_resets == 1


def test_frames_are_asked_for_once_the_owner_listens_to_labels():
    with closing(Bench(topics=[b"status/"])) as bench:
        assert b"frame/" not in bench.upstream.topics
        bench.inlet.subscribe(b"label/")
        bench.step()
        assert b"frame/" in bench.upstream.topics


def test_pictures_are_asked_for_and_passed_on_only_while_somebody_wants_them():
    with closing(Bench()) as bench:
        assert b"preview/" not in bench.upstream.topics
        bench.inlet.subscribe(b"preview/cam0")
        bench.step()
        assert b"preview/" in bench.upstream.topics
        bench.capture.send(pack(PreviewHead("cam0", 0, 0, 1, 3, 2, 3, 2), np.zeros((2, 2, 3), np.uint8)))
        bench.step()
        assert len(bench.received("preview")) == 1
        bench.inlet.unsubscribe(b"preview/cam0")
        bench.step()
        assert b"preview/" not in bench.upstream.topics


def test_meter_is_sent_only_while_somebody_wants_it():
    with closing(Bench()) as bench:
        bench.send_frame(0)
        assert bench.received("meter") == []
        bench.inlet.subscribe(b"meter/")
        bench.send_frame(1)
        ((meter, raster),) = bench.received("meter")
    assert meter.event_rate_hz == 10_000
    assert (meter.power_w, meter.power_sensor) == (None, "not available")
    assert raster.shape == (16,)
    assert meter.latency_ms.send == 1.0


def test_the_end_of_capture_is_the_end_of_the_stream_after_the_last_label():
    with closing(Bench()) as bench:
        bench.send_frame(0)
        bench.capture.send(pack(Status("cam0", "capture", "ended", 1, text="cut short", exit_code=4)))
        bench.step()
        kinds = [
            (message.type, getattr(message, "process", ""), getattr(message, "state", "")) for message, _ in bench.received()
        ]
    assert kinds[-2:] == [("status", "capture", "ended"), ("status", "inference", "ended")]
    assert kinds.index(("label", "", "")) < len(kinds) - 2


def test_the_hello_knows_source_and_network():
    with closing(Bench()) as bench:
        hello, _ = unpack(bench.bus.connect([b"hello/"]).receive(0))
    assert (hello.source, hello.network, hello.classes) == ("cam0", "canned@0", ["left", "middle", "right"])
    assert (hello.sensor_width, hello.frame_width, hello.delta_t_us, hello.n_time_bins) == (32, 32, 10_000, 4)
    assert hello.control.startswith("inproc://")


def test_hostile_bytes_are_counted_and_survived():
    with closing(Bench()) as bench:
        for parts in ([b"frame/cam0"], [b"frame/cam0", b"\xff", b""], [b"status/", b"{}"], [b"hello/x", b"\0" * 99]):
            bench.capture.send(parts)
        bench.step(4)
        bench.send_frame(0)
        assert len(bench.received("label")) == 1
        bench.service.fail(ConfigurationError("over"))
        assert bench.received("status")[-1][0].n_bad_messages == 4


def test_a_frame_of_another_size_is_a_configuration_error():
    with closing(Bench()) as bench:
        head = FrameHead("cam0", 0, 0, 10, 0, 0, 3, 2, 1, 1)
        bench.capture.send(pack(head, np.zeros((2, 2, 3), np.uint8)))
        with pytest.raises(ConfigurationError, match="frame"):
            bench.step()


def test_reset_and_describe_are_answered_here_and_the_rest_passed_on():
    with closing(Bench()) as bench:
        assert bench.service.answer(Request("reset")).ok
        assert bench.recogniser.n_resets == 1
        assert '"canned@0"' in bench.service.answer(Request("describe")).text


def canned(**options):
    return Loaded(CannedRecogniser(("a", "b"), **options), DecisionSettings(hold_bins=1))


def test_another_network_is_announced_before_its_first_label():
    with closing(Bench((b"hello/", b"label/"), load=lambda _: canned(n_time_bins=1))) as bench:
        bench.send_frame(0, column=31)
        bench.received()
        later = bench.service.answer(Request("network", name="other"))
        bench.send_frame(1, column=31)
        (hello, _), (label, _) = bench.received()
        assert later().ok
    assert (hello.classes, hello.n_time_bins, hello.source, hello.sensor_width) == (["a", "b"], 1, "cam0", 32)
    assert (label.seq, label.label, label.top[0]) == (1, "b", ("b", 0.9))


def test_frames_under_way_are_still_judged_by_the_network_they_were_made_for():
    others = {"frame_size": SensorSize(8, 6), "delta_t_us": 10_000, "n_time_bins": 1}
    with closing(Bench((b"hello/", b"label/", b"wish/"), load=lambda _: canned(**others))) as bench:
        bench.received()
        later = bench.service.answer(Request("network", name="other"))
        bench.send_frame(0)
        bench.send_frame(1)
        found = [message for message, _ in bench.received()]
        assert [message.type for message in found] == ["wish", "label", "label"]
        assert (found[0].delta_t_us, found[0].frame_width, found[0].frame_height) == (10_000, 8, 6)
        assert len(found[1].top) == 3
        assert later() is None
        bench.send_frame(2, column=7, shape=(6, 8))
        hello, label = (message for message, _ in bench.received())
    assert later().ok
    assert (hello.frame_width, hello.frame_height, hello.classes) == (8, 6, ["a", "b"])
    assert (label.seq, label.label) == (2, "b")


def test_a_network_takes_over_while_the_stream_is_held_once_capture_has_changed():
    others = {"frame_size": SensorSize(8, 6), "delta_t_us": 20_000}
    with closing(Bench((b"hello/", b"status/"), load=lambda _: canned(**others))) as bench:
        bench.inlet.subscribe(b"wish/")
        later = bench.service.answer(Request("network", name="other"))
        bench.step()
        assert len(bench.received("wish")) == 1
        bench.capture.send(pack(Hello("cam0", "", [], 20_000, 0, "ipc:///c", 32, 24, 8, 6)))
        bench.step(2)
        found = [message for message, _ in bench.received()]
    assert later().ok
    assert [message.delta_t_us for message in found if message.type == "hello"][-1] == 20_000
    texts = [message.text for message in found if message.type == "status"]
    assert texts == ["network canned@0 has taken over, from rest"]
