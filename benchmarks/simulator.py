"""How long do training clips take to make? Clips of the simulator on each core, one after another.

`python benchmarks/simulator.py [--people 4] [--out benchmarks/results/simulator.json]`. Processor time of one core; what else
runs on the machine is not counted, though it slows caches and clocks.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from provenance import commit

from app.bench.timing import describe_machine
from pipeline.simulator import GESTURES, simulate_clip
from pipeline.simulator.clips import CLIP_US

_FIRST_SEED = 700_000
# What the project wants of a machine with two cores: so many clips within an hour.
_WANTED_CLIPS, _CORES = 5_000, 2


def measure(n_people: int) -> dict[str, Any]:
    """Seconds of processor time of each clip, after one that compiles."""
    simulate_clip(GESTURES[0], _FIRST_SEED, duration_us=20_000)
    times_s, n_events = [], 0
    for seed in range(_FIRST_SEED, _FIRST_SEED + n_people):
        for gesture in GESTURES:
            begun = time.process_time()
            n_events += len(simulate_clip(gesture, seed))
            times_s.append(time.process_time() - begun)
    mean_s = statistics.mean(times_s)
    return {
        "clips": len(times_s),
        "clip_s": CLIP_US / 1e6,
        "mean_s": round(mean_s, 3),
        "median_s": round(statistics.median(times_s), 3),
        "slowest_s": round(max(times_s), 3),
        "clips_a_second_and_core": round(1.0 / mean_s, 2),
        "mev_s": round(n_events / sum(times_s) / 1e6, 2),
        f"minutes_for_{_WANTED_CLIPS}_clips_on_{_CORES}_cores": round(_WANTED_CLIPS * mean_s / _CORES / 60.0, 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps({**measure(arguments.people), "machine": describe_machine(), "commit": commit()}, indent=1)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
