"""What Prophesee cameras say of their own work between events: how many the sensor saw, and its rate control let pass.

Knows the order of such words, not their bits in any encoding: a word that starts a message has its subtype, and the words that
continue it hold the count, lowest bits first.
"""

import numpy as np

from pipeline.schema.events import Triggers

# Decoders write such words where triggers go, with an input that no camera has: the number in `t`, what it is in `p`.
ASIDE = 0xFFFF
START, CONTINUATION, LOST_TRIGGER = 0, 1, 2
_SEEN, _PASSED = 0x14, 0x16
_BITS_OF_PART = 12


class Monitor:
    """Sums up messages of the camera; a count has its bits in up to `n_parts` words, 12 in each but the last."""

    def __init__(self, n_parts: int) -> None:
        self._n_parts = n_parts
        self._subtype, self._place = -1, 0
        self._totals = {_SEEN: 0, _PASSED: 0}
        self._met: set[int] = set()
        self.n_lost_triggers = 0

    def take(self, words: Triggers) -> None:
        """Read on in words in the order of the file; messages may go on from one call to the next."""
        is_lost = words["p"] == LOST_TRIGGER
        self.n_lost_triggers += int(np.count_nonzero(is_lost))
        words = words[~is_lost]
        if words.size == 0:
            return
        here = np.arange(words.size)
        starts = np.maximum.accumulate(np.where(words["p"] == START, here, -1))
        subtypes = np.where(starts >= 0, words["t"][starts], self._subtype)
        places = np.where(starts >= 0, here - starts, here + 1 + self._place)
        for subtype in self._totals:
            is_part = (subtypes == subtype) & (places >= 1) & (places <= self._n_parts)
            parts, shifts = words["t"][is_part], _BITS_OF_PART * (places[is_part] - 1)
            self._totals[subtype] += int((parts << shifts).sum())
            if parts.size:
                self._met.add(subtype)
        self._subtype, self._place = int(subtypes[-1]), int(places[-1])

    def describe(self) -> list[str]:
        """Sentences for people about what was dropped; none when nothing was, or the camera does not tell.

        A rate control that passes more than the sensor saw is damage, and not spoken of.
        """
        sentences = []
        if self.n_lost_triggers:
            sentences.append(f"{self.n_lost_triggers} external triggers before the first word that tells time dropped")
        seen, passed = self._totals[_SEEN], self._totals[_PASSED]
        if len(self._met) == len(self._totals) and passed < seen:
            sentences.append(f"the sensor saw {seen:,} events and its rate control passed {passed:,} ({passed / seen:.1%})")
        return sentences
