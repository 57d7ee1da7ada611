"""What a recogniser is, said where capture and inference can see it and torch cannot."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import NOTHING_INDEX, LessonReport, RasterLayer

# So many bins in a row below the quiet rate make a quiet scene; fewer may be the turning point of a movement.
QUIET_BINS = 5


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answer of the network for one time bin.

    `scores` is float32 (K,), probabilities of the K classes; what is missing to 1 is "none of these". `sops` counts synaptic
    operations of this bin, `macs` the multiply-accumulates of layers that see numbers (the first, heads on means),
    `energy_uj` the estimate from both.
    `raster` is uint8 (R,), 0 or 1, the sampled neurons of `layers` one after another.
    `is_window_end`: the scores may be trusted. With the `window` readout at the last bin of a window, with `running` once half
    a window was seen since rest.
    `nothing` is the class by which a network says that nobody does anything, -1 where it has none.
    """

    scores: npt.NDArray[np.float32]
    sops: int
    macs: int
    energy_uj: float
    raster: npt.NDArray[np.uint8]
    layers: tuple[RasterLayer, ...]
    is_window_end: bool
    nothing: int = NOTHING_INDEX


@dataclass(frozen=True, slots=True)
class RecogniserInfo:
    """What a recogniser expects and answers. `network` is `name@hash`; `frame_size` is (width, height) of its SpikeFrames.

    `quiet_rate_hz`: events a second below which a scene is quieter than anything it was trained on; 0 where that is not known.
    `filters`: what the events that it learnt from went through, in the words of `--filter`.
    """

    network: str
    classes: tuple[str, ...]
    delta_t_us: int
    n_time_bins: int
    frame_size: SensorSize
    quiet_rate_hz: float = 0.0
    filters: tuple[str, ...] = ()


class Recogniser(Protocol):
    """SpikeFrame in, Prediction out, membrane state kept between.

    `info` is read once at start. `step` is called by inference for every frame in sequence; `reset` after a gap, a seek,
    or a new recording: the next `step` then starts from membranes at rest.
    """

    @property
    def info(self) -> RecogniserInfo:
        """What this recogniser expects and answers."""
        ...

    def step(self, frame: SpikeFrame) -> Prediction:
        """Take the next time bin and give the prediction after it; ConfigurationError when its shape does not fit."""
        ...

    def reset(self) -> None:
        """Put all membranes at rest and forget the running scores."""
        ...


@runtime_checkable
class Teachable(Recogniser, Protocol):
    """A recogniser that learns new classes while it runs; `info.classes` grows and shrinks with them.

    Inference calls these between steps, when somebody asks on the control socket.
    """

    @property
    def lessons(self) -> LessonReport:
        """What was taught, and what is being shown now."""
        ...

    def begin_lesson(self, name: str, n_bins: int) -> None:
        """Take the next `n_bins` bins as an example of `name`; UsageError while another lesson runs or for a name taken."""
        ...

    def forget(self, name: str) -> None:
        """Drop a taught class; UsageError when there is none of that name."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a taught class another name; UsageError when that cannot be."""
        ...
