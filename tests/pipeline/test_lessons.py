from contextlib import closing
from dataclasses import replace

import msgspec
import pytest
from inference_bench import Bench

from pipeline.fakes import CannedRecogniser
from pipeline.lessons import answer_lesson
from pipeline.schema.errors import UsageError
from pipeline.schema.messages import Hello, Lesson, LessonReport, Request, TaughtClass


class CannedPupil(CannedRecogniser):
    """A pupil that believes what it is told at once."""

    def __init__(self):
        super().__init__()
        self.begun = []

    @property
    def lessons(self):
        names = self._info.classes[3:]
        lesson = Lesson(self.begun[-1][0], 0, self.begun[-1][1]) if self.begun else None
        return LessonReport([TaughtClass(name, 1) for name in names], lesson)

    def begin_lesson(self, name, n_bins):
        if name == "left":
            raise UsageError("'left' is a class of the network itself")
        self.begun.append((name, n_bins))
        self._classes((*self._info.classes, name))

    def forget(self, name):
        self._classes(tuple(known for known in self._info.classes if known != name))

    def rename(self, old, new):
        self._classes(tuple(new if known == old else known for known in self._info.classes))

    def _classes(self, classes):
        self._info = replace(self._info, classes=classes)


def test_a_lesson_lasts_as_many_bins_as_its_seconds():
    pupil = CannedPupil()
    reply = answer_lesson(pupil, Request("teach", 2.0, name="wave"))
    assert (reply.ok, reply.text) == (True, "the next 2 s are an example of wave")
    assert pupil.begun == [("wave", 200)]  # bins of 10 ms


def test_classes_are_renamed_forgotten_and_listed():
    pupil = CannedPupil()
    answer_lesson(pupil, Request("teach", 1.0, name="wave"))
    assert answer_lesson(pupil, Request("rename", name="wave", new_name="hello")).ok
    report = msgspec.json.decode(answer_lesson(pupil, Request("lessons")).text, type=LessonReport)
    assert report.taught == [TaughtClass("hello", 1)]
    assert report.lesson == Lesson("wave", 0, 100)
    assert answer_lesson(pupil, Request("forget", name="hello")).ok
    assert pupil.info.classes == ("left", "middle", "right")


@pytest.mark.parametrize("value", [None, 0.0, -1.0, 1e9, float("nan")])
def test_lessons_of_no_or_endless_time_are_refused(value):
    reply = answer_lesson(CannedPupil(), Request("teach", value, name="wave"))
    assert not reply.ok
    assert "seconds" in reply.text


def test_a_name_that_is_taken_is_refused_with_the_reason():
    assert "network itself" in answer_lesson(CannedPupil(), Request("teach", 1.0, name="left")).text


def test_a_recogniser_that_cannot_learn_says_so():
    reply = answer_lesson(CannedRecogniser(), Request("teach", 1.0, name="wave"))
    assert (reply.ok, reply.text) == (False, "canned@0 cannot be taught; run a checkpoint instead")


def test_listeners_are_told_of_classes_that_come_and_go():
    with closing(Bench((b"hello/", b"label/"), CannedPupil())) as bench:
        bench.received()
        assert bench.service.answer(Request("teach", 1.0, name="wave")).ok
        bench.step()
        hellos = [message for message, _ in bench.received() if isinstance(message, Hello)]
        assert [hello.classes for hello in hellos] == [["left", "middle", "right", "wave"]]
        for seq in range(8):
            bench.send_frame(seq, column=31)
        assert bench.received("label")[-1][0].label == "wave"  # the rightmost of four stripes
