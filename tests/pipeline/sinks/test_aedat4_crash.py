"""AEDAT 4.0 after a writer was killed: everything up to the last flush is there, for us and for dv-processing.

dv-processing is asked in an interpreter that has it, named by DV_PYTHON (or this one); without it that half is skipped.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from seeking import read_span

from pipeline.schema.events import Events
from pipeline.sources.registry import open_recording

# Writes for ever, a few events at a time; after each flush it says how many events are safe.
WRITER = """
import sys
from builders import SENSOR, random_events
from pipeline.schema.events import make_triggers
from pipeline.sinks.registry import open_sink

events = random_events(60_000, duration_us=40_000_000)
with open_sink(sys.argv[1], SENSOR) as sink:
    for start in range(0, events.size, 70):
        sink.write(events[start : start + 70])
        sink.write_triggers(make_triggers([start], [0], [1]))
        if start % 210 == 0:
            sink.flush()
            print(start + 70, flush=True)
"""
READ_WITH_DV = """
import sys
import dv_processing as dv

reader = dv.io.MonoCameraRecording(sys.argv[1])
n = 0
while (batch := reader.getNextEventBatch()) is not None:
    n += batch.size()
n_triggers = 0
while (triggers := reader.getNextTriggerBatch()) is not None:
    n_triggers += len(triggers)
print(n, n_triggers)
"""


def write_and_kill(path: Path, n_flushes: int) -> int:
    """Let a child write until it has flushed so often, kill it a little later; gives the number of events it said are safe."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    safe = 0
    with child:
        for _ in range(n_flushes):
            safe = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read().splitlines()
    # the last line may be cut off
    return max([safe, *(int(line) for line in said[:-1])])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, int]]:
    """Recordings whose writers were killed after 1 to 200 flushes, and how many events were safe in each."""
    folder = tmp_path_factory.mktemp("killed")
    moments = np.random.default_rng(7).integers(1, 200, 6)
    paths = [folder / f"{i}.aedat4" for i in range(moments.size)]
    return [(path, write_and_kill(path, int(n))) for path, n in zip(paths, moments, strict=True)]


@pytest.fixture(scope="module")
def events() -> Events:
    return random_events(60_000, duration_us=40_000_000, sensor=SENSOR)


def test_everything_up_to_the_last_flush_is_read_after_a_kill(killed: list[tuple[Path, int]], events: Events) -> None:
    for path, n_safe in killed:
        with open_recording(path) as source:
            found = read_span(source)
            triggers = source.take_triggers()
        assert n_safe <= found.size < events.size
        assert np.array_equal(found, events[: found.size])
        assert triggers["t"].tolist()[: n_safe // 70] == list(range(0, n_safe, 70))


def test_dv_processing_reads_as_much_as_we_do(killed: list[tuple[Path, int]]) -> None:
    python = os.environ.get("DV_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import dv_processing"], capture_output=True, check=False).returncode:
        pytest.skip("no dv-processing here; name a Python that has it in DV_PYTHON")
    for path, n_safe in killed:
        answer = subprocess.run([python, "-c", READ_WITH_DV, str(path)], capture_output=True, text=True, check=True)
        n_events, n_triggers = map(int, answer.stdout.split())
        with open_recording(path) as source:
            assert n_safe <= n_events == read_span(source).size
            assert n_safe // 70 <= n_triggers == source.take_triggers().size
