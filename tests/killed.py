"""A writer in a process of its own, killed in the middle of its work."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from builders import random_events

from pipeline.schema.events import empty_events
from pipeline.sources.registry import open_recording

_TESTS = Path(__file__).parent
_WRITER = """
import os, sys
from pathlib import Path
from builders import SENSOR, random_events
from pipeline.sinks.registry import open_sink
n, step = int(sys.argv[2]), int(sys.argv[3])
events = random_events(n, duration_us=4_000_000)
sink = open_sink(Path(sys.argv[1]), SENSOR)
for at in range(0, n, step):
    sink.write(events[at : at + step])
    sink.flush()
    os.write(1, (at + step).to_bytes(8, "little"))
sink.close()
os.write(1, n.to_bytes(8, "little"))
"""


def assert_killed_writers_leave_what_they_flushed(folder: Path, ending: str, *, n: int, step: int) -> None:
    """Kill writers of `n` events, flushed every `step`, at seeded moments and at the very end; read what each one left."""
    expected = random_events(n, duration_us=4_000_000)
    moments = (*np.random.default_rng(5).integers(1, n // step, 2).tolist(), -(-n // step))
    for n_acknowledged in moments:
        path = folder / f"{n_acknowledged}{ending}"
        arguments = [sys.executable, "-c", _WRITER, str(path), str(n), str(step)]
        environment = {"PYTHONPATH": f"{_TESTS}:{_TESTS.parent}", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            for _ in range(n_acknowledged):
                at_least = int.from_bytes(child.stdout.read(8), "little")
            child.send_signal(signal.SIGKILL)
        with open_recording(path) as source:
            events = np.concatenate([empty_events(), *source.packets()])
        assert events.size >= min(at_least, n)
        assert np.array_equal(events, expected[: events.size])
