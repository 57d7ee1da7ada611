"""Filters one after another, and what they say of themselves in the end."""

from dataclasses import dataclass

from pipeline.filters.base import Filter, FilterState
from pipeline.schema.events import Events, SensorSize

ChainState = tuple[FilterState, ...]


@dataclass(frozen=True, slots=True)
class FilterChain:
    """Filters in the order in which events meet them. An empty chain changes nothing."""

    filters: tuple[Filter, ...] = ()

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the pixel array that events come out on; UsageError when a filter does not fit what comes to it."""
        for each in self.filters:
            sensor_size = each.output_size(sensor_size)
        return sensor_size

    def start(self, sensor_size: SensorSize) -> ChainState:
        """The state before the first event of a stream from this sensor; also to be taken where time is set anew."""
        states = []
        for each in self.filters:
            states.append(each.start(sensor_size))
            sensor_size = each.output_size(sensor_size)
        return tuple(states)

    def apply(self, events: Events, states: ChainState) -> tuple[Events, ChainState]:
        """One packet (n,), non-decreasing in t, to those that pass all filters (m,), and the state for the next packet.

        The same events for any split into packets. `events` is not changed; `states` is used up. Without filters the packet
        itself is given back.
        """
        after = []
        for each, state in zip(self.filters, states, strict=True):
            events, state = each.apply(events, state)  # noqa: PLW2901 # the state after it
            after.append(state)
        return events, tuple(after)

    def describe(self, states: ChainState) -> tuple[str, ...]:
        """A sentence for each filter that may drop events: how many of those that reached it did not pass."""
        pairs = zip(self.filters, states, strict=True)
        return tuple(_describe(each.name, state) for each, state in pairs if each.is_dropping)


def _describe(name: str, state: FilterState) -> str:
    share = 100 * state.n_dropped / state.n_events if state.n_events else 0.0
    return f"{name}: {state.n_dropped:,} of {state.n_events:,} events dropped ({share:.1f} %)"
