"""How long from a closed bin to its published label? A recording at its own pace, in real processes.

Capture and inference are processes of their own, as in `saccade replay`; several streams run side by side, each with its own.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.bench.pauses import Pause, PauseWatch
from pipeline.schema.clock import NS_PER_MS
from pipeline.schema.errors import SaccadeError

_DEMO = Path(__file__).parents[2] / "recordings" / "demo.aedat4"
# Labels of the first bins tell of starting, not of running.
_WARM_LABELS = 5
_LONGEST_S = 900
# A label that came so much later than its bin was closed is one that somebody waits for.
LATE_MS = 15.0
# What a pause of the machine held up is worked off within so much after it.
_AFTER_NS = 250 * NS_PER_MS

Label = dict[str, Any]


def measure_streams(n_streams: int, repeats: int, recording: Path = _DEMO, network: str = "default") -> dict[str, Any]:
    """Quantiles in milliseconds over all streams and replays, bins that came without a label, and pauses of the machine."""
    labels: list[Label] = []
    n_missing = 0
    with PauseWatch() as watch:
        for _ in range(repeats):
            for stream in _replay_side_by_side(n_streams, recording, network):
                n_missing += stream[-1]["seq"] + 1 - len(stream)
                labels += stream[_WARM_LABELS:]
    stages = {stage: _quantiles([label["latency_ms"][stage] for label in labels]) for stage in ("queue", "infer", "total")}
    return {
        "name": f"{n_streams} streams at once",
        "p50_ms": stages["total"]["p50"],
        "p99_ms": stages["total"]["p99"],
        "longest_ms": round(max(label["latency_ms"]["total"] for label in labels), 2),
        "stages_ms": stages,
        "labels": len(labels),
        "bins_without_label": n_missing,
        **_told_of_pauses(labels, watch),
        "bin_ms": (labels[0]["end_us"] - labels[0]["start_us"]) / 1000,
        "network": labels[0]["network"],
    }


def _told_of_pauses(labels: Sequence[Label], watch: PauseWatch) -> dict[str, Any]:
    """Labels later than `LATE_MS`, how many of them waited while the machine stood still or just after, and all the others."""
    waits = [(label["latency_ms"]["total"], was_held_up(label, watch.pauses)) for label in labels]
    others = [wait for wait, is_held in waits if not is_held]
    return {
        "late_labels": sum(wait > LATE_MS for wait, _ in waits),
        "late_labels_beside_pauses": sum(wait > LATE_MS for wait, is_held in waits if is_held),
        "labels_beside_pauses": len(waits) - len(others),
        "p99_ms_beside_no_pause": _quantiles(others)["p99"] if others else None,
        "pauses_of_the_machine": len(watch.pauses),
        "longest_pause_ms": round(max((pause.ms for pause in watch.pauses), default=0.0), 1),
        "pauses_seen_in_real_time": watch.is_realtime,
    }


def was_held_up(label: Label, pauses: Sequence[Pause]) -> bool:
    """Whether a core stood still while the label was waited for, or shortly before."""
    published_ns = label["host_ns"]
    closed_ns = published_ns - label["latency_ms"]["total"] * NS_PER_MS
    return any(pause.start_ns <= published_ns and closed_ns <= pause.end_ns + _AFTER_NS for pause in pauses)


def _replay_side_by_side(n_streams: int, recording: Path, network: str) -> list[list[Label]]:
    """The labels of each of `n_streams` replays at once; SaccadeError where one of them fails."""
    command = [sys.executable, "-m", "app", "replay", str(recording), "--json", "--speed", "1", "--network", network]
    with tempfile.TemporaryDirectory() as folder:
        # files, for a pipe that nobody reads would hold the stream up
        paths = [Path(folder) / f"{i}.jsonl" for i in range(n_streams)]
        processes = []
        for path in paths:
            with path.open("wb") as file:
                processes.append(subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL))
        codes = [process.wait(_LONGEST_S) for process in processes]
        streams = [_labels(path) for path in paths]
    if any(codes) or not all(len(stream) > _WARM_LABELS for stream in streams):
        raise SaccadeError(f"{recording}: replays ended with {codes} after {[len(stream) for stream in streams]} labels")
    return streams


def _labels(path: Path) -> list[Label]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == "label"]


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    return {"p50": round(float(np.quantile(values, 0.5)), 2), "p99": round(float(np.quantile(values, 0.99)), 2)}
