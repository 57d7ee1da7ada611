"""Filters that thin out: fewer pixels, fewer events a second."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pipeline.filters.base import Filter, FilterState
from pipeline.filters.noise import LONG_AGO_US
from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize

# Events of one cell are counted in 16 bits.
_MOST_COUNTED = 0xFFFF


@dataclass(frozen=True, slots=True)
class Downsample(Filter):
    """Make cells of `factor` x `factor` pixels; of the events of one polarity in a cell, every `count`-th one passes.

    ON and OFF are counted apart, so that neither cancels the other. Without a `count` it is the number of pixels in a whole
    cell, and an edge that makes each pixel fire once makes each cell fire once. Cells at the right and lower border may be
    cut off; they count as far as the others.
    """

    name: ClassVar[str] = "downsample"
    factor: int
    count: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.factor <= 128:
            raise UsageError(f"downsample: a factor of {self.factor} cannot be; use 1 to 128")
        if self.count is not None and not 1 <= self.count <= _MOST_COUNTED:
            raise UsageError(f"downsample: one of {self.count} events cannot be kept; use 1 to {_MOST_COUNTED}")

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """One pixel a cell, cells at the border included."""
        return SensorSize(-(-sensor_size.width // self.factor), -(-sensor_size.height // self.factor))

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:
        width, height = self.output_size(sensor_size)
        # cell of each column and row, events of each polarity and cell since one last passed
        columns, rows = (np.arange(n, dtype=np.uint16) // self.factor for n in sensor_size)
        return columns, rows, np.zeros((2, height, width), np.uint16)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import downsample

        columns, rows, counts = state.memory
        kept = np.empty_like(events)
        return kept[: downsample(events, kept, (columns, rows), counts, self.count or self.factor**2)]


@dataclass(frozen=True, slots=True)
class RateLimit(Filter):
    """Let at most `rate_hz` events a second through, counted in slices of `slice_us` after the first event.

    No slice gives more than its share (`rate_hz * slice_us`, rounded down). Which events go is settled by counting alone: when
    the slice before held n events and the share is b, every b of n pass, evenly spread, until the share is used up.
    """

    name: ClassVar[str] = "rate"
    DEFAULT_SLICE_US: ClassVar[int] = 1_000
    rate_hz: int
    slice_us: int = DEFAULT_SLICE_US

    def __post_init__(self) -> None:
        if self.slice_us <= 0 or self.rate_hz <= 0 or self._share() == 0:
            raise UsageError(f"rate: {self.rate_hz} events/s leave none in {self.slice_us} us; raise the rate or the time")

    def _share(self) -> int:
        return self.rate_hz * self.slice_us // US_PER_S

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:  # noqa: ARG002 # the same for every sensor
        # begin of the open slice; events in it, passed, in the slice before; what is left over when the share is spread
        return (np.array([LONG_AGO_US, 0, 0, 0, 0], dtype=np.int64),)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import limit_rate

        kept = np.empty_like(events)
        return kept[: limit_rate(events, kept, state.memory[0], self.slice_us, self._share())]
