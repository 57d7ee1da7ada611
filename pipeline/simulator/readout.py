"""What the way from pixel to host adds to the events: echoes and doubles.

Ten real clips of a DVS128 show both, and no published pixel model has them: about one event in eight comes again with the same
polarity within a microsecond, and about one in six is followed by one of the opposite polarity 0.2 to 1 ms later, about when
the pixel wakes from its blind time. They are added here by chance, without a claim about their cause.
"""

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

# Delay of echoes: median, and spread of its logarithm.
_ECHO_US, _ECHO_SPREAD = 600.0, 0.7
_LEAST_ECHO_US = 150


class Readout:
    """Passes events (3, n) on (time, pixel, polarity), with echoes and doubles; those whose time has not come wait.

    `echo_share`, `double_share`: chances that an event has an echo, or comes twice.
    """

    def __init__(self, echo_share: float, double_share: float, rng: np.random.Generator) -> None:
        self._echo_share = echo_share
        self._double_share = double_share
        self._rng = rng
        self._waiting = np.empty((3, 0), dtype=np.int64)

    def pass_on(self, events: Integers, until_us: int) -> Integers:
        """Events of now and those that waited, sorted by time, up to `until_us`; `events` are sorted and not later."""
        if self._echo_share <= 0.0 and self._double_share <= 0.0:
            return events
        sent = np.concatenate((self._waiting, events, self._echoes(events)), axis=1)
        is_due = sent[0] <= until_us
        self._waiting = sent[:, ~is_due]
        due = sent[:, is_due]
        doubles = due[:, self._rng.random(due.shape[1]) < self._double_share]
        # two in three come a microsecond after the first, the others in the same one; never later than has been filmed
        late_us = np.minimum(self._rng.integers(0, 3, doubles.shape[1]), 1)
        doubles[0] = np.minimum(doubles[0] + late_us, until_us)
        due = np.concatenate((due, doubles), axis=1)
        return due[:, np.argsort(due[0], kind="stable")]

    def _echoes(self, events: Integers) -> Integers:
        echoes = events[:, self._rng.random(events.shape[1]) < self._echo_share]
        delay_us = _ECHO_US * np.exp(self._rng.normal(0.0, _ECHO_SPREAD, echoes.shape[1]))
        echoes[0] += np.maximum(delay_us, _LEAST_ECHO_US).astype(np.int64)
        echoes[2] = 1 - echoes[2]
        return echoes
