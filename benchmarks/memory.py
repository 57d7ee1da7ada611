"""How much memory does reading take, however large the file? The peak of a fresh process, on files of up to 2 GB.

`python benchmarks/memory.py [--formats evt3 aedat4 dat] [--out FILE] [--folder FOLDER]`. The files are real bytes, one at a
time, each twice as large as the one before, and deleted when a process of its own has read them from end to end. A straight
line through the peaks then says what 10 GB would take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from provenance import commit

from app.bench.decode import count_events
from app.bench.recording import KINDS, Kind
from app.bench.stream import Stream, make_stream
from app.bench.timing import describe_machine
from pipeline.schema.events import Events
from pipeline.sinks.registry import open_sink

_KINDS = {"evt3": "evt3-sparse", "aedat4": "aedat4-lz4", "dat": "dat"}
_GB = 1 << 30
_EXTRAPOLATED_GB = 10
_LIMIT_MB = 300
_PACKET_EVENTS = 1 << 13
_REPEATED_EVENTS = 1 << 20
_PACKETS_BETWEEN_LOOKS = 64


def measure(name: str, folder: Path, target_gb: float) -> dict[str, Any]:
    """Peaks of one format at an eighth, a quarter, half and all of `target_gb`, and where the line through them leads."""
    kind = KINDS[_KINDS[name]]
    rows = []
    for share in (0.125, 0.25, 0.5, 1.0):
        path = folder / f"large{kind.ending}"
        _write(path, kind, int(share * target_gb * _GB))
        rows.append(_read_in_child(path))
        path.unlink()
        print(f"{name}: {rows[-1]}", flush=True)
    peaks = [row["peak_mb"] for row in rows]
    slope, offset = np.polyfit([row["bytes"] / _GB for row in rows], peaks, 1)
    at_10_gb = max(*peaks, offset + slope * _EXTRAPOLATED_GB)
    return {
        "rows": rows,
        "mb_per_gb": round(float(slope), 2),
        "peak_mb_at_10_gb": round(float(at_10_gb), 1),
        "limit_mb": _LIMIT_MB,
        "is_within": bool(at_10_gb < _LIMIT_MB),
    }


def _repeat(events: Events) -> Iterator[Events]:
    """The same stretch of events over and over, each time later."""
    span_us = int(events["t"][-1] - events["t"][0]) + 1
    while True:
        for at in range(0, events.size, _PACKET_EVENTS):
            yield events[at : at + _PACKET_EVENTS]
        events["t"] += span_us


def _write(path: Path, kind: Kind, n_bytes: int) -> None:
    """A closed recording of about so many bytes."""
    stream = Stream(_REPEATED_EVENTS, rate_hz=kind.rate_hz, row_px=kind.row_px)
    packets = _repeat(np.concatenate(list(make_stream(stream))))
    with open_sink(path, stream.sensor_size, kind.format, kind.compression) as sink:
        while path.stat().st_size < n_bytes:
            for events in islice(packets, _PACKETS_BETWEEN_LOOKS):
                sink.write(events)


def _read_in_child(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(path)], stdout=subprocess.PIPE, text=True, check=True
    )  # its warnings belong to the user
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _be_child(path: Path) -> None:
    n_events = count_events(path)
    print(json.dumps({"bytes": path.stat().st_size, "events": n_events, "peak_mb": round(_peak_bytes() / 1e6, 1)}))


def _peak_bytes() -> int:
    """Peak of this process; the system's own number counts the parent's as well where it can be had no other way."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=Path)
    parser.add_argument("--formats", nargs="*", choices=list(_KINDS), default=list(_KINDS))
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _be_child(arguments.child)
        return
    result: dict[str, Any] = {"machine": describe_machine(), "formats": {}}
    result["commit"] = commit()
    for name in arguments.formats:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            result["formats"][name] = measure(name, Path(folder), arguments.gigabytes)
    print(json.dumps({name: row["peak_mb_at_10_gb"] for name, row in result["formats"].items()}))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + os.linesep)


if __name__ == "__main__":
    main()
