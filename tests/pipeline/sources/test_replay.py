from typing import ClassVar

import numpy as np
import pytest
from builders import SENSOR
from triggered import TriggeredSource

from pipeline.fakes import ListSource, ManualClock
from pipeline.schema.errors import UsageError
from pipeline.schema.events import make_events
from pipeline.schema.messages import Request
from pipeline.sources.replay import Pace, ReplaySettings, ReplaySource, command_replay, due_ns, measure_span

MS = 1_000_000
# Five events of one recording; its first stamp is not zero.
TIMES = np.array([5_000, 6_000, 15_000, 44_999, 45_000])


def packet_of(times):
    zeros = np.zeros(len(times), int)
    return make_events(times, zeros, zeros, zeros)


def play(settings, times=TIMES, *, split=2):
    """A replay on a clock of its own, its opened sources, and the clock."""
    clock, opened = ManualClock(), []

    def reopen():
        opened.append(ListSource([packet_of(times[:split]), packet_of(times[split:])], SENSOR))
        return opened[-1]

    return ReplaySource(reopen, settings, clock=clock, wait=clock.wait), opened, clock


def drain(replay, clock, limit=10_000):
    """(host ms, stamps) of every packet with events."""
    found = []
    for count, packet in enumerate(replay.packets()):
        assert count < limit, "the replay does not end"
        if len(packet):
            found.append((round(clock.now_ns / MS), packet["t"].tolist()))
    return found


def test_due_time_is_sensor_time_divided_by_speed():
    pace = Pace(anchor_us=1_000, anchor_ns=7 * MS, speed=2.0)
    assert due_ns(pace, 1_000) == 7 * MS
    assert due_ns(pace, 5_000) == 9 * MS


def test_events_are_released_when_their_time_has_come():
    replay, _, clock = play(ReplaySettings())
    assert drain(replay, clock) == [(1, [5_000, 6_000]), (10, [15_000]), (40, [44_999]), (40, [45_000])]


@pytest.mark.parametrize(("speed", "end_ms"), [(0.5, 80), (1.0, 40), (4.0, 10)])
def test_a_recording_takes_its_duration_divided_by_speed(speed, end_ms):
    replay, _, clock = play(ReplaySettings(speed=speed))
    assert drain(replay, clock)[-1][0] == end_ms


def test_as_fast_as_possible_never_waits():
    replay, _, clock = play(ReplaySettings(speed=0))
    assert [stamps for _, stamps in drain(replay, clock)] == [[5_000, 6_000], [15_000], [44_999], [45_000]]
    assert clock.now_ns == 0


def test_quiet_stretches_tell_that_time_has_passed_at_every_edge():
    replay, _, _ = play(ReplaySettings())
    edges = {replay.reached_us for packet in replay.packets() if len(packet) == 0}
    assert edges == {25_000, 35_000}


def test_no_piece_crosses_an_edge():
    times = np.arange(0, 100_000, 500)
    replay, _, _ = play(ReplaySettings(speed=0, piece_us=3_000), times, split=77)
    pieces = [packet["t"] for packet in replay.packets() if len(packet)]
    assert np.array_equal(np.concatenate(pieces), times)
    assert all(piece[0] // 3_000 == piece[-1] // 3_000 for piece in pieces)


def test_start_and_end_are_counted_from_the_first_event():
    replay, _, clock = play(ReplaySettings(start_us=1_000, end_us=39_999))
    assert drain(replay, clock) == [(0, [6_000]), (9, [15_000])]
    # the quiet time before the end passes too: the recording does not stop there
    assert replay.reached_us == 44_999
    assert round(clock.now_ns / MS) == 39


def test_a_start_behind_the_last_event_is_refused():
    replay, _, clock = play(ReplaySettings(start_us=1_000_000))
    with pytest.raises(UsageError, match="behind the last event"):
        drain(replay, clock)


def test_an_empty_recording_just_ends():
    replay, _, clock = play(ReplaySettings(), np.array([], int))
    assert drain(replay, clock) == []


def test_a_paused_recording_goes_on_where_it_was_held():
    replay, _, clock = play(ReplaySettings())
    packets = replay.packets()
    assert next(packets)["t"].tolist() == [5_000, 6_000]
    replay.pause()
    held = [len(next(packets)) for _ in range(10)]
    assert held == [0] * 10
    assert clock.now_ns >= 200 * MS
    resumed_ns = clock.now_ns
    replay.resume()
    assert next(packet for packet in packets if len(packet))["t"].tolist() == [15_000]
    assert round((clock.now_ns - resumed_ns) / MS) == 9


def test_speed_can_change_on_the_way():
    replay, _, clock = play(ReplaySettings())
    packets = replay.packets()
    next(packets)
    replay.set_speed(0)
    assert [len(packet) for packet in packets if len(packet)] == [1, 1, 1]
    assert round(clock.now_ns / MS) == 1


def test_a_seek_opens_the_recording_anew_and_starts_another_epoch():
    replay, opened, _ = play(ReplaySettings(speed=0))
    packets = replay.packets()
    next(packets)
    replay.seek(39_999)
    assert [packet["t"].tolist() for packet in packets if len(packet)] == [[44_999, 45_000]]
    assert replay.epoch == 1
    assert len(opened) == 2
    assert all(source.is_closed for source in opened)


def test_a_seek_after_the_end_plays_again():
    replay, _, clock = play(ReplaySettings(speed=0))
    assert len(drain(replay, clock)) == 4
    replay.seek(0)
    assert replay.is_seeking
    assert len(drain(replay, clock)) == 4


def test_a_looped_recording_begins_again():
    replay, _, _ = play(ReplaySettings(speed=0, is_looped=True))
    stamps = []
    for packet in replay.packets():
        stamps += packet["t"].tolist()
        if len(stamps) >= 12:
            break
    assert stamps[:10] == TIMES.tolist() * 2
    assert replay.epoch == 2
    replay.close()


def test_a_loop_over_nothing_ends():
    replay, _, clock = play(ReplaySettings(is_looped=True), np.array([], int))
    assert drain(replay, clock) == []


def test_the_report_outlives_the_recording():
    source = ListSource([packet_of(TIMES)], SENSOR, is_truncated=True)
    replay = ReplaySource(lambda: source, ReplaySettings(speed=0))
    list(replay.packets())
    assert replay.report().is_truncated


def test_a_recording_is_measured_from_its_first_to_its_last_event():
    assert measure_span(ListSource([packet_of(TIMES[:2]), packet_of([]), packet_of(TIMES[2:])], SENSOR), 1.0) == (5_000, 40_000)
    assert measure_span(ListSource([], SENSOR), 1.0) is None


def test_a_recording_too_long_to_measure_stays_unmeasured():
    times = iter([0, 0, 2_000_000_000])
    source = ListSource([packet_of(TIMES)] * 3, SENSOR)
    assert measure_span(source, 1.0, lambda: next(times)) is None
    assert source.is_closed


@pytest.mark.parametrize(
    "values", [{"speed": -1}, {"speed": 5000}, {"speed": float("nan")}, {"start_us": -1}, {"start_us": 5, "end_us": 5}]
)
def test_settings_that_cannot_be_meant_are_refused(values):
    with pytest.raises(UsageError):
        ReplaySettings(**values)


def test_requests_are_obeyed_and_nonsense_is_refused():
    replay, _, _ = play(ReplaySettings())
    command_replay(replay, Request("pause"))
    assert replay.is_paused
    command_replay(replay, Request("resume"))
    assert not replay.is_paused
    assert command_replay(replay, Request("speed", 2.0)) == "speed 2 done"
    assert replay.speed == 2.0
    command_replay(replay, Request("loop", 1.0))
    assert replay.is_looped
    command_replay(replay, Request("seek", 10.0))
    assert replay.is_seeking
    for request in (Request("seek"), Request("speed", -2.0), Request("describe")):
        with pytest.raises(UsageError):
            command_replay(replay, request)
    replay.close()


class SeekableSource(TriggeredSource):
    """A recording that remembers from where it was asked to begin."""

    asked: ClassVar[list[int | None]] = []

    def packets(self, start_us=None, end_us=None):
        self.asked.append(start_us)
        return super().packets(start_us, end_us)


@pytest.mark.parametrize("first_us", [None, 5_000])
def test_a_recording_that_can_begin_in_the_middle_is_read_from_there(first_us):
    SeekableSource.asked.clear()
    settings = ReplaySettings(speed=0, start_us=10_000, end_us=39_999)
    replay = ReplaySource(lambda: SeekableSource(TIMES.tolist()), settings)
    replay.first_us = first_us
    packets = replay.packets()
    assert next(packet for packet in packets if len(packet))["t"].tolist() == [15_000]
    replay.seek(39_000)
    assert [packet["t"].tolist() for packet in packets if len(packet)] == []
    replay.seek(20_000)
    assert [packet["t"].tolist() for packet in replay.packets() if len(packet)] == []
    replay.seek(0)
    assert [packet["t"].tolist() for packet in replay.packets() if len(packet)] == [[15_000]]
    # the first event is looked for once, and only where nobody knew its time
    assert SeekableSource.asked == [*([None] if first_us is None else []), 15_000, 44_000, 25_000, 15_000]
    replay.close()
