"""What a user waits for: start to first label, pace against sensor time, bin closed to label published.

`python benchmarks/stream.py [--repeats 3] [--out FILE]` replays the shipped recording in real processes and prints JSON.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from provenance import ROOT, commit, leave

from pipeline.schema.clock import NS_PER_MS, NS_PER_S, host_ns, wall_clock

_DEMO = ROOT / "recordings" / "demo.aedat4"


def replay(speed: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from start to the first label line, and all labels, of one replay."""
    command = [sys.executable, "-m", "app", "replay", str(_DEMO), "--json", "--speed", speed]
    begun = host_ns()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first_line = process.stdout.readline()
        waited_s = (host_ns() - begun) / NS_PER_S
        lines = [first_line, *process.stdout]
    return waited_s, [label for label in map(json.loads, lines) if label["type"] == "label"]


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(values)
    return {"p50": round(statistics.median(ordered), 2), "p99": round(ordered[int(0.99 * (len(ordered) - 1))], 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    waits, paces, labels = [], [], []
    for _ in range(arguments.repeats):
        waited_s, run = replay("1")
        waits.append(round(waited_s, 2))
        sensor_s = (run[-1]["end_us"] - run[0]["end_us"]) / 1e6
        paces.append(round((run[-1]["host_ns"] - run[0]["host_ns"]) / NS_PER_S / sensor_s, 5))
        labels += run
    _, fast = replay("max")
    seconds = (fast[-1]["host_ns"] - fast[0]["host_ns"]) / NS_PER_S
    result = {
        "first_label_s": waits,
        "host_time_over_sensor_time": paces,
        "latency_ms": {
            stage: quantiles([label["latency_ms"][stage] for label in labels]) for stage in ("queue", "infer", "total")
        },
        "bins_a_second_at_max": round((len(fast) - 1) / seconds, 1),
        "bins_in_order_and_none_missing": [label["seq"] for label in fast] == list(range(len(fast))),
        "network": fast[0]["network"],
        "bin_ms": (fast[0]["end_us"] - fast[0]["start_us"]) * 1000 / NS_PER_MS,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": os.getloadavg()[0],
        "commit": commit(),
        "date": wall_clock().date().isoformat(),
    }
    leave(result, arguments.out)


if __name__ == "__main__":
    main()
