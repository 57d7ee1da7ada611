"""When pictures are taken: at even steps of sensor time after the first event. Pure."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, empty_events

# An hour at 30 pictures a second without a single event: likelier a damaged time than a wish.
_MAX_QUIET_PICTURES = 108_000


def cut_at_edges(packets: Iterator[Events], step_us: Fraction) -> Iterator[tuple[Events, int | None]]:
    """Packets cut where pictures are due: events, and the time in us of the picture that they complete, None while it is open.

    Picture k, from 0, is due at first + round((k + 1) * step) and holds the events before that time. The last one, which the
    end cuts short, is due at its full time. Nothing without events. UsageError when a silence would be hours of blank pictures.
    """
    first_us: int | None = None
    n_due = 0
    is_open = False
    for packet in packets:
        if packet.size and first_us is None:
            first_us = int(packet["t"][0])
        start = 0
        while first_us is not None and start < packet.size:
            due_us = first_us + round((n_due + 1) * step_us)
            stop = int(np.searchsorted(packet["t"], due_us))
            if stop == packet.size:
                break
            _check_silence(int(packet["t"][stop]) - due_us, step_us)
            yield packet[start:stop], due_us
            start, n_due, is_open = stop, n_due + 1, False
        is_open = is_open or start < packet.size
        yield packet[start:], None
    if is_open and first_us is not None:
        yield empty_events(), first_us + round((n_due + 1) * step_us)


def step_of(fps: float, speed: float) -> Fraction:
    """Sensor time from picture to picture, in us, when `speed` seconds of it fill one second of `fps` pictures."""
    return Fraction(US_PER_S) * Fraction(speed).limit_denominator(10**6) / Fraction(fps).limit_denominator(1000)


def _check_silence(silence_us: int, step_us: Fraction) -> None:
    if silence_us > _MAX_QUIET_PICTURES * step_us:
        raise UsageError(
            f"a silence of {silence_us / US_PER_S:.0f} s would be {int(silence_us / step_us)} blank pictures; "
            "take longer steps (--delta-t), or a part of the recording (--start, --end)"
        )
