"""Tables of docs/results.md about files: decoding and binning beside other programs, and memory on large recordings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def decode_rows(results: Path) -> Iterator[str]:
    """What `benchmarks/decode.py` found; nothing where it has not been run."""
    path = results / "decode.json"
    if not path.is_file():
        return
    result = json.loads(path.read_text())
    machine = result["machine"]
    yield ""
    yield "## Files, one core, beside other programs"
    yield ""
    yield (
        f"`make bench`: {result['events'] / 1e6:g} M events of 640x480 pixels a file, {result['rounds']} rounds in which all "
        f"programs take turns, seconds of processor time; {machine['processor']}, {machine['cores']} cores at load "
        f"{machine['load']} when it began, {machine['date']}, {result['commit']}. Ratios are paired by round; a rate from a "
        "busy machine is lower than from an idle one, a ratio hardly. Spread: the slowest round less the fastest, in per cent."
    )
    yield ""
    titles = ["recording", "bytes an event", "Mev/s", "spread", "fastest peer (Mev/s)", "times faster"]
    titles += ["into frames of 10 ms, Mev/s", "share"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name, row in result["formats"].items():
        ours, frames = row["ours"], row["frames"]
        yield (
            f"| {name} | {row['bytes'] / ours['events']:.1f} | {ours['mev_s']:.0f} | {_spread(ours)} | {_peer(row)} | "
            f"{frames['mev_s']:.0f} | {frames['share_of_decode']:.0%} |"
        )
    if "binning" in result:
        row = result["binning"]
        yield f"| events in memory into frames | | {row['ours']['mev_s']:.0f} | {_spread(row['ours'])} | {_peer(row)} | | |"
    yield ""
    for name, row in result["formats"].items():
        for peer, found in row["peers"].items():
            if "wrong" in found:
                yield f"- {name}: {peer} is left out, it finds {found['wrong']}."


def _spread(summary: dict[str, Any]) -> str:
    return f"{summary['spread_s'] / summary['median_s']:.0%}"


def _peer(row: dict[str, Any]) -> str:
    if "fastest_peer" not in row:
        return "none reads it | "
    peer = row["fastest_peer"]
    return f"{peer} ({row['peers'][peer]['mev_s']:.0f}) | **{row['times_faster']:.2f}**"


def memory_rows(results: Path) -> Iterator[str]:
    """What `benchmarks/memory.py` found; nothing where it has not been run."""
    path = results / "memory.json"
    if not path.is_file():
        return
    result = json.loads(path.read_text())
    yield ""
    yield "## Memory, however large the file"
    yield ""
    yield (
        f"`python benchmarks/memory.py`, {result['machine']['date']}, {result['commit']}: peak resident memory of a fresh "
        "process that reads the whole file, Python and its libraries included; the last column is the straight line through "
        "the others."
    )
    yield ""
    formats = result["formats"]
    sizes = [round(row["bytes"] / (1 << 30), 2) for row in next(iter(formats.values()))["rows"]]
    yield "| recording | " + " | ".join(f"{size:g} GB" for size in sizes) + " | 10 GB (extrapolated) |"
    yield "|---" * (len(sizes) + 2) + "|"
    for name, row in formats.items():
        peaks = " | ".join(f"{found['peak_mb']:.0f} MB" for found in row["rows"])
        yield f"| {name} | {peaks} | **{row['peak_mb_at_10_gb']:.0f} MB** |"
