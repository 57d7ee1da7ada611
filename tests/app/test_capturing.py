"""`saccade record` as a user runs it, and what is left of it when it is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from builders import random_events

from app.commands.capturing import ClipOptions, record
from pipeline.schema.errors import PartialInputError, UsageError
from pipeline.schema.events import empty_events
from pipeline.sources.registry import open_recording, open_source

ROOT = Path(__file__).parents[2]
_CODE = "import sys; sys.argv[0] = 'saccade'; from app.__main__ import main; main()"


def read(path):
    with open_recording(path) as source:
        return np.concatenate([empty_events(), *source.packets()])


@pytest.fixture
def made(tmp_path):
    """Two seconds, 8,000 events, 32 x 24 pixels."""
    events = random_events(8000, duration_us=2_000_000)
    path = tmp_path / "made.npz"
    np.savez(path, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=32, height=24)
    return path


def test_labelled_clips_are_numbered_on_in_a_folder_of_their_own(made, tmp_path, capsys):
    out = tmp_path / "mine"
    clips = ClipOptions(label="wave", seconds="0.5", clips=2, pause="100ms")
    assert record(out, source=str(made), clip=clips) == 0
    assert record(out, source=str(made), clip=ClipOptions(label="wave", seconds="200ms"), json=True) == 0
    assert sorted(path.name for path in (out / "wave").iterdir()) == [f"wave-00{i}.aedat4" for i in (1, 2, 3)]
    events = read(made)
    t = events["t"] - events["t"][0]
    assert np.array_equal(read(out / "wave" / "wave-002.aedat4"), events[(t >= 600_000) & (t < 1_100_000)])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["label"], line["events"], line["path"]) == (
        "wave",
        int(np.sum(t < 200_000)),
        str(out / "wave/wave-003.aedat4"),
    )


@pytest.mark.parametrize("name", ["whole.raw", "whole", "whole.dat"])
def test_the_ending_tells_the_format_and_everything_arrives(made, tmp_path, name):
    assert record(tmp_path / name, source=str(made)) == 0
    assert np.array_equal(read(tmp_path / name), read(made))


def test_filters_stand_before_the_recording(made, tmp_path):
    from app.reading import Reading

    record(tmp_path / "on.aedat4", source=str(made), reading=Reading(filter=("polarity=on",)))
    events = read(made)
    assert np.array_equal(read(tmp_path / "on.aedat4"), events[events["p"] == 1])


def test_a_file_is_not_overwritten_by_accident(made, tmp_path):
    with pytest.raises(UsageError, match="--force"):
        record(made, source="synthetic:quiet", clip=ClipOptions(seconds="10ms"))


def test_a_label_needs_a_folder(made):
    with pytest.raises(UsageError, match="folder"):
        record(made, source="synthetic:quiet", clip=ClipOptions(label="wave"))


def test_a_source_that_lost_its_end_is_recorded_as_far_as_it_goes(made, tmp_path):
    record(tmp_path / "whole.aedat4", source=str(made))
    data = (tmp_path / "whole.aedat4").read_bytes()
    (tmp_path / "cut.aedat4").write_bytes(data[: len(data) // 2])
    with pytest.raises(PartialInputError):
        record(tmp_path / "kept.aedat4", source=str(tmp_path / "cut.aedat4"))
    kept = read(tmp_path / "kept.aedat4")
    assert kept.size
    assert np.array_equal(kept, read(tmp_path / "whole.aedat4")[: kept.size])


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 0)])
def test_what_was_received_outlives_the_recorder(tmp_path, ending, code):
    """SIGKILL leaves a readable prefix, SIGINT a whole file."""
    path = tmp_path / "live.aedat4"
    uri = "synthetic:gestures?seed=5"
    child = subprocess.Popen(
        [sys.executable, "-c", _CODE, "record", str(path), "--source", uri],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = monotonic() + 60
    while not (path.exists() and path.stat().st_size > 100_000) and monotonic() < deadline:
        sleep(0.02)
    child.send_signal(ending)
    out, err = child.communicate(timeout=30)
    assert child.returncode == code, err
    found = read(path)
    with open_source(uri) as source:
        expected, n = [], 0
        for packet in source.packets():
            expected.append(packet)
            n += packet.size
            if n >= found.size:
                break
    assert found.size > 10_000
    assert np.array_equal(found, np.concatenate(expected)[: found.size])
    assert (f"{found.size} events" in out) == (ending == signal.SIGINT)
