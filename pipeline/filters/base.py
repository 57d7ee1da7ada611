"""What a filter is: frozen settings, and a function from events and a state to events and a state. Knows no filter."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy.typing as npt

from pipeline.schema.events import Events, SensorSize


class FilterState(NamedTuple):
    """What one filter remembers between packets, and what it has counted.

    `sensor_size` is that of the events that come in. `n_events` came in, `n_dropped` of them did not come out. `memory` is the
    filter's own arrays; they are written in place, so that a state is used up by the call it is given to.
    """

    sensor_size: SensorSize
    n_events: int = 0
    n_dropped: int = 0
    memory: tuple[npt.NDArray[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Filter(ABC):
    """Settings of one filter. The events that come out do not depend on how they were split into packets.

    A filter never changes its input, never invents an event and never changes the order or the time of any.
    """

    name: ClassVar[str]
    # whether it may drop events, so that a report has something to say
    is_dropping: ClassVar[bool] = True

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the pixel array that the events come out on; UsageError when the filter does not fit the sensor."""
        return sensor_size

    def start(self, sensor_size: SensorSize) -> FilterState:
        """The state before the first event of a stream; UsageError when the filter does not fit the sensor."""
        self.output_size(sensor_size)
        return FilterState(sensor_size, memory=self._remember(sensor_size))

    def apply(self, events: Events, state: FilterState) -> tuple[Events, FilterState]:
        """One packet (n,), non-decreasing in t, to those that pass (m,), m <= n, and the state for the next packet."""
        if events.size == 0:
            return events, state
        kept = self._keep(events, state)
        n_dropped = state.n_dropped + events.size - kept.size
        return kept, state._replace(n_events=state.n_events + events.size, n_dropped=n_dropped)

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:  # noqa: ARG002 # for those that do
        """The filter's arrays before the first event."""
        return ()

    @abstractmethod
    def _keep(self, events: Events, state: FilterState) -> Events:
        """The events that pass, (m,), from at least one; writes to the state's memory."""
