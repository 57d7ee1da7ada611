"""Windows of a network's own classes, kept beside its checkpoint: what stands as rivals beside classes that are taught."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from models.checkpoint import find_checkpoint, load_checkpoint
from models.features import Counts, Vectors, answers_of, tap, windows_of
from models.prototypes import ClassExamples
from models.taught import MOST_OWN, OWN_ENDING, Taught, save_taught, thin
from pipeline.schema.errors import InputError


def keep_own(checkpoint: str, clips: Iterable[tuple[Counts, str]]) -> Path:
    """Look at labelled clips, counts (n_bins, 2, H, W) and class, and keep some windows of each own class; gives the new file.

    Clips of other classes are passed over; InputError when none is left.
    """
    network, info, name = load_checkpoint(checkpoint)
    network = network.float()
    tapped = tap(network)
    found: dict[str, list[Vectors]] = {label: [] for label in info.classes}
    for counts, label in clips:
        if label in found:
            found[label].append(windows_of(tapped, answers_of(network, counts), info.n_time_bins))
    shown = own_classes(found.items())
    if not shown:
        raise InputError(f"no clip of a class that {name} knows; it knows {', '.join(info.classes)}")
    path = find_checkpoint(checkpoint).with_suffix(OWN_ENDING)
    save_taught(path, Taught(name, path.with_suffix(".safetensors").name, shown))
    path.chmod(0o644)  # as the checkpoint beside it, everybody's where it is installed
    return path


def own_classes(windows: Iterable[tuple[str, Sequence[Vectors]]]) -> tuple[ClassExamples, ...]:
    """Some windows of each class that has any, spread over all its clips."""
    kept = [(label, thin(np.concatenate(clips), MOST_OWN)) for label, clips in windows if clips]
    return tuple(ClassExamples(label, vectors, np.arange(len(vectors))) for label, vectors in kept)
