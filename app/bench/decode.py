"""How fast are recordings decoded? Each kind read whole, beside the least that this machine needs for as much."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from app.bench.recording import KINDS, write_recording
from app.bench.timing import one_core, read_and_fill, summarise, time_runs
from pipeline.schema.errors import InputError, UsageError
from pipeline.sources.registry import open_recording

Row = dict[str, Any]


def count_events(path: Path) -> int:
    """Decode a recording from end to end; how many events it held."""
    with open_recording(path) as source:
        # one packet at a time: no name holds on to one while the next is made
        return sum(map(len, source.packets()))


def measure_kinds(names: Sequence[str], n_events: int, repeats: int, folder: Path | None = None) -> Iterator[Row]:
    """One row for each kind of recording, made for the purpose below `folder` and taken away again."""
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise UsageError(f"no kind of recording is called {unknown[0]!r}; there are {', '.join(KINDS)}")
    for name in names or KINDS:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            yield measure_file(name, write_recording(name, Path(made), n_events), repeats)


def measure_file(name: str, path: Path, repeats: int) -> Row:
    """The row of one recording: rate, and the machine's limit as a share of the time taken."""
    n_events = count_events(path)
    if n_events == 0:
        raise InputError(f"{path} holds no events; take a recording that does")
    with one_core():
        decoding = summarise(time_runs(partial(count_events, path), repeats), n_events)
        limit = summarise(time_runs(partial(read_and_fill, path, n_events), repeats), n_events)
    share = limit["median_s"] / decoding["median_s"]
    return {
        "name": name,
        "bytes": path.stat().st_size,
        **decoding,
        "limit_mev_s": limit["mev_s"],
        "share_of_limit": round(share, 3),
    }
