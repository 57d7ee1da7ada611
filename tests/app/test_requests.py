"""What commands ask of a running Saccade, as far as it needs none; whole runs are in test_streams.py."""

from pathlib import Path

import pytest

from app.commands.capturing import ClipOptions, record
from app.reading import Reading
from app.requests import ask
from pipeline.schema.errors import BusError, UsageError
from pipeline.schema.messages import Reply, Request


class Refusing:
    """A control socket that refuses everything."""

    def request(self, request):
        return Reply(ok=False, text=f"no {request.command} today")


def test_a_refusal_is_raised_with_its_reason():
    with pytest.raises(UsageError, match="no record today"):
        ask(Refusing(), Request("record"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": "synthetic:gestures"},
        {"reading": Reading(filter=("polarity=on",))},
        {"clip": ClipOptions(format="raw")},
        {"clip": ClipOptions(force=True)},
        {"clip": ClipOptions(compression="zstd")},
        {"clip": ClipOptions(clips=2, seconds="1")},
    ],
)
def test_flags_of_a_recording_made_here_do_not_go_with_one_made_there(arguments):
    with pytest.raises(UsageError, match="--at"):
        record(Path("take"), at="ipc:///tmp/saccade-nobody-is-here", **arguments)


def test_nobody_to_record_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("app.requests._HELLO_MS", 50)
    with pytest.raises(BusError, match="nobody publishes"):
        record(Path("take"), at="ipc:///tmp/saccade-nobody-is-here", clip=ClipOptions(seconds="1"))
