"""Does a stream hold short bins for minutes? `python benchmarks/endurance.py [--seconds 300] [--bin-ms 10] [--out FILE]`.

The shipped recording, repeated, at its own pace through the shipped recogniser with shorter bins than it was trained on (what
it answers does not matter here), capture and inference in processes of their own. Beside the quantiles stands when the machine
itself stood still, so that its pauses and ours can be told apart.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from provenance import ROOT, commit, leave

from app.bench.latency import measure_streams
from app.bench.timing import describe_machine
from models.checkpoint import load_checkpoint, save_checkpoint
from pipeline.schema.clock import US_PER_S
from pipeline.schema.events import SensorSize, make_events
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

_DEMO = ROOT / "recordings" / "demo.aedat4"


def write_repeated(path: Path, seconds: int) -> None:
    """The shipped recording again and again, for `seconds` of sensor time."""
    with open_recording(_DEMO) as source:
        size: SensorSize = source.info.sensor_size
        packets = [packet for packet in source.packets() if len(packet)]
    first_us = int(packets[0]["t"][0])
    once_us = int(packets[-1]["t"][-1]) + 1 - first_us
    with open_sink(path, size) as sink:
        for round_ in range(-(-seconds * US_PER_S // once_us)):
            for packet in packets:
                t = packet["t"] - first_us + round_ * once_us
                kept = t < seconds * US_PER_S
                sink.write(make_events(t[kept], packet["x"][kept], packet["y"][kept], packet["p"][kept]))


def measure(seconds: int, bin_ms: int) -> dict[str, Any]:
    """One long replay with bins of `bin_ms`."""
    with tempfile.TemporaryDirectory() as folder:
        recording, checkpoint = Path(folder) / "repeated.aedat4", Path(folder) / "short_bins.safetensors"
        write_repeated(recording, seconds)
        network, info, _ = load_checkpoint("default")
        save_checkpoint(checkpoint, network, replace(info, delta_t_us=bin_ms * 1000))
        found = measure_streams(1, 1, recording, str(checkpoint))
    return {"seconds": seconds, "bins": seconds * 1000 // bin_ms, **found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--bin-ms", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    machine = describe_machine()
    leave({**measure(arguments.seconds, arguments.bin_ms), "machine": machine, "commit": commit()}, arguments.out)


if __name__ == "__main__":
    main()
