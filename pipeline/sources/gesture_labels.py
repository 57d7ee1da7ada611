"""Labels of the DVS128 Gesture set: `NAME_labels.csv` beside `NAME.aedat`, and the lists that split the set by person.

A line of labels is `class,startTime_usec,endTime_usec`, the class from 1, times by the clock of the recording. Intervals may
overlap, and a class may come several times. Lists of recordings (`trials_to_train.txt`) have a file name on each line.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, empty_events

# In the order of the set's own numbers, which begin at 1.
GESTURE_CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
_ENDING = "_labels.csv"
_MAX_BYTES = 1 << 20
_N_FIELDS = 3


class LabelledInterval(NamedTuple):
    """A gesture done within `[start_us, end_us)` of sensor time; `label` is a name of `GESTURE_CLASSES`."""

    label: str
    start_us: int
    end_us: int


def labels_of(recording: Path) -> Path:
    """Where the labels of a recording are; they need not exist."""
    return recording.with_name(recording.stem + _ENDING)


def labelled_recordings(folder: Path) -> list[Path]:
    """The recordings of a folder that have labels beside them, by name; none if the folder is no such set."""
    found = (path for path in folder.iterdir() if path.is_file() and path.suffix != ".csv" and not path.name.startswith("."))
    return sorted(path for path in found if labels_of(path).is_file())


def read_gesture_labels(path: Path) -> tuple[LabelledInterval, ...]:
    """The intervals of a file of labels, in its order; InputError names the line that is none."""
    intervals = []
    for number, line in enumerate(_lines(path), start=1):
        fields = [field.strip() for field in line.split(",")]
        if number == 1 and not fields[0].isdigit():
            continue
        if len(fields) != _N_FIELDS or not all(field.isdigit() and len(field) < 19 for field in fields):
            raise InputError(f"{path}, line {number}: {line[:40]!r} is not class,startTime_usec,endTime_usec")
        gesture, start_us, end_us = (int(field) for field in fields)
        if not 1 <= gesture <= len(GESTURE_CLASSES) or end_us <= start_us:
            raise InputError(
                f"{path}, line {number}: {line[:40]!r} cannot be; classes are 1 to {len(GESTURE_CLASSES)}, gestures take time"
            )
        intervals.append(LabelledInterval(GESTURE_CLASSES[gesture - 1], start_us, end_us))
    return tuple(intervals)


def read_trials(path: Path) -> list[Path]:
    """The recordings that a list names, which lie beside it; InputError for one that does not."""
    beside = {found.name: found for found in path.parent.iterdir() if found.is_file()}
    names = _lines(path)
    missing = [name for name in names if name not in beside]
    if missing:
        raise InputError(f"{path} names {missing[0][:80]!r}, which does not lie beside it")
    return [beside[name] for name in names]


def gesture_clips(recording: Path) -> Iterator[tuple[str, Events]]:
    """Label and events of each interval of a recording that has labels beside it, in the order in which they end."""
    # the decoders bring a compiler along
    from pipeline.sources.registry import open_recording

    intervals = read_gesture_labels(labels_of(recording))
    with open_recording(recording) as source:
        for interval, events in cut_intervals(source.packets(), intervals):
            yield interval.label, events


def cut_intervals(
    packets: Iterable[Events], intervals: Iterable[LabelledInterval]
) -> Iterator[tuple[LabelledInterval, Events]]:
    """Each interval with its events, which may be none, as soon as it is over; in one pass, however intervals overlap."""
    open_intervals = [(interval, list[Events]()) for interval in sorted(intervals, key=lambda interval: interval.end_us)]
    for packet in packets:
        if packet.size == 0:
            continue
        last_us = int(packet["t"][-1])
        for interval, pieces in open_intervals:
            first, last = np.searchsorted(packet["t"], (interval.start_us, interval.end_us))
            if first < last:
                pieces.append(packet[first:last])
        while open_intervals and open_intervals[0][0].end_us <= last_us:
            interval, pieces = open_intervals.pop(0)
            yield interval, _joined(pieces)
    for interval, pieces in open_intervals:
        yield interval, _joined(pieces)


def _joined(pieces: list[Events]) -> Events:
    return np.concatenate(pieces) if pieces else empty_events()


def _lines(path: Path) -> list[str]:
    """The lines of a small text file that are not blank; InputError if it cannot be read."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is larger than any file of labels")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
