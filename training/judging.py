"""Judging over time: how soon a stream is answered rightly, and how often it is answered where there is nothing to answer.

Everything goes bin by bin through a recogniser and the decision layer, as it does live.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.decision import Decision, DecisionSettings, DecisionState, decide
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import NOTHING, NOTHING_INDEX
from pipeline.schema.recognition import Prediction, Recogniser
from training.data import ClipSet, Counts

_US_PER_MINUTE = 60_000_000
_NEVER = -1


@dataclass(frozen=True, slots=True)
class Answers:
    """What a recogniser said of each bin of one clip. `best` is int (n_bins,): the class of the highest score.

    `stable` is int (n_bins,): the class of the label where it is stable, -1 where none is. A class called nothing is none.
    """

    best: npt.NDArray[np.int64]
    stable: npt.NDArray[np.int64]


class DecisionTimes(msgspec.Struct, frozen=True):
    """When the decision layer answers. Shares are of all clips; times are from a clip's beginning, None where nobody answered.

    `first_right`: the first stable label was right. `ever_right`: some stable label was. `last_right`: the last stable one was.
    """

    decided: float
    first_right: float
    ever_right: float
    last_right: float
    median_ms: float | None
    p90_ms: float | None
    median_right_ms: float | None


class Alarms(msgspec.Struct, frozen=True):
    """False labels of scenes without a gesture. `share`: of the bins in which a label was stable; `classes`: alarms of each."""

    minutes: float
    alarms: int
    per_minute: float
    share: float
    classes: dict[str, int]


def answer_clip(recogniser: Recogniser, counts: Counts, settings: DecisionSettings) -> Answers:
    """Run one clip, uint8 (n_bins, 2, H, W), from rest."""
    steps = list(_steps(recogniser, counts, settings))
    best = [int(np.argmax(prediction.scores)) for prediction, _ in steps]
    spoken = [name != NOTHING for name in recogniser.info.classes]
    stable = [decision.index if decision.is_stable and spoken[decision.index] else NOTHING_INDEX for _, decision in steps]
    return Answers(np.array(best, dtype=np.int64), np.array(stable, dtype=np.int64))


def answer_clips(recogniser: Recogniser, clips: ClipSet, settings: DecisionSettings) -> Iterator[Answers]:
    """The answers to each clip in turn."""
    for counts in clips.counts:
        yield answer_clip(recogniser, counts, settings)


def accuracy_over_time(answers: Sequence[Answers], labels: npt.NDArray[np.int64], n_bins: int) -> list[float]:
    """Accuracy after 1, 2, … `n_bins` bins, by the highest score at that moment; a clip that is over keeps its last answer."""
    said = np.array([[row.best[min(i, row.best.size - 1)] for i in range(n_bins)] for row in answers])
    return [float(share) for share in (said == labels[:, None]).mean(axis=0)]


def decision_times(answers: Sequence[Answers], labels: npt.NDArray[np.int64], delta_t_us: int) -> DecisionTimes:
    """When labels became stable, and whether they were right; a time is the end of the bin that decided.

    Clips whose label is nothing belong into `count_alarms`, not here.
    """
    first = [_first(row.stable != NOTHING_INDEX) for row in answers]
    right = [_first(row.stable == label) for row, label in zip(answers, labels, strict=True)]
    was_first = [i != _NEVER and row.stable[i] == label for i, row, label in zip(first, answers, labels, strict=True)]
    was_last = [_last_stable(row.stable) == label for row, label in zip(answers, labels, strict=True)]
    times_ms = [(i + 1) * delta_t_us / 1000 for i in first if i != _NEVER]
    right_ms = [(i + 1) * delta_t_us / 1000 for i in right if i != _NEVER]
    return DecisionTimes(
        decided=len(times_ms) / len(answers),
        first_right=float(np.mean(was_first)),
        ever_right=len(right_ms) / len(answers),
        last_right=float(np.mean(was_last)),
        median_ms=_percentile(times_ms, 50),
        p90_ms=_percentile(times_ms, 90),
        median_right_ms=_percentile(right_ms, 50),
    )


def count_alarms(scenes: Iterable[Answers], classes: Sequence[str], delta_t_us: int) -> Alarms:
    """Labels that became stable in scenes where none should: each begins when it was not the label of the bin before."""
    begun: list[int] = []
    n_bins = n_stable = 0
    for row in scenes:
        before = np.concatenate([[NOTHING_INDEX], row.stable[:-1]])
        begun += row.stable[(row.stable != before) & (row.stable != NOTHING_INDEX)].tolist()
        n_bins += row.stable.size
        n_stable += int(np.count_nonzero(row.stable != NOTHING_INDEX))
    minutes = n_bins * delta_t_us / _US_PER_MINUTE
    return Alarms(
        minutes=minutes,
        alarms=len(begun),
        per_minute=len(begun) / minutes if minutes else 0.0,
        share=n_stable / n_bins if n_bins else 0.0,
        classes={name: begun.count(i) for i, name in enumerate(classes) if i in begun},
    )


def _steps(recogniser: Recogniser, counts: Counts, settings: DecisionSettings) -> Iterator[tuple[Prediction, Decision]]:
    recogniser.reset()
    state, delta_t_us = DecisionState(), recogniser.info.delta_t_us
    for i, frame in enumerate(counts):
        n_events = int(frame.sum())
        prediction = recogniser.step(SpikeFrame(frame, i * delta_t_us, (i + 1) * delta_t_us, i, n_events))
        decision, state = decide(state, prediction, n_events, settings)
        yield prediction, decision


def _first(found: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(found)) if found.any() else _NEVER


def _last_stable(stable: npt.NDArray[np.int64]) -> int:
    labels = stable[stable != NOTHING_INDEX]
    return int(labels[-1]) if labels.size else NOTHING_INDEX


def _percentile(values: Sequence[float], share: int) -> float | None:
    return float(np.percentile(values, share)) if values else None
