"""Scores of one time bin after another to labels that hold still. Pure: state goes in and comes out.

A label is the class whose smoothed score is highest and above the threshold; it is stable once it has led for `hold_bins`
bins in a row. It is "nothing" while the network has not seen a whole window, while the scene is quiet, while no class is
sure enough, and while a class of that name leads.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.messages import NOTHING_INDEX
from pipeline.schema.recognition import QUIET_BINS, Prediction, RecogniserInfo

# A few noise events a bin, where the checkpoint does not say how quiet its scenes may be.
DEFAULT_QUIET_EVENTS = 10


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """How sure and how steady a label must be.

    `threshold`: smallest smoothed score of a label, 0 to 1. `hold_bins`: bins in a row until it is stable.
    `quiet_events`, `quiet_bins`: the scene is quiet after so many bins in a row with fewer events than that; a checkpoint says
    how many a second its training data had at least. `smoothing`: weight of the newest scores in their running average,
    1 = no smoothing (the `running` readout averages over T bins already, so little is needed here).
    """

    threshold: float = 0.5
    hold_bins: int = 3
    quiet_events: int = DEFAULT_QUIET_EVENTS
    quiet_bins: int = QUIET_BINS
    smoothing: float = 0.5

    def __post_init__(self) -> None:
        for name, value, is_fine in (
            ("threshold", self.threshold, 0 <= self.threshold <= 1),
            ("hold_bins", self.hold_bins, self.hold_bins >= 1),
            ("quiet_events", self.quiet_events, self.quiet_events >= 0),
            ("quiet_bins", self.quiet_bins, self.quiet_bins >= 1),
            ("smoothing", self.smoothing, 0 < self.smoothing <= 1),
        ):
            if not is_fine:
                raise UsageError(
                    f"{name} = {value} is out of range; scores and smoothing are 0 to 1, counts of bins start at 1"
                )


def make_decision_settings(info: RecogniserInfo, threshold: float, hold_us: int) -> DecisionSettings:
    """How sure and steady the labels of this recogniser must be, in its bins and by what its checkpoint says is quiet."""
    hold_bins = max(1, -(-hold_us // info.delta_t_us))
    quiet_events = round(info.quiet_rate_hz * info.delta_t_us / US_PER_S)
    return DecisionSettings(threshold=threshold, hold_bins=hold_bins, quiet_events=quiet_events or DEFAULT_QUIET_EVENTS)


@dataclass(frozen=True, slots=True)
class DecisionState:
    """What is remembered between bins; a fresh one after every reset of the network.

    `scores` is the running average, float32 (K,), None until the first whole window.
    """

    scores: npt.NDArray[np.float32] | None = None
    n_quiet: int = 0
    index: int = NOTHING_INDEX
    n_led: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """One label: `index` of the class with `confidence` 0 to 1, or -1 for "nothing" with confidence 0.

    `scores` is float32 (K,): the running average that was judged, or this bin's scores while there is none.
    """

    index: int
    confidence: float
    is_stable: bool
    scores: npt.NDArray[np.float32]


def decide(
    state: DecisionState, prediction: Prediction, n_events: int, settings: DecisionSettings
) -> tuple[Decision, DecisionState]:
    """Take the prediction of the next bin, which held `n_events` events; give its label and the state after it.

    Scores count at the end of a window only, so the `window` readout keeps its label from one window's end to the next.
    """
    n_quiet = state.n_quiet + 1 if n_events < settings.quiet_events else 0
    is_quiet = n_quiet >= settings.quiet_bins
    scores = state.scores
    if prediction.is_window_end:
        weight = np.float32(1 if scores is None else settings.smoothing)
        scores = prediction.scores if scores is None else weight * prediction.scores + (1 - weight) * scores
    best = NOTHING_INDEX if scores is None else int(np.argmax(scores))
    confidence = 0.0 if scores is None else float(scores[best])
    if is_quiet or confidence < settings.threshold or best == prediction.nothing:
        best, confidence = NOTHING_INDEX, 0.0
    n_led = state.n_led + 1 if best == state.index else 1
    shown = prediction.scores if scores is None else scores
    # what a network says of a still scene means nothing, and must not linger when something moves again
    remembered = None if is_quiet else scores
    return Decision(best, confidence, n_led >= settings.hold_bins, shown), DecisionState(remembered, n_quiet, best, n_led)
