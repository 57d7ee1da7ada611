"""How many events a second does each filter take on one core? 640 x 480 pixels, packets of 64 Ki events, against a plain copy.

`python benchmarks/filters.py [--json] [--events N] [--repeats N]`: median and spread over repeated runs of millions of events a
second, and the median as a share of what a copy of the same packets (16 bytes an event) reaches in the same run. CPU time is
taken, so that other programs on the machine disturb less.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from pipeline.filters import FilterChain, parse_filters
from pipeline.schema.events import EVENT_DTYPE, Events, SensorSize, make_events

SENSOR = SensorSize(640, 480)
PACKET_EVENTS = 1 << 16
RATE_HZ = 10_000_000
FILTERS = (
    "flip-x", "transpose", "rotate=90", "roi=160,120,320x240", "roni=160,120,320x240", "mask=1:2,30:4", "polarity=on",
    "polarity=invert", "hot-pixels=100ms", "background=2ms", "refractory=1ms", "downsample=2", "rate=5M",
)  # fmt: skip


def make_scene(n: int, seed: int = 0) -> Events:
    """Eight blobs that circle, nine tenths of the events theirs and one tenth noise, at `RATE_HZ`."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, n * 1_000_000 // RATE_HZ, n))
    blob = rng.integers(0, 8, n)
    phase = t * 2e-6 * np.pi * (0.5 + 0.2 * blob) + blob
    x = SENSOR.width * (0.5 + 0.35 * np.cos(phase)) + rng.normal(0, 12, n)
    y = SENSOR.height * (0.5 + 0.35 * np.sin(1.3 * phase)) + rng.normal(0, 12, n)
    is_noise = rng.random(n) < 0.1
    x = np.where(is_noise, rng.integers(0, SENSOR.width, n), x.clip(0, SENSOR.width - 1))
    y = np.where(is_noise, rng.integers(0, SENSOR.height, n), y.clip(0, SENSOR.height - 1))
    return make_events(t, x.astype(np.uint16), y.astype(np.uint16), rng.integers(0, 2, n))


def timed(run: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def copy_packets(packets: list[Events]) -> None:
    """What no filter can be faster than."""
    target = np.empty(PACKET_EVENTS * EVENT_DTYPE.itemsize, np.uint8)
    for packet in packets:
        source = packet.view(np.uint8)
        target[: source.size] = source


def filter_packets(packets: list[Events], chain: FilterChain) -> None:
    """The whole stream through a chain that begins anew."""
    states = chain.start(SENSOR)
    for packet in packets:
        _, states = chain.apply(packet, states)


def main() -> None:
    """Measure and print; the runs of all filters take turns, so that a slow moment of the machine hits them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    events = make_scene(arguments.events)
    packets = [events[i : i + PACKET_EVENTS] for i in range(0, events.size, PACKET_EVENTS)]
    chains = {text: parse_filters([text]) for text in FILTERS}
    times: dict[str, list[float]] = {"copy": [], **{text: [] for text in FILTERS}}
    for chain in chains.values():
        filter_packets(packets[:1], chain)
    for _ in range(arguments.repeats):
        times["copy"].append(timed(lambda: copy_packets(packets)))
        for text, chain in chains.items():
            times[text].append(timed(lambda chain=chain: filter_packets(packets, chain)))
    rows = {}
    for text, seconds in times.items():
        rates = [events.size / 1e6 / second for second in seconds]
        median = statistics.median(rates)
        share = statistics.median(times["copy"]) / statistics.median(seconds)
        rows[text] = {"mev_s": round(median, 1), "spread": round(max(rates) - min(rates), 1), "share_of_copy": round(share, 3)}
    if arguments.json:
        print(json.dumps({"events": events.size, "packet_events": PACKET_EVENTS, "rows": rows}))
        return
    print(
        f"{events.size} events of {SENSOR.width}x{SENSOR.height}, {RATE_HZ / 1e6:g} million a second, {arguments.repeats} runs"
    )
    for text, row in rows.items():
        print(f"{text:22s} {row['mev_s']:8.1f} Mev/s +-{row['spread']:6.1f} {row['share_of_copy']:6.1%} of the copy")


if __name__ == "__main__":
    main()
