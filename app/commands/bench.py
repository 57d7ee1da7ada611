"""Commands that measure this machine: bench."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pipeline.schema.errors import UsageError


def bench(
    what: Literal["decode", "bin", "neuron", "step", "stream"],
    *files: Path,
    kinds: tuple[str, ...] = (),
    events: int = 10_000_000,
    repeats: int = 5,
    device: Literal["cpu", "cuda"] = "cpu",
    streams: int = 1,
    json: bool = False,
) -> int:
    """Measure this machine against its own limits found in the same run; decode and bin on one core.

    Parameters
    ----------
    what
        decode: recordings of every kind, read from end to end. bin: events counted into spike frames. neuron: the LIF
        neuron, forward and backward, beside copying as many bytes. step: one bin of a network, beside the dense matrix
        products that it stands for. stream: from a closed bin to its label, capture and inference in processes of their own.
    files
        Recordings to decode instead of those made for the purpose.
    kinds
        Only these kinds of recordings, such as evt3-sparse.
    events
        How many events to make; for neuron, how many currents (neurons times bins).
    repeats
        How often each is measured.
    device
        Where neurons or a network run. stream on cuda is all streams in one batch, without processes of their own.
    streams
        How many streams go side by side in stream.
    json
        Print one JSON object.
    """
    from app.bench.timing import describe_machine

    if events < 1 or repeats < 1 or streams < 1:
        raise UsageError(f"{events} events, {repeats} times, {streams} streams; each must be at least 1")
    if what != "decode" and (files or kinds):
        raise UsageError(f"bench {what} makes its own events; leave files and --kinds out")
    if what in ("decode", "bin") and device != "cpu":
        raise UsageError(f"bench {what} measures the CPU; leave --device out")
    if what in ("step", "stream"):
        return _print_times(what, repeats, streams, device, json=json)
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    found = _neurons(events, repeats, device) if what == "neuron" else _rows(what, files, kinds, (events, repeats))
    for row in found:
        if not (json or rows):
            used = "" if what == "neuron" else "; one core is used"
            print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}{used}")
            print(_LINE.format("", *(("GB/s", "spread", "copy GB/s", "of copy") if what == "neuron" else _HEAD)))
        rows.append(row)
        if not json:
            print(_LINE.format(row["name"], *_figures(row)))
    if json:
        print(json_module.dumps({"what": what, "repeats": repeats, "machine": machine, "rows": rows}))
    return 0


_LINE = "{:44} {:>8} {:>8} {:>12} {:>9}"
_HEAD = ("Mev/s", "spread", "limit Mev/s", "of limit")


def _figures(row: dict[str, Any]) -> tuple[object, ...]:
    """Rate, spread, limit and share of one row, of events or of bytes."""
    if "gb_s" in row:
        return row["gb_s"], f"{row['spread_ms'] / row['median_ms']:.0%}", row["copy_gb_s"], f"{row['share_of_copy']:.0%}"
    return row["mev_s"], f"{row['spread_s'] / row['median_s']:.0%}", row["limit_mev_s"], f"{row['share_of_limit']:.0%}"


def _print_times(what: str, repeats: int, n_streams: int, device: str, *, json: bool) -> int:
    """One bin, or one stream: a single object, in lines where it is not asked for as JSON."""
    from app.bench.timing import describe_machine

    machine = describe_machine()
    if device == "cuda":
        from app.bench.gpu import measure_step_on_gpu, measure_streams_on_gpu

        found = measure_step_on_gpu(repeats) if what == "step" else measure_streams_on_gpu(n_streams, repeats)
    elif what == "step":
        from app.bench.step import measure_step

        found = measure_step(repeats)
    else:
        from app.bench.latency import measure_streams

        found = measure_streams(n_streams, repeats)
    if json:
        print(json_module.dumps({"what": what, "repeats": repeats, **found, "machine": machine}))
        return 0
    print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; {found['name']}")
    for name, value in found.items():
        if name != "name":
            print(f"{name:20} {value}")
    return 0


def _neurons(n_currents: int, repeats: int, device: str) -> Iterator[dict[str, Any]]:
    from app.bench.neuron import measure_all

    yield from measure_all(n_currents, repeats, device)


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
