"""What the window shows at one moment: frozen values that panels draw and nobody changes.

Arrays inside are copies marked read-only. Knows no messages, sockets or Qt.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gui.history import LabelRun

ConnectionKind = Literal["waiting", "starting", "running", "paused", "stale", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class Connection:
    """State of what we listen to; `text` is one phrase for people."""

    kind: ConnectionKind
    text: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the events come from and who judges them; empty words and zeros before the first message."""

    source: str = ""
    network: str = ""
    classes: tuple[str, ...] = ()
    sensor_width: int = 0
    sensor_height: int = 0
    delta_t_us: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Events as a picture: `indices` uint8 (H, W), ON level times 16 plus OFF level. `revision` grows with every change."""

    indices: npt.NDArray[np.uint8]
    revision: int


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One bar: a class, its score 0 to 1 (None when the message did not carry it), its place among the classes."""

    name: str
    score: float | None
    index: int
    is_leader: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The prediction. `label` is the last stable one; `is_settled` says whether the newest bin confirms it."""

    label: str
    index: int
    is_nothing: bool
    is_settled: bool
    confidence: float
    rows: tuple[ScoreRow, ...]
    seq: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Label runs of the last `span_us` before `end_us`, in played time (see `LabelRun`)."""

    runs: tuple[LabelRun, ...]
    end_us: int
    span_us: int


@dataclass(frozen=True, slots=True)
class LayerRate:
    """A layer of the raster: rows drawn, neurons it has, and its firing rate averaged over about a second."""

    name: str
    n_rows: int
    n_neurons: int
    firing_rate: float


@dataclass(frozen=True, slots=True)
class Raster:
    """Spike raster: `image` uint8 (R, bins) of raster codes, newest at the right; layers from the top."""

    image: npt.NDArray[np.uint8]
    layers: tuple[LayerRate, ...]
    span_us: int
    revision: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Work and energy of the last bins: float64 (n,), oldest first, NaN where unknown.

    `energy_uj` is estimated, `power_w` measured; `power_sensor` is empty where there is no sensor.
    """

    sops: npt.NDArray[np.float64]
    energy_uj: npt.NDArray[np.float64]
    power_w: npt.NDArray[np.float64]
    power_sensor: str
    span_us: int
    revision: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Everything that was lost, by kind. `n_pictures_skipped` only costs the eye; the others cost answers."""

    n_frames: int = 0
    n_gaps: int = 0
    n_events: int = 0
    n_labels: int = 0
    n_bad_messages: int = 0
    n_pictures_skipped: int = 0

    @property
    def is_serious(self) -> bool:
        """Whether anything was lost that an answer could have depended on."""
        return self.n_frames + self.n_gaps + self.n_events + self.n_labels + self.n_bad_messages > 0


@dataclass(frozen=True, slots=True)
class Numbers:
    """The status line; refreshed a few times a second, so that digits can be read. NaN or None where unknown.

    `sops`, `energy_uj` (a bin, estimated) and `power_w` (measured) are means of the last bins.
    """

    event_rate_hz: float = float("nan")
    bin_rate_hz: float = float("nan")
    latency_p50_ms: float = float("nan")
    latency_p99_ms: float = float("nan")
    stages: str = ""
    sops: float = float("nan")
    energy_uj: float = float("nan")
    power_w: float = float("nan")
    losses: Losses | None = None


@dataclass(frozen=True, slots=True)
class Playback:
    """Where the source is, in microseconds since its first event, and what may be asked of it.

    `extent_us` is how long the recording is, or the furthest time seen where nobody knows; `is_looped` is what the source
    says of itself; `obstacle` says why nothing can be asked, empty when it can; `note` is the last answer to a request that
    could not be fulfilled.
    """

    position_us: int = 0
    extent_us: int = 0
    is_paused: bool = False
    speed: float = 1.0
    is_over: bool = False
    is_looped: bool = False
    obstacle: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the panels draw; parts are None until their first message."""

    connection: Connection
    origin: Origin
    picture: Picture | None
    answer: Answer | None
    timeline: Timeline | None
    raster: Raster | None
    cost: Cost | None
    numbers: Numbers
    playback: Playback


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What the feed says of itself: its own losses, whether requests can be sent, the last reply, a failure of its own."""

    n_pictures_skipped: int = 0
    n_labels_dropped: int = 0
    n_bad_messages: int = 0
    can_control: bool = False
    reply: str = ""
    reply_ns: int = 0
    failure: str = ""
