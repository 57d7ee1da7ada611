"""What the owner tells its worker processes, as frozen values that travel as one JSON line."""

import msgspec

from app.config import GlobalOptions
from app.reading import AS_IT_IS, Reading
from pipeline.addresses import check_address


class Places(msgspec.Struct, frozen=True):
    """Addresses inside the private folder of one run."""

    folder: str

    def address(self, name: str) -> str:
        """Give the ipc address of this name: `frames`, `capture` (its control), `labels`, `control`."""
        return check_address(f"ipc://{self.folder}/{name}")


class CaptureJob(msgspec.Struct, frozen=True):
    """What a capture process needs to know. Times are microseconds after the first event, speed 0 = as fast as possible.

    `record_to`: folder below which others may record over the bus; empty for nowhere.
    """

    places: Places
    uri: str
    speed: float = 1.0
    is_looped: bool = False
    start_us: int = 0
    end_us: int | None = None
    reading: Reading = AS_IT_IS
    record_to: str = ""


class InferenceJob(msgspec.Struct, frozen=True):
    """What an inference process needs to know.

    `is_lossless`: its owner must miss nothing, so it waits for the owner. `filters`: what its events went through.
    """

    places: Places
    network: str
    readout: str
    threshold: float
    hold_us: int
    is_lossless: bool
    publish: str = ""
    device: str = "cpu"
    filters: tuple[str, ...] = ()


class WindowJob(msgspec.Struct, frozen=True):
    """What a window process needs to know."""

    url: str
    title: str


class Job(msgspec.Struct, frozen=True):
    """What the owner writes to a worker: one of the three jobs, and how to log."""

    options: GlobalOptions
    capture: CaptureJob | None = None
    inference: InferenceJob | None = None
    window: WindowJob | None = None


class LastWords(msgspec.Struct, frozen=True):
    """What a worker says when it ends in error."""

    text: str
    exit_code: int
