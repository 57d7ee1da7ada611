import io
import threading

import pytest
from labels import label_of

from app.listener import LabelWatch, listen_to
from app.printer import LabelPrinter
from pipeline.bus import Publisher
from pipeline.codec import pack
from pipeline.schema.errors import AddressRefusedError, SaccadeError
from pipeline.schema.messages import Gap, Status


def gaps_in(*messages):
    watch = LabelWatch()
    return [(gap.after_seq, gap.n_lost) for gap in map(watch.take, messages) if gap is not None]


def test_labels_that_never_arrived_are_a_gap():
    assert gaps_in(label_of(3), label_of(4), label_of(9)) == [(4, 4)]


def test_what_the_sender_lost_itself_is_not_told_twice():
    assert gaps_in(label_of(3), Gap("cam0", "frame/cam0", 3, 2, 0), label_of(6)) == []


def test_a_sender_that_starts_anew_has_lost_nothing():
    assert gaps_in(label_of(30), label_of(0), label_of(1)) == []


def test_listening_prints_labels_gaps_and_hostile_bytes_and_ends_with_the_sender():
    publisher = Publisher("tcp://127.0.0.1:0")
    out, err = io.BytesIO(), io.StringIO()

    def send():
        assert publisher.wait_for_subscriber(b"hello/", 5000)
        for parts in (pack(label_of(0)), [b"label/cam0", b"\xff"], [b"label/"], pack(label_of(5))):
            publisher.send(parts)
        publisher.send(pack(Status("cam0", "inference", "ended", 1, exit_code=4)))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert listen_to(publisher.address, LabelPrinter(is_json=True, out=out, err=err)) == 4
    finally:
        sender.join()
        publisher.close()
    kinds = [line.split(b'"type":"')[1].split(b'"')[0] for line in out.getvalue().splitlines()]
    assert kinds == [b"label", b"gap", b"label"]
    assert "2 so far" in err.getvalue()


def test_the_failure_of_the_sender_is_told_with_its_exit_code():
    publisher = Publisher("tcp://127.0.0.1:0")

    def send():
        assert publisher.wait_for_subscriber(b"hello/", 5000)
        publisher.send(pack(Status("cam0", "inference", "failed", 1, text="unplugged", exit_code=5)))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(SaccadeError, match="unplugged") as caught:
            listen_to(publisher.address, LabelPrinter(is_json=True, out=io.BytesIO(), err=io.StringIO()))
        assert caught.value.exit_code == 5
    finally:
        sender.join()
        publisher.close()


def test_listening_ends_when_its_time_is_over():
    assert listen_to("ipc:///tmp/saccade-nobody-is-here", LabelPrinter(is_json=True), seconds=0.05) == 0


def test_other_machines_are_refused():
    with pytest.raises(AddressRefusedError):
        listen_to("tcp://10.0.0.1:5556", LabelPrinter(is_json=True))
