"""Does Saccade decode faster than its peers? Every kind of recording, in one run, on one core, in rounds that take turns.

`make bench-peers`, then `python benchmarks/decode.py [--out benchmarks/results/decode.json]`. Each library reads whole files in
a process of its own; a ratio is the median over the rounds of the peer's seconds by ours of the same round, so that a busy
machine hits both. A peer that finds another number of events is called wrong and left out of the comparison.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from provenance import commit

from app.bench.recording import KINDS, write_recording
from app.bench.stream import Stream, make_stream
from app.bench.timing import describe_machine, one_core, summarise

_HERE = Path(__file__).parent
_PEERS_PYTHON = _HERE.parent / ".venv-peers" / "bin" / "python"
# Peers by the writer's name of a format. expelliarmus is asked in both of its ways, the better one counts.
_PEERS: dict[str, tuple[str, ...]] = {
    "aedat2": ("evlib",),
    "aedat3": ("evlib",),
    "aedat4": ("faery", "dv_processing", "aedat", "evlib"),
    "evt2": ("faery", "expelliarmus", "expelliarmus_chunks", "evlib"),
    "evt21": ("evlib",),
    "evt3": ("faery", "expelliarmus", "expelliarmus_chunks", "evlib"),
    "dat": ("faery", "expelliarmus", "expelliarmus_chunks", "evlib"),
    "hdf5": ("evlib",),
    "es": ("faery", "event_stream"),
}
# A peer so much slower than the fastest in the first round is not asked again.
_HOPELESS = 3


class Reader:
    """One library in its own process."""

    def __init__(self, library: str) -> None:
        python = sys.executable if library.startswith("saccade") else str(_PEERS_PYTHON)
        command = [python, str(_HERE / "peers.py"), library]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def read(self, path: Path, encoding: str) -> dict[str, Any]:
        """What the library found in a file, and how long it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"path": str(path), "encoding": encoding}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"refused": "the process ended"}
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()


def compare(path: Path, encoding: str, libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Read one file with all libraries, Saccade first in the list: seconds of each round, and who could not."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        readers = {library: stack.enter_context(Reader(library)) for library in libraries}
        first = {library: reader.read(path, encoding) for library, reader in readers.items()}
        n_events = first[libraries[0]]["events"]
        for library, answer in first.items():
            if "refused" in answer:
                found[library] = answer
            elif answer["events"] != n_events:
                found[library] = {"wrong": f"{answer['events']} events instead of {n_events}"}
        running = [library for library in libraries if library not in found]
        second = {library: readers[library].read(path, encoding)["seconds"] for library in running}
        fastest = min((seconds for library, seconds in second.items() if not library.startswith("saccade")), default=0)
        for library in running:
            if second[library] > _HOPELESS * fastest and not library.startswith("saccade"):
                found[library] = {"mev_s": round(n_events / second[library] / 1e6, 1), "rounds": 1}
        running = [library for library in running if library not in found]
        times: dict[str, list[float]] = {library: [] for library in running}
        for number in range(rounds):
            for library in running[number % len(running) :] + running[: number % len(running)]:
                times[library].append(readers[library].read(path, encoding)["seconds"])
    return found | {library: summarise(seconds, n_events) | {"seconds": seconds} for library, seconds in times.items()}


def ratio(found: dict[str, Any], slow: str, fast: str) -> float:
    """How many times faster `fast` is than `slow`: the median over the rounds."""
    pairs = zip(found[slow]["seconds"], found[fast]["seconds"], strict=True)
    return round(float(statistics.median(a / b for a, b in pairs)), 3)


def conclude(found: dict[str, Any], ours: str, others: Sequence[str]) -> dict[str, Any]:
    """The result of one comparison as it is kept: ours, everybody else's, and the ratio to the fastest."""
    measured = [library for library in others if "seconds" in found[library]]
    result: dict[str, Any] = {"ours": found[ours], "peers": {library: found[library] for library in others}}
    if measured:
        fastest = min(measured, key=lambda library: float(found[library]["median_s"]))
        result |= {"fastest_peer": fastest, "times_faster": ratio(found, fastest, ours)}
    return result


def decode(names: Sequence[str], n_events: int, rounds: int) -> dict[str, Any]:
    """Every kind of recording: decoded by all who can, and by us into spike frames as well."""
    results = {}
    for name in names:
        kind = KINDS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = write_recording(name, Path(folder), n_events)
            peers = _PEERS[kind.format]
            found = compare(path, kind.format, ("saccade", "saccade_frames", *peers), rounds)
            result = {"bytes": path.stat().st_size, **conclude(found, "saccade", peers)}
            result["frames"] = found["saccade_frames"] | {"share_of_decode": ratio(found, "saccade", "saccade_frames")}
        results[name] = result
        _print(name, result)
    return results


def binning(n_events: int, rounds: int) -> dict[str, Any]:
    """Events in memory to spike frames, against tonic."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.npy"
        np.save(path, np.concatenate(list(make_stream(Stream(n_events)))))
        found = compare(path, "", ("saccade_bin", "tonic_to_frame"), rounds)
    result = conclude(found, "saccade_bin", ("tonic_to_frame",))
    _print("bin", result)
    return result


def _print(name: str, result: dict[str, Any]) -> None:
    ours = result["ours"]
    line = f"{name:14} {ours['mev_s']:7.1f} Mev/s"
    if "times_faster" in result:
        peer = result["fastest_peer"]
        line += f"   {result['times_faster']:5.2f} x {peer} ({result['peers'][peer]['mev_s']:.1f})"
    if "frames" in result:
        line += f"   into frames {result['frames']['mev_s']:.1f} ({result['frames']['share_of_decode']:.0%})"
    print(line, flush=True)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", nargs="*", choices=[*KINDS, "bin"], default=[*KINDS, "bin"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not _PEERS_PYTHON.exists():
        sys.exit("no environment of peers; make it with: make bench-peers")
    result: dict[str, Any] = {"events": arguments.events, "rounds": arguments.rounds, "commit": commit()}
    result["machine"] = describe_machine()
    with one_core():
        result["formats"] = decode([name for name in arguments.kinds if name != "bin"], arguments.events, arguments.rounds)
        if "bin" in arguments.kinds:
            result["binning"] = binning(arguments.events, arguments.rounds)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
