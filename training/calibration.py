"""Does the simulator look like a camera? `python -m training.calibration --data FOLDER` compares statistics of their events.

The real clips are pooled: their labels are not read, and no network sees them. `--out` and `--picture` leave the figures
and a drawing; those of the project are benchmarks/results/calibration.json and docs/images/calibration.svg.
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError, SaccadeError
from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.simulator import DVS128, EVERYTHING, GESTURES, Variation, simulate_clip

# Seeds of the simulated people, beyond those of training and of the shipped recordings.
FIRST_SEED = 800_000
CLIP_US = 1_000_000
_BIN_US = 25_000
# An event is alone if none of the nine pixels around it sent one in the 10 ms before.
_ALONE_US = 10_000
_FILE = "dvs128_gesture_first_1s.npz"
_NEVER_US = -(1 << 40)

STATISTICS = {
    "rate_khz": "thousand events a second",
    "on_share": "share of ON events",
    "gap_10_ms": "time between events of a pixel, 10th percentile, ms",
    "gap_50_ms": "the same, median",
    "gap_90_ms": "the same, 90th percentile",
    "spread_x_px": "standard deviation of x, pixels",
    "spread_y_px": "standard deviation of y, pixels",
    "middle_x_px": "mean of x, pixels",
    "middle_y_px": "mean of y, pixels",
    "active_share": "share of pixels with events in 25 ms, median",
    "busy_share": "share of pixels with more than 5 events a second",
    "busiest_events": "events of a pixel in a second, 99th percentile",
    "modulation": "rate in 25 ms, standard deviation over mean",
    "rhythm": "rate in 25 ms, highest autocorrelation at 0.2 to 0.6 s",
    "alone_share": "share of events that are alone",
}


@njit(cache=True, nogil=True)
def _count_alone(t: npt.NDArray[np.int64], x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], last_us: Any) -> int:
    """Events without any in the nine pixels around in the time before; `last_us` (H + 2, W + 2) is the last of each pixel."""
    n_alone = 0
    for index in range(len(t)):
        row, column = y[index] + 1, x[index] + 1
        if t[index] - last_us[row - 1 : row + 2, column - 1 : column + 2].max() > _ALONE_US:
            n_alone += 1
        last_us[row, column] = t[index]
    return n_alone


def describe_events(events: Events, sensor_size: SensorSize = DVS128) -> dict[str, float]:
    """The figures of `STATISTICS` for events with t in [0, CLIP_US)."""
    t, x, y = (events[name].astype(np.int64) for name in ("t", "x", "y"))
    n_pixels = sensor_size.width * sensor_size.height
    pixel = y * sensor_size.width + x
    order = np.lexsort((t, pixel))
    gaps_ms = np.diff(t[order])[np.diff(pixel[order]) == 0] / 1000.0
    n_bins = CLIP_US // _BIN_US
    rate = np.bincount(t // _BIN_US, minlength=n_bins).astype(np.float64)
    active = np.unique((t // _BIN_US) * n_pixels + pixel) // n_pixels
    per_pixel = np.bincount(pixel, minlength=n_pixels)
    last_us = np.full((sensor_size.height + 2, sensor_size.width + 2), _NEVER_US)
    gap_10, gap_50, gap_90 = np.percentile(gaps_ms, (10, 50, 90))
    figures = {
        "rate_khz": len(events) / (CLIP_US / 1000.0),
        "on_share": events["p"].mean(),
        "gap_10_ms": gap_10,
        "gap_50_ms": gap_50,
        "gap_90_ms": gap_90,
        "spread_x_px": x.std(),
        "spread_y_px": y.std(),
        "middle_x_px": x.mean(),
        "middle_y_px": y.mean(),
        "active_share": np.median(np.bincount(active, minlength=n_bins)) / n_pixels,
        "busy_share": (per_pixel > 5).mean(),
        "busiest_events": np.percentile(per_pixel, 99),
        "modulation": rate.std() / rate.mean(),
        "rhythm": _rhythm(rate),
        "alone_share": _count_alone(t, x, y, last_us) / len(events),
    }
    return {name: float(value) for name, value in figures.items()}


def _rhythm(rate: npt.NDArray[np.float64]) -> float:
    """Highest autocorrelation of the rate, (n_bins,), at lags of 0.2 to 0.6 s; 0 where it does not change."""
    found = []
    for lag in range(200_000 // _BIN_US, 600_000 // _BIN_US + 1):
        before, after = rate[:-lag] - rate[:-lag].mean(), rate[lag:] - rate[lag:].mean()
        size = float(np.sqrt((before @ before) * (after @ after)))
        found.append(float(before @ after) / size if size > 0.0 else 0.0)
    return max(found)


def read_real(folder: Path) -> list[Events]:
    """The real clips in `folder`, without their labels, in an order that says nothing of them; InputError if there are none."""
    paths = sorted(folder.rglob(_FILE)) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no {_FILE} there or below")
    with np.load(paths[0], allow_pickle=False) as file:
        columns = [file[name] for name in ("t", "x", "y", "p")]
        offsets = file["offsets"]
    clips = []
    for start, end in itertools.pairwise(offsets):
        t, x, y, p = (column[start:end] for column in columns)
        events = make_events(t, x, y, p)
        events = events[np.argsort(events["t"], kind="stable")]
        clips.append(events[events["t"] < CLIP_US])
    return [clips[index] for index in np.random.default_rng(0).permutation(len(clips))]


def simulated(n_people: int, variation: Variation = EVERYTHING) -> Iterable[Events]:
    """Clips of all gestures, each of people of its own."""
    for person in range(n_people):
        for index, gesture in enumerate(GESTURES):
            seed = FIRST_SEED + person * len(GESTURES) + index
            yield simulate_clip(gesture, seed, duration_us=CLIP_US, variation=variation)


def compare(real: Sequence[dict[str, float]], made: Sequence[dict[str, float]]) -> dict[str, Any]:
    """For each statistic: real least, median and most; simulated 10th, 50th and 90th percentile; real ones between these."""
    rows = {}
    for name in STATISTICS:
        ours = np.array([figures[name] for figures in made])
        theirs = np.array([figures[name] for figures in real])
        low, middle, high = np.percentile(ours, (10, 50, 90))
        rows[name] = {
            "real": [round(float(value), 4) for value in sorted(theirs)],
            "real_median": round(float(np.median(theirs)), 4),
            "simulated_10": round(float(low), 4),
            "simulated_50": round(float(middle), 4),
            "simulated_90": round(float(high), 4),
            "real_within": int(((theirs >= low) & (theirs <= high)).sum()),
            "real_median_within": bool(low <= np.median(theirs) <= high),
        }
    return rows


def print_table(rows: dict[str, Any]) -> None:
    """The comparison, a statistic a line, as Markdown."""
    print("| | real: least, median, most | simulated: 10 %, median, 90 % | real within |")
    print("|---|---|---|---|")
    for name, row in rows.items():
        real = row["real"]
        print(
            f"| {STATISTICS[name]} | {real[0]:.3g}, {row['real_median']:.3g}, {real[-1]:.3g} | "
            f"{row['simulated_10']:.3g}, {row['simulated_50']:.3g}, {row['simulated_90']:.3g} | "
            f"{row['real_within']} of {len(real)} |"
        )


def main() -> None:
    """Read the command line, compare, write."""
    parser = argparse.ArgumentParser(prog="python -m training.calibration", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {_FILE} in it or below")
    parser.add_argument("--people", type=int, default=8, help="simulated people for each gesture")
    parser.add_argument("--out", type=Path, help="where the figures go (JSON)")
    parser.add_argument("--picture", type=Path, help="where the drawing goes (SVG)")
    arguments = parser.parse_args()
    try:
        real = read_real(arguments.data)
    except SaccadeError as error:
        parser.exit(error.exit_code, f"{error}\n")
    made = list(simulated(arguments.people))
    rows = compare([describe_events(events) for events in real], [describe_events(events) for events in made])
    print_table(rows)
    if arguments.out is not None:
        result = {"n_real": len(real), "n_simulated": len(made), "first_seed": FIRST_SEED, "statistics": rows}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.picture is not None:
        from training.calibration_picture import draw_comparison

        arguments.picture.write_text(draw_comparison(rows, STATISTICS, made), encoding="utf-8")


if __name__ == "__main__":
    main()
