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

from pipeline.schema.errors import SaccadeError

_DEMO = Path(__file__).parents[2] / "recordings" / "demo.aedat4"
# Labels of the first bins tell of starting, not of running.
_WARM_LABELS = 5
_LONGEST_S = 600


def measure_streams(n_streams: int, repeats: int, recording: Path = _DEMO) -> dict[str, Any]:
    """Quantiles in milliseconds over all streams and replays, and how many bins came without a label."""
    labels: list[dict[str, Any]] = []
    n_missing = 0
    for _ in range(repeats):
        for stream in _replay_side_by_side(n_streams, recording):
            n_missing += stream[-1]["seq"] + 1 - len(stream)
            labels += stream[_WARM_LABELS:]
    stages = {stage: _quantiles([label["latency_ms"][stage] for label in labels]) for stage in ("queue", "infer", "total")}
    return {
        "name": f"{n_streams} streams at once",
        "p50_ms": stages["total"]["p50"],
        "p99_ms": stages["total"]["p99"],
        "stages_ms": stages,
        "labels": len(labels),
        "bins_without_label": n_missing,
        "bin_ms": (labels[0]["end_us"] - labels[0]["start_us"]) / 1000,
        "network": labels[0]["network"],
    }


def _replay_side_by_side(n_streams: int, recording: Path) -> list[list[dict[str, Any]]]:
    """The labels of each of `n_streams` replays at once; SaccadeError where one of them fails."""
    command = [sys.executable, "-m", "app", "replay", str(recording), "--json", "--speed", "1"]
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


def _labels(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == "label"]


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    return {"p50": round(float(np.quantile(values, 0.5)), 2), "p99": round(float(np.quantile(values, 0.99)), 2)}
