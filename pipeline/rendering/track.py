"""What is written under pictures and when: captions in the order of sensor time. Knows not where they come from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caption:
    """One label, shown during sensor time `[start_us, end_us)`. `confidence` is 0 to 1, None where nobody doubted."""

    start_us: int
    end_us: int
    text: str
    confidence: float | None = None


class CaptionTrack:
    """Captions ordered by start, asked for at times that never go back; holds one ahead, however many come."""

    def __init__(self, captions: Iterable[Caption]) -> None:
        self._coming: Iterator[Caption] = iter(captions)
        self._next: Caption | None = next(self._coming, None)
        self._current: Caption | None = None

    def at(self, t_us: int) -> Caption | None:
        """The caption that began last at or before `t_us`, None when it is over: of two at once, the later one counts."""
        while self._next is not None and self._next.start_us <= t_us:
            self._current = self._next
            self._next = next(self._coming, None)
        return self._current if self._current is not None and t_us < self._current.end_us else None
