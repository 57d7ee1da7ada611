"""Write the recordings that are shipped with the program, and their manifest: `python -m training.make_recordings`.

Everything is computed by the simulator from one seed. Knows which recordings there are, not how events or files are made.
"""

import argparse
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import Events
from pipeline.simulator import DVS128, GESTURES, Act, plan_show, play_show, simulate_clip
from pipeline.sinks.registry import open_sink
from pipeline.sources.registry import open_recording

# Far from the seeds that training counts up from 0, so that the people of the recordings are strangers to a trained network.
# A camera with little noise was chosen, for the files shall be small.
DEFAULT_SEED = 900_011
# What other gestures are differs from time to time, so they are no part of a demo.
DEMO_GESTURES = GESTURES[:-1]
DEMO_GESTURE_US = 1_350_000
DEMO_PAUSE_US = 300_000
CLIP_US = 1_500_000


@dataclass(frozen=True, slots=True)
class Segment:
    """What is seen in `[start_us, end_us)`: a gesture, or `nothing`."""

    label: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One file to write: its name, the writer's name for its format, the events and what they show."""

    name: str
    format: str
    events: Events
    segments: tuple[Segment, ...]


def make_recordings(seed: int) -> tuple[Recording, ...]:
    """Make all shipped recordings: a demo of the ten named gestures in AEDAT 4, and a clip each in AEDAT 2.0 and 3.1."""
    acts = list(
        itertools.islice(
            plan_show(DEMO_GESTURES, seed, gesture_us=DEMO_GESTURE_US, pause_us=DEMO_PAUSE_US), 2 * len(DEMO_GESTURES)
        )
    )
    demo = np.concatenate(list(play_show(acts, seed)))
    clapping = simulate_clip("hand_clapping", seed + 1, duration_us=CLIP_US)
    rolling = simulate_clip("arm_roll", seed + 2, duration_us=CLIP_US)
    return (
        Recording("demo.aedat4", "aedat4", demo, lay_out(acts)),
        Recording("hand_clapping.aedat", "aedat2", clapping, (Segment("hand_clapping", 0, CLIP_US),)),
        Recording("arm_roll_aedat3.aedat", "aedat3", rolling, (Segment("arm_roll", 0, CLIP_US),)),
    )


def lay_out(acts: Sequence[Act]) -> tuple[Segment, ...]:
    """Where in time each act lies, the first from 0."""
    ends_us = list(itertools.accumulate(act.duration_us for act in acts))
    return tuple(
        Segment(act.gesture or "nothing", end_us - act.duration_us, end_us) for act, end_us in zip(acts, ends_us, strict=True)
    )


def digest_events(events: Events) -> str:
    """Digest (sha256, hex) of events in any format: columns t (int64), x, y (uint16), p (uint8), little-endian, in turn."""
    digest = hashlib.sha256()
    for field, kind in (("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")):
        digest.update(np.ascontiguousarray(events[field], dtype=kind).tobytes())
    return digest.hexdigest()


def write_recordings(recordings: Sequence[Recording], folder: Path) -> None:
    """Write the files, and `manifest.toml` beside them; older ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for recording in recordings:
        path = folder / recording.name
        path.unlink(missing_ok=True)
        # the tighter of the two compressions that AEDAT 4 knows; the other formats know none
        compression = "zstd" if recording.format == "aedat4" else None
        with open_sink(path, DVS128, format=recording.format, compression=compression) as sink:
            sink.write(recording.events)
        entries.append(describe(recording, path))
    (folder / "manifest.toml").write_text("\n".join(entries), encoding="utf-8")


def describe(recording: Recording, path: Path) -> str:
    """Entry of one written file in the manifest, TOML."""
    events = recording.events
    with open_recording(path) as source:
        info = source.info
    lines = [
        "[[recording]]",
        f'path = "{recording.name}"',
        f'format = "{info.format}"',
        f'encoding = "{info.encoding}"',
        f"width = {info.sensor_size.width}",
        f"height = {info.sensor_size.height}",
        f"events = {len(events)}",
        f"on_events = {int(events['p'].sum())}",
        f"first_us = {events['t'][0]}",
        f"last_us = {events['t'][-1]}",
        f"n_bytes = {path.stat().st_size}",
        f'file_sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"',
        f'events_sha256 = "{digest_events(events)}"',
        "segments = [",
        *(
            f'    {{ label = "{segment.label}", start_us = {segment.start_us}, end_us = {segment.end_us} }},'
            for segment in recording.segments
        ),
        "]",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Read the command line and write the recordings."""
    parser = argparse.ArgumentParser(prog="python -m training.make_recordings", description=__doc__)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="what everything is computed from")
    parser.add_argument("--out", type=Path, default=Path("recordings"), help="folder to write into")
    arguments = parser.parse_args()
    try:
        write_recordings(make_recordings(arguments.seed), arguments.out)
    except SaccadeError as error:
        parser.exit(error.exit_code, f"{error}\n")
    total = sum(path.stat().st_size for path in arguments.out.glob("*.aedat*"))
    print(f"wrote {arguments.out}: {total / 1e6:.1f} MB of recordings")


if __name__ == "__main__":
    main()
