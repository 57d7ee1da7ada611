import signal
from threading import Event

import pytest

from pipeline.schema.errors import BusError
from pipeline.service import Pulse, n_lost_between, run_service, signals_set


class Counting:
    """A service that ends after some steps, or fails in its first."""

    def __init__(self, n_steps, error=None):
        self.n_left, self.error, self.told, self.is_closed = n_steps, error, None, False

    def step(self):
        if self.error is not None:
            raise self.error
        self.n_left -= 1
        return self.n_left > 0

    def fail(self, error):
        self.told = str(error)

    def close(self):
        self.is_closed = True


def test_a_service_steps_until_its_work_is_done_and_is_closed():
    service = Counting(3)
    run_service(service, Event())
    assert service.n_left == 0
    assert service.is_closed


def test_a_stopped_service_does_not_step():
    service, stop = Counting(3), Event()
    stop.set()
    run_service(service, stop)
    assert service.n_left == 3
    assert service.is_closed


def test_an_error_is_told_to_the_others_and_raised_on():
    service = Counting(1, BusError("no room"))
    with pytest.raises(BusError):
        run_service(service, Event())
    assert service.told == "no room"
    assert service.is_closed


def test_a_signal_only_sets_the_flag_and_a_second_one_breaks_off():
    flag = Event()
    before = signal.getsignal(signal.SIGUSR1)
    with signals_set(flag, signal.SIGUSR1):
        signal.raise_signal(signal.SIGUSR1)
        assert flag.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_pulse_is_due_once_per_period_and_late_ones_do_not_pile_up():
    pulse = Pulse(10)
    assert [now for now in (0, 5, 10, 45, 50, 55) if pulse.is_due(now)] == [0, 10, 45, 55]


def test_missing_numbers_are_counted():
    assert n_lost_between(None, 7) == 0
    assert n_lost_between(6, 7) == 0
    assert n_lost_between(4, 7) == 2
    assert n_lost_between(9, 0) == 0
