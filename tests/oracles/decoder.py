"""Decodes one recording with another library and keeps its events as an npy file of (t, x, y, p) in microseconds and pixels.

`PYTHON tests/oracles/decoder.py LIBRARY ENCODING IN OUT`, under the interpreter that `make bench-peers` made. Nothing is
mended: coordinates are those that the library gives.
"""

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Columns = tuple[Any, Any, Any, Any]


def _join(parts: Iterable[Columns]) -> Columns:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    t, x, y, p = columns or [np.zeros(0)] * 4
    return t, x, y, p


def faery(path: str, _: str) -> Columns:
    """Packets of t, x, y, on."""
    events = importlib.import_module("faery").events_stream_from_file(path)
    return _join((packet["t"], packet["x"], packet["y"], packet["p"]) for packet in events)


def dv_processing(path: str, _: str) -> Columns:
    """Event stores."""
    reader = importlib.import_module("dv_processing").io.MonoCameraRecording(path)
    parts = []
    while reader.isRunning() and (events := reader.getNextEventBatch()) is not None:
        record = events.numpy()
        parts.append((record["timestamp"], record["x"], record["y"], record["polarity"]))
    return _join(parts)


def aedat(path: str, _: str) -> Columns:
    """Packets of t, x, y, on."""
    packets = (packet["events"] for packet in importlib.import_module("aedat").Decoder(path) if "events" in packet)
    return _join((events["t"], events["x"], events["y"], events["on"]) for events in packets)


def evlib(path: str, _: str) -> Columns:
    """One table; polarity may be -1 and 1."""
    table = importlib.import_module("evlib").load_events(path)
    table = table.collect() if hasattr(table, "collect") else table
    t = table["t"].to_physical().to_numpy()
    return t, table["x"].to_numpy(), table["y"].to_numpy(), table["polarity"].to_numpy() > 0


def expelliarmus(path: str, encoding: str) -> Columns:
    """One array."""
    events = importlib.import_module("expelliarmus").Wizard(encoding=encoding).read(path)
    return events["t"], events["x"], events["y"], events["p"]


def event_stream(path: str, _: str) -> Columns:
    """Packets of t, x, y, on."""
    with importlib.import_module("event_stream").Decoder(path) as decoder:
        return _join((events["t"], events["x"], events["y"], events["on"]) for events in decoder)


def tonic(path: str, encoding: str) -> Columns:
    """Readers by encoding."""
    library = importlib.import_module("tonic.io")
    record = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    readers: dict[str, Callable[[], Any]] = {
        "bin40": lambda: library.read_mnist_file(path, dtype=record),
        "aedat2-davis": lambda: library.read_davis_346(path)[1],
        "aedat4": lambda: library.read_aedat4(path),
    }
    events = readers[encoding]()
    return events["t"], events["x"], events["y"], events["p"]


LIBRARIES = {read.__name__: read for read in (faery, dv_processing, aedat, evlib, expelliarmus, event_stream, tonic)}


def main() -> None:
    """Decode and keep; whatever the library raises ends this process."""
    library, encoding, source, target = sys.argv[1:]
    t, x, y, p = LIBRARIES[library](source, encoding)
    events = np.zeros(len(t), dtype=[("t", "<i8"), ("x", "<i8"), ("y", "<i8"), ("p", "u1")])
    events["t"], events["x"], events["y"], events["p"] = t, x, y, np.asarray(p, dtype=np.uint8)
    np.save(target, events)


if __name__ == "__main__":
    main()
