"""One time bin of events, as the network sees it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class SpikeFrame:
    """Event counts of one time bin `[start_us, end_us)`; an event on the edge belongs to the later bin.

    `counts` is uint8 (2, H, W), OFF first, saturating at 255, at the network's resolution.
    `n_events` counts the events inside (before saturation); `n_dropped` those lost before they could be counted.
    """

    counts: npt.NDArray[np.uint8]
    start_us: int
    end_us: int
    seq: int
    n_events: int
    n_dropped: int = 0
