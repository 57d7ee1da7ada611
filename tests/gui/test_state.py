import subprocess
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from gui.demo_feed import CLASSES, demo_bin, demo_hello, demo_label
from gui.snapshot import FeedReport, Snapshot
from gui.state import WindowState
from pipeline.schema.clock import NS_PER_MS, NS_PER_S
from pipeline.schema.messages import NOTHING, Gap, Label, LabelLatency, Status

URL = "tcp://127.0.0.1:5556"


def _status(state: str = "running", process: str = "capture", **values: object) -> Status:
    return msgspec.convert(
        {"source": "demo", "process": process, "state": state, "host_ns": 0, **values, "type": "status"}, Status
    )


def _after(*messages: object, now_ns: int = NS_PER_S) -> Snapshot:
    state = WindowState(URL)
    for message in messages:
        state.apply(message, None, NS_PER_S)  # type: ignore[arg-type]  # any message that has no array
    return state.snapshot(now_ns)


def _label(seq: int, **changes: object) -> Label:
    return msgspec.structs.replace(demo_label(seq), **changes)


def test_importing_the_state_loads_no_qt() -> None:
    code = "import sys, gui.state, gui.feed; sys.exit(any(name.startswith('PySide6') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_before_the_first_message_it_waits_and_shows_nothing() -> None:
    snapshot = WindowState(URL).snapshot(0)
    assert snapshot.connection.text == f"waiting for {URL}"
    assert (snapshot.picture, snapshot.answer, snapshot.raster, snapshot.cost, snapshot.numbers.losses) == (None,) * 5


def test_a_private_address_is_not_shown() -> None:
    assert WindowState("ipc:///tmp/x/labels").snapshot(0).connection.text == "waiting for the first time bin"


def test_a_hello_names_source_network_and_classes() -> None:
    origin = _after(demo_hello()).origin
    assert (origin.source, origin.network, origin.classes) == ("demo", "made-up@0", CLASSES)


def test_labels_make_it_running() -> None:
    assert _after(_status(), demo_label(0)).connection.kind == "running"


def test_two_silent_seconds_are_told() -> None:
    assert _after(demo_label(0), now_ns=3 * NS_PER_S).connection.kind == "running"
    connection = _after(demo_label(0), now_ns=3 * NS_PER_S + 1).connection
    assert (connection.kind, connection.text) == ("stale", "no message for 2 s")


def test_a_pause_and_a_start_are_told() -> None:
    assert _after(demo_label(0), _status("paused")).connection.kind == "paused"
    assert _after(_status("starting")).connection.kind == "starting"


def test_the_stream_has_ended_only_when_inference_has() -> None:
    running = _status(process="inference")
    assert _after(demo_label(0), running, _status("ended")).connection.kind == "running"
    ended = _status("ended", process="inference", text="the end is missing")
    connection = _after(demo_label(0), ended, _status("ended"), now_ns=60 * NS_PER_S).connection
    assert (connection.kind, connection.text) == ("ended", "ended: the end is missing")


def test_a_failure_outranks_an_end_and_leaves_nobody_to_ask() -> None:
    snapshot = _after(_status("ended", process="inference"), _status("failed", text="no camera"))
    assert snapshot.connection.text == "failed: no camera"
    assert snapshot.playback.obstacle


def test_a_stream_that_starts_again_is_running_again() -> None:
    before, after = _status("ended", process="inference"), _status("running", process="inference")
    assert _after(demo_label(0), before, after).connection.kind == "running"


def test_a_label_shows_once_it_is_stable() -> None:
    first, unsure = _label(0, stable=True), _label(1, label="arm_roll", index=3, stable=False)
    answer = _after(demo_hello(), first, unsure).answer
    assert answer is not None
    assert (answer.label, answer.is_settled) == (CLASSES[0], False)
    answer = _after(demo_hello(), first, unsure, _label(2, label="arm_roll", index=3, stable=True)).answer
    assert answer is not None
    assert (answer.label, answer.is_settled) == ("arm_roll", True)


def test_nothing_is_no_class() -> None:
    answer = _after(_label(0, label=NOTHING, index=-1, confidence=0.0, stable=False)).answer
    assert answer is not None
    assert (answer.label, answer.is_nothing) == (NOTHING, True)


def test_bars_keep_the_order_of_the_classes() -> None:
    answer = _after(demo_hello(), _label(0, top=[("arm_roll", 0.7), ("hand_clap", 0.2)])).answer
    assert answer is not None
    assert [(row.name, row.score, row.is_leader) for row in answer.rows] == [
        ("hand_clap", 0.2, False),
        ("left_wave", None, False),
        ("right_wave", None, False),
        ("arm_roll", 0.7, True),
        ("air_drums", None, False),
    ]


def test_of_many_classes_only_the_best_are_shown() -> None:
    names = [f"class_{k}" for k in range(100)]
    top = [(name, 0.01) for name in reversed(names)]
    hello = msgspec.structs.replace(demo_hello(), classes=names)
    answer = _after(hello, _label(0, top=top)).answer
    assert answer is not None
    assert [row.index for row in answer.rows] == list(range(99, 87, -1))


def test_a_jump_in_labels_is_counted_once_whoever_noticed() -> None:
    losses = _after(demo_label(0), demo_label(4)).numbers.losses
    assert losses is not None
    assert losses.n_labels == 3
    gap = Gap(source="demo", topic="frame", after_seq=0, n_lost=3, host_ns=0)
    losses = _after(demo_label(0), gap, _status(process="inference", n_gaps=3), demo_label(4)).numbers.losses
    assert losses is not None
    assert (losses.n_labels, losses.n_gaps) == (0, 3)


def test_seq_that_starts_again_is_no_loss() -> None:
    losses = _after(demo_label(9), demo_label(0)).numbers.losses
    assert losses is not None
    assert not losses.is_serious


def test_losses_of_all_processes_are_shown() -> None:
    capture = _status(n_dropped_frames=5, n_dropped_events=7)
    inference = _status(process="inference", n_gaps=5, n_bad_messages=1, n_dropped_events=6)
    losses = _after(capture, inference).numbers.losses
    assert losses is not None
    assert (losses.n_frames, losses.n_gaps, losses.n_events, losses.n_bad_messages) == (5, 5, 7, 1)
    assert losses.is_serious


def test_skipped_pictures_alone_are_not_serious() -> None:
    state = WindowState(URL)
    state.apply(demo_hello(), None, 0)
    state.apply_report(FeedReport(n_pictures_skipped=3))
    losses = state.snapshot(0).numbers.losses
    assert losses is not None
    assert losses.n_pictures_skipped == 3
    assert not losses.is_serious


def test_rates_and_latency_are_those_of_the_last_seconds() -> None:
    state = WindowState(URL)
    for seq in range(101):
        latency = LabelLatency(queue=0.0, infer=0.0, total=float(seq))
        state.apply(_label(seq, latency_ms=latency, n_events=50), None, seq * 10 * NS_PER_MS)
    numbers = state.snapshot(NS_PER_S).numbers
    assert numbers.bin_rate_hz == pytest.approx(100.0)
    assert numbers.event_rate_hz == pytest.approx(5000.0)
    assert (numbers.latency_p50_ms, numbers.latency_p99_ms) == (50.0, 99.0)


def test_numbers_stand_still_for_a_quarter_of_a_second() -> None:
    state = WindowState(URL)
    state.apply(demo_label(0), None, 0)
    first = state.snapshot(0).numbers
    state.apply(demo_label(1), None, 10 * NS_PER_MS)
    assert state.snapshot(249 * NS_PER_MS).numbers is first
    assert state.snapshot(250 * NS_PER_MS).numbers is not first


def test_a_meter_brings_raster_cost_and_rates() -> None:
    state = WindowState(URL)
    meter, raster = demo_bin(0)[1]
    state.apply(meter, raster, 0)
    snapshot = state.snapshot(0)
    assert snapshot.raster is not None
    assert snapshot.cost is not None
    assert snapshot.raster.image.shape == (60, 400)
    assert (snapshot.raster.image[:, -1] & 1).tolist() == np.asarray(raster).tolist()
    assert [layer.name for layer in snapshot.raster.layers][:2] == ["stem.0", "stem.1"]
    assert snapshot.cost.sops[-1] == meter.sops  # type: ignore[union-attr]  # the second message of a bin is its meter
    assert snapshot.cost.power_sensor == ""


def test_many_layers_share_the_rows_of_the_raster() -> None:
    state = WindowState(URL)
    meter, _ = demo_bin(0)[1]
    layers = [replace_name(meter.layers[0], f"layer.{k}") for k in range(40)]  # type: ignore[union-attr]
    state.apply(msgspec.structs.replace(meter, layers=layers), np.zeros(40 * 12, dtype=np.uint8), 0)
    raster = state.snapshot(0).raster
    assert raster is not None
    assert raster.image.shape[0] == 160
    assert {layer.n_rows for layer in raster.layers} == {4}


def replace_name(layer: msgspec.Struct, name: str) -> msgspec.Struct:
    return msgspec.structs.replace(layer, name=name)


def test_snapshots_cannot_be_written_to() -> None:
    state = WindowState(URL)
    for message, array in demo_bin(0):
        state.apply(message, array, 0)
    snapshot = state.snapshot(0)
    assert snapshot.picture is not None
    assert snapshot.raster is not None
    assert not snapshot.picture.indices.flags.writeable
    assert not snapshot.raster.image.flags.writeable
    with pytest.raises(AttributeError):
        snapshot.playback.speed = 2.0  # type: ignore[misc]  # that it is refused is the point


def test_an_old_snapshot_does_not_change() -> None:
    state = WindowState(URL)
    for message, array in demo_bin(0):
        state.apply(message, array, 0)
    before = state.snapshot(0).raster
    assert before is not None
    kept = before.image.copy()
    for message, array in demo_bin(1):
        state.apply(message, array, 0)
    state.snapshot(0)
    assert np.array_equal(before.image, kept)


def test_position_counts_from_the_first_bin_seen() -> None:
    playback = _after(_label(0, start_us=10**15, end_us=10**15 + 10_000), _status(speed=0.5)).playback
    assert (playback.position_us, playback.extent_us, playback.speed) == (10_000, 10_000, 0.5)


def test_a_recording_of_known_length_spans_all_of_it_from_its_own_beginning() -> None:
    status = _status(first_us=10**15, duration_us=36_000_000, is_looped=True)
    assert _after(status).playback.position_us == 0
    # played from its fifth second on
    later = _label(0, start_us=10**15 + 5_000_000, end_us=10**15 + 5_010_000)
    playback = _after(later, status).playback
    assert (playback.position_us, playback.extent_us, playback.is_looped) == (5_010_000, 36_000_000, True)


def test_the_last_bin_may_reach_beyond_the_last_event() -> None:
    playback = _after(_label(0, start_us=0, end_us=10_000), _status(duration_us=9_500)).playback
    assert (playback.position_us, playback.extent_us) == (10_000, 10_000)


def test_a_live_source_says_why_nothing_can_be_asked() -> None:
    state = WindowState(URL)
    state.apply(_status(is_live=True), None, 0)
    state.apply_report(FeedReport(can_control=True))
    assert "live" in state.snapshot(0).playback.obstacle


def test_after_a_seek_back_the_extent_stays() -> None:
    playback = _after(demo_label(0), demo_label(299), demo_label(100)).playback
    assert (playback.position_us, playback.extent_us) == (1_010_000, 3_000_000)


def test_a_refused_request_is_told_for_five_seconds() -> None:
    state = WindowState(URL)
    state.apply_report(replace(FeedReport(), can_control=True, reply="seek: the source is live", reply_ns=NS_PER_S))
    assert state.snapshot(2 * NS_PER_S).playback.note == "seek: the source is live"
    assert state.snapshot(7 * NS_PER_S).playback.note == ""


def test_memory_stays_bounded_over_a_long_run() -> None:
    state = WindowState(URL)
    for seq in range(20_000):
        state.apply(_label(seq, label=CLASSES[seq % 5], index=seq % 5, stable=True), None, seq)
    timeline = state.snapshot(20_000).timeline
    assert timeline is not None
    assert len(timeline.runs) == 1000
