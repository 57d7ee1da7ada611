"""From the name of a checkpoint to a recogniser ready for its first bin: at the start, and later beside a stream that goes on.

torch is imported inside.
"""

import contextlib
import gc
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from app.jobs import InferenceJob
from pipeline.decision import make_decision_settings
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.recognition import Recogniser, RecogniserInfo

if TYPE_CHECKING:
    from pipeline.seat import Loaded

CANNED = "canned"
_LOG = logging.getLogger(__name__)


def load_named_recogniser(network: str, readout: str, device: str = "cpu") -> Recogniser:
    """Load the recogniser of a checkpoint, by path or name, to a device; `canned` is the twin that needs no network."""
    if network == CANNED:
        from pipeline.fakes import CannedRecogniser

        return CannedRecogniser()
    from models.pupil import load_pupil

    return load_pupil(network, readout, keeps=True, device=device)


def load_network(job: InferenceJob, name: str) -> "Loaded":
    """The recogniser of a checkpoint as this job runs it, warm."""
    from pipeline.seat import Loaded

    recogniser = load_named_recogniser(name, job.readout, job.device)
    _compare_filters(recogniser.info, job.filters)
    _warm(recogniser)
    return Loaded(recogniser, make_decision_settings(recogniser.info, job.threshold, job.hold_us))


def load_beside(job: InferenceJob, name: str) -> "Loaded":
    """The same while a stream goes on."""
    with built_without_pauses():
        return load_network(job, name)


def may_load_beside(job: InferenceJob) -> bool:
    """Whether a stream can go on meanwhile.

    Not on a GPU, where nothing else may run while a bin is recorded, and not with several threads a bin: numba's own scheduler,
    which it falls back on, ends the process when two threads enter it at once.
    """
    return job.device == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1"


@contextlib.contextmanager
def built_without_pauses() -> Iterator[None]:
    """Keep the garbage collector from what is built here, now and later.

    Modules and networks are some hundred thousand objects that live as long as the process. Looking through all of them takes
    0.1 to 0.5 s on a busy machine, several times while they come into being, and could fall into a stream later on.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _compare_filters(info: RecogniserInfo, filters: tuple[str, ...]) -> None:
    """Say where events come otherwise than a network learnt them; which filters a stream needs stays the user's to say."""
    if info.filters in ((), filters):
        return
    here = f"{_flags(filters)} here" if filters else "none here"
    _LOG.warning(
        "%s learnt from events behind %s, and there is %s; labels may suffer", info.network, _flags(info.filters), here
    )


def _flags(filters: tuple[str, ...]) -> str:
    return " ".join(f"--filter {words}" for words in filters)


def _warm(recogniser: Recogniser) -> None:
    """Let the first steps, which compile kernels and touch all weights, pass before the first frame waits."""
    width, height = recogniser.info.frame_size
    blank = SpikeFrame(np.zeros((2, height, width), np.uint8), 0, recogniser.info.delta_t_us, 0, 0)
    for _ in range(2):
        recogniser.step(blank)
    recogniser.reset()
