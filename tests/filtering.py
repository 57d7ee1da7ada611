"""One way to run filters over a stream, whole or in pieces."""

from collections.abc import Sequence

import numpy as np
from builders import SENSOR

from pipeline.filters import ChainState, parse_filters
from pipeline.schema.events import Events, SensorSize


def run(
    filters: Sequence[str], events: Events, cuts: Sequence[int] = (), sensor: SensorSize = SENSOR
) -> tuple[Events, ChainState]:
    """The events that pass, and the state after them; the stream is cut before the events named in `cuts`."""
    chain = parse_filters(filters)
    states = chain.start(sensor)
    passed = []
    for packet in np.split(events, sorted(cuts)):
        kept, states = chain.apply(packet, states)
        passed.append(kept)
    return np.concatenate(passed), states


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    """Events as (t, x, y, p), to be compared without the padding between the fields."""
    return [(int(event["t"]), int(event["x"]), int(event["y"]), int(event["p"])) for event in events]
