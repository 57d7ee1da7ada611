import io
import json
import os

import pytest
from labels import label_of

from app.printer import LabelPrinter, is_reader_gone
from pipeline.schema.messages import Gap, Hello, Status


@pytest.fixture
def streams():
    return io.BytesIO(), io.StringIO()


def lines_of(out):
    return out.getvalue().decode().splitlines()


def test_json_has_every_label_and_gap_on_a_line_and_nothing_else(streams):
    out, err = streams
    printer = LabelPrinter(is_json=True, out=out, err=err)
    for message in (Hello("cam0", "n@1", [], 1, 1, ""), label_of(0), Gap("cam0", "frame/cam0", 0, 2, 1), label_of(3)):
        printer.take(message)
    assert [json.loads(line)["type"] for line in lines_of(out)] == ["label", "gap", "label"]
    assert err.getvalue() == ""
    assert printer.n_lost == 2


def test_text_has_a_line_for_every_change_of_the_stable_label(streams):
    out, err = streams
    printer = LabelPrinter(is_json=False, out=out, err=err)
    for message in (label_of(0, "nothing"), label_of(1), label_of(2), label_of(3, "clap", stable=False), label_of(4, "clap")):
        printer.take(message)
    assert [line.split() for line in lines_of(out)] == [
        ["0.000", "s", "nothing"],
        ["0.010", "s", "wave", "93.0%"],
        ["0.040", "s", "clap", "93.0%"],
    ]


def test_text_tells_losses_and_what_the_recording_lacked(streams):
    out, err = streams
    printer = LabelPrinter(is_json=False, out=out, err=err)
    printer.take(Gap("cam0", "frame/cam0", 7, 2, 1))
    printer.take(Status("cam0", "capture", "ended", 1, text="3 bytes were cut off", exit_code=4))
    assert "2 messages of frame/cam0 were lost after number 7" in err.getvalue()
    assert "3 bytes were cut off" in err.getvalue()


def test_a_reader_that_went_is_noticed_without_writing():
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as out:
        assert not is_reader_gone(out)
        os.close(read_end)
        assert is_reader_gone(out)
        with pytest.raises(BrokenPipeError):
            LabelPrinter(is_json=True, out=out, err=io.StringIO()).check()


def test_a_file_has_no_reader_that_could_go(tmp_path):
    with (tmp_path / "labels").open("wb") as out:
        assert not is_reader_gone(out)
