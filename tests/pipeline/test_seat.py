from dataclasses import replace
from threading import Event

import msgspec
import numpy as np
import pytest

from pipeline.decision import DecisionSettings
from pipeline.fakes import CannedRecogniser
from pipeline.schema.errors import InputError
from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import Hello, Lesson, LessonReport, Reply, Request, Wish
from pipeline.seat import Loaded, Seat

HELLO = Hello("cam0", "canned@0", [], 0, 0, "", sensor_width=32, sensor_height=24)
LARGE, SMALL = SensorSize(32, 24), SensorSize(8, 6)


def canned(**options):
    return Loaded(CannedRecogniser(**options), DecisionSettings(hold_bins=2))


def seat_of(load, **options):
    return Seat(canned(), load, is_beside=False, **options)


def refuse(name):
    raise InputError(f"no checkpoint {name!r}")


def bin_of(seq):
    counts = np.zeros((2, 24, 32), np.uint8)
    counts[0, :, -1] = 1
    return SpikeFrame(counts, 10_000 * seq, 10_000 * (seq + 1), seq, 100, 0)


def ask(seat, name="other"):
    return seat.answer(Request("network", name=name))


def test_a_network_of_the_same_bins_takes_over_between_two_of_them_and_from_rest():
    seat = seat_of(lambda name: canned(classes=(name, "b"), n_time_bins=7))
    for seq in range(4):
        prediction = seat.step(bin_of(seq))
        seat.decide(prediction, 100)
    later = ask(seat, "a")
    assert later() is None
    assert seat.info.n_time_bins == 4
    assert seat.let_in(None) == "network canned@0 has taken over, from rest"
    assert later() == Reply(ok=True, text="network canned@0 has taken over, from rest")
    assert (seat.info.n_time_bins, seat.info.classes) == (7, ("a", "b"))
    assert seat.has_changed()
    prediction = seat.step(bin_of(4))
    assert not prediction.is_window_end
    assert seat.decide(prediction, 100).index == -1
    assert seat.let_in(None) == ""


def test_a_network_of_other_bins_is_wished_for_once_and_waits_until_they_come():
    seat = seat_of(lambda _: canned(frame_size=SMALL, delta_t_us=20_000))
    later = ask(seat)
    assert seat.let_in(None) == ""
    assert seat.wish(HELLO) == Wish("cam0", 20_000, 8, 6)
    assert seat.wish(HELLO) is None
    for bins in ((10_000, LARGE), (20_000, LARGE), (10_000, SMALL)):
        assert seat.let_in(bins) == ""
    assert later() is None
    assert seat.let_in((20_000, SMALL))
    assert later().ok
    assert seat.info.frame_size == SMALL


def test_nothing_is_wished_for_before_capture_is_there_or_where_the_bins_stay():
    seat = seat_of(lambda _: canned(frame_size=SMALL))
    ask(seat)
    assert seat.wish(msgspec.structs.replace(HELLO, source="")) is None
    assert seat.wish(HELLO) is not None
    same = seat_of(lambda _: canned())
    ask(same)
    assert same.wish(HELLO) is None


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (refuse, "no checkpoint 'other'"),
        (lambda _: 1 / 0, "'other' cannot be used: ZeroDivisionError: division by zero"),
        (lambda _: refuse("x" * 100_000), "x" * 1000),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason_and_the_old_network_goes_on(load, reason):
    seat = seat_of(load)
    reply = ask(seat)()
    assert not reply.ok
    assert reason in reply.text
    assert len(reply.text) <= 2000
    assert seat.let_in(None) == ""
    assert seat.step(bin_of(0)).scores[2] > 0.8
    assert not seat.has_changed()


@pytest.mark.parametrize("options", [{"frame_size": SensorSize(100_000, 100_000)}, {"frame_size": SMALL, "delta_t_us": 0}])
def test_bins_that_capture_could_not_make_are_refused(options):
    seat = seat_of(lambda _: canned(**options))
    later = ask(seat)
    assert seat.wish(HELLO) is None
    assert not later().ok
    assert seat.info.frame_size == LARGE


def test_a_second_network_is_refused_while_one_is_on_its_way_and_so_are_lessons():
    seat = seat_of(lambda _: canned(frame_size=SMALL))
    assert "needs a name" in ask(seat, "").text
    ask(seat, "first")
    for request in (Request("network", name="second"), Request("teach", 1.0, name="wave")):
        assert seat.answer(request) == Reply(ok=False, text="network first is on its way; ask again once it is there")
    assert seat.answer(Request("reset")).ok
    seat.let_in((10_000, SMALL))
    assert callable(ask(seat, "second"))


class Learning(CannedRecogniser):
    """A pupil in the middle of a lesson, until told otherwise."""

    lesson = Lesson("wave", 1, 9)

    @property
    def lessons(self):
        return LessonReport([], self.lesson)

    def begin_lesson(self, name, n_bins): ...

    def forget(self, name): ...

    def rename(self, old, new): ...


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_a_lesson_is_finished_first(size):
    pupil = Learning()
    seat = Seat(replace(canned(), recogniser=pupil), lambda _: canned(frame_size=size), is_beside=False)
    ask(seat)
    assert (seat.wish(HELLO), seat.let_in(None)) == (None, "")
    pupil.lesson = None
    assert (seat.wish(HELLO) is not None) == (size == SMALL)
    assert seat.let_in((10_000, size))


def test_the_stream_goes_on_while_a_network_is_loaded_beside_it():
    may_end, has_loaded = Event(), Event()

    def load(_):
        assert may_end.wait(20)
        has_loaded.set()
        return canned(n_time_bins=7)

    seat = Seat(canned(), load)
    later = ask(seat)
    for seq in range(3):
        assert seat.let_in(None) == ""
        seat.step(bin_of(seq))
    assert later() is None
    may_end.set()
    assert has_loaded.wait(20)
    seat.close()
    assert seat.let_in(None)
    assert later().ok
    assert seat.info.n_time_bins == 7


def test_a_change_of_classes_is_told_once():
    pupil = CannedRecogniser()
    seat = Seat(Loaded(pupil, DecisionSettings()), refuse)
    assert not seat.has_changed()
    pupil._info = replace(pupil.info, classes=("a", "b", "c", "d"))
    assert (seat.has_changed(), seat.has_changed()) == (True, False)
