"""Reads whole recordings with one library, in a process of its own: the other end of `benchmarks/decode.py` and `binning.py`.

`PYTHON benchmarks/peers.py LIBRARY` takes one JSON object a line ({"path": …, "encoding": …}) and answers each with the number
of events and the seconds of processor time. Runs under Saccade's interpreter for Saccade, else under the one of
`make bench-peers`; every library is asked the quickest way it has, and none is made to convert what it gives.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from typing import Any

N_FRAMES_US = 10_000


def saccade(path: str, _: str) -> int:
    """Packets of events."""
    from pipeline.sources.registry import open_recording

    with open_recording(path) as source:
        # one packet at a time: no name holds on to one while the next is made
        return sum(map(len, source.packets()))


def saccade_frames(path: str, _: str) -> int:
    """Packets of events, counted into spike frames of 10 ms at the sensor's size, each dropped before the next is asked for."""
    from pipeline.binning import TimeBinner
    from pipeline.sources.registry import open_recording

    with open_recording(path) as source:
        binner = TimeBinner(source.info.sensor_size, source.info.sensor_size, N_FRAMES_US)
        frames = chain(chain.from_iterable(map(binner.push, source.packets())), binner.flush())
        return sum(map(attrgetter("n_events"), frames))


def faery(path: str, _: str) -> int:
    """Packets of events."""
    library = importlib.import_module("faery")
    return sum(len(events) for events in library.events_stream_from_file(path))


def dv_processing(path: str, _: str) -> int:
    """Event stores, left as they are."""
    reader = importlib.import_module("dv_processing").io.MonoCameraRecording(path)
    n_events = 0
    while reader.isRunning() and (events := reader.getNextEventBatch()) is not None:
        n_events += events.size()
    return n_events


def expelliarmus(path: str, encoding: str) -> int:
    """One array of all events."""
    return int(importlib.import_module("expelliarmus").Wizard(encoding=encoding).read(path).size)


def expelliarmus_chunks(path: str, encoding: str) -> int:
    """Arrays of so many events as fit into the second-level cache."""
    wizard = importlib.import_module("expelliarmus").Wizard(encoding=encoding, chunk_size=1 << 16)
    wizard.set_file(path)
    return sum(int(events.size) for events in wizard.read_chunk())


def evlib(path: str, _: str) -> int:
    """One table of all events."""
    table = importlib.import_module("evlib").load_events(path)
    return int(table.collect().height if hasattr(table, "collect") else table.height)


def aedat(path: str, _: str) -> int:
    """Packets of events."""
    packets = importlib.import_module("aedat").Decoder(path)
    return sum(len(packet["events"]) for packet in packets if "events" in packet)


def event_stream(path: str, _: str) -> int:
    """Packets of events."""
    with importlib.import_module("event_stream").Decoder(path) as decoder:
        return sum(len(events) for events in decoder)


def saccade_bin(path: str, _: str) -> int:
    """The events of an npy file of EVENT_DTYPE, counted into spike frames."""
    import numpy as np

    from pipeline.binning import bin_events
    from pipeline.schema.events import SensorSize

    events = _keep(path, lambda: np.load(path, allow_pickle=False))
    size = SensorSize(640, 480)
    counts, _starts = bin_events(events, size, size, N_FRAMES_US)
    return int(events.size) if len(counts) else 0


def tonic_to_frame(path: str, _: str) -> int:
    """The events of the same file in tonic's own record, through its ToFrame."""
    import numpy as np

    transforms = importlib.import_module("tonic.transforms")

    def load() -> Any:
        events = np.load(path, allow_pickle=False)
        record = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
        return np.rec.fromarrays([events[name] for name in record.names or ()], dtype=record)

    events = _keep(path, load)
    frames = transforms.ToFrame(sensor_size=(640, 480, 2), time_window=N_FRAMES_US, include_incomplete=True)(events)
    return int(events.size) if len(frames) else 0


_KEPT: dict[str, Any] = {}


def _keep(path: str, load: Callable[[], Any]) -> Any:
    """What was loaded for this path; loading is no part of what is measured."""
    if path not in _KEPT:
        _KEPT.clear()
        _KEPT[path] = load()
    return _KEPT[path]


LIBRARIES: dict[str, Callable[[str, str], int]] = {
    read.__name__: read
    for read in (
        saccade, saccade_frames, saccade_bin, tonic_to_frame,
        faery, dv_processing, expelliarmus, expelliarmus_chunks, evlib, aedat, event_stream,
    )
}  # fmt: skip


def main() -> None:
    """Answer line by line until there are no more."""
    read = LIBRARIES[sys.argv[1]]
    # libraries print; what they say must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.process_time()
        try:
            n_events = read(request["path"], request["encoding"])
            answer: dict[str, Any] = {"events": n_events, "seconds": time.process_time() - begun}
        except BaseException as error:  # noqa: BLE001 # what another library does not read is a result, panics of Rust included
            answer = {"refused": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
