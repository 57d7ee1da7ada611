"""Commands that measure this machine: bench."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pipeline.schema.errors import UsageError


def bench(
    what: Literal["decode", "bin"],
    *files: Path,
    kinds: tuple[str, ...] = (),
    events: int = 10_000_000,
    repeats: int = 5,
    json: bool = False,
) -> int:
    """Measure this machine, on one core, against its own limits found in the same run.

    Parameters
    ----------
    what
        decode: recordings of every kind, read from end to end. bin: events counted into spike frames.
    files
        Recordings to decode instead of those made for the purpose.
    kinds
        Only these kinds of recordings, such as evt3-sparse.
    events
        How many events to make.
    repeats
        How often each is measured.
    json
        Print one JSON object.
    """
    from app.bench.timing import describe_machine

    if events < 1 or repeats < 1:
        raise UsageError(f"{events} events measured {repeats} times; both must be at least 1")
    if what == "bin" and (files or kinds):
        raise UsageError("bench bin makes its own events; leave files and --kinds out")
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    for row in _rows(what, files, kinds, (events, repeats)):
        if not (json or rows):
            print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; one core is used")
            print(_LINE.format("", "Mev/s", "spread", "limit Mev/s", "of limit"))
        rows.append(row)
        if not json:
            spread = f"{row['spread_s'] / row['median_s']:.0%}"
            print(_LINE.format(row["name"], row["mev_s"], spread, row["limit_mev_s"], f"{row['share_of_limit']:.0%}"))
    if json:
        print(json_module.dumps({"what": what, "repeats": repeats, "machine": machine, "rows": rows}))
    return 0


_LINE = "{:32} {:>8} {:>8} {:>12} {:>9}"


def _rows(what: str, files: tuple[Path, ...], kinds: tuple[str, ...], amount: tuple[int, int]) -> Iterator[dict[str, Any]]:
    n_events, repeats = amount
    if what == "bin":
        from app.bench.binning import measure

        yield measure(n_events, repeats)
        return
    from app.bench.decode import measure_file, measure_kinds

    if files:
        yield from (measure_file(path.name, path, repeats) for path in files)
    else:
        yield from measure_kinds(kinds, n_events, repeats)
