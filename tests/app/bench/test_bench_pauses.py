"""Pauses of the machine, and the labels that they held up."""

import time

import pytest

from app.bench.latency import was_held_up
from app.bench.pauses import Pause, PauseWatch

MS = 1_000_000


@pytest.mark.parametrize(
    ("published_ms", "waited_ms", "expected"),
    [
        (105, 20, True),  # closed before the pause, published after its beginning
        (130, 5, True),  # closed after the pause, while what it held up was worked off
        (90, 5, False),  # published before it began
        (900, 20, False),  # long after
    ],
)
def test_a_label_was_held_up_by_a_pause_within_its_wait_or_just_before(
    published_ms: int, waited_ms: int, expected: bool
) -> None:
    label = {"host_ns": published_ms * MS, "latency_ms": {"total": waited_ms}}
    assert was_held_up(label, [Pause(0, 100 * MS, 120 * MS)]) is expected


def test_a_watch_ends_its_threads_and_keeps_pauses_of_ten_milliseconds_and_more() -> None:
    with PauseWatch() as watch:
        time.sleep(0.05)
    assert all(pause.ms >= 10.0 for pause in watch.pauses)
    assert not any(thread.is_alive() for thread in watch._threads)
