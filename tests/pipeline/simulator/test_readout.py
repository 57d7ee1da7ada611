import numpy as np

from pipeline.simulator.readout import Readout


def lone_events(n, gap_us=10_000):
    """Events of one pixel each `gap_us`, (3, n), all ON."""
    return np.stack((np.arange(n) * gap_us, np.full(n, 7), np.ones(n, dtype=np.int64)))


def test_readout_that_adds_nothing_passes_events_as_they_are():
    events = lone_events(5)
    assert Readout(0.0, 0.0, np.random.default_rng(0)).pass_on(events, 50_000) is events


def test_doubles_are_the_same_event_within_a_microsecond():
    sent = Readout(0.0, 0.2, np.random.default_rng(1)).pass_on(lone_events(10_000), 100_000_000)
    # 2,000 expected, standard deviation 40
    assert abs(sent.shape[1] - 12_000) < 200
    gaps = np.diff(sent[0])
    assert set(np.unique(gaps[gaps < 5000])) == {0, 1}
    assert (sent[2] == 1).all()


def test_echoes_have_the_other_polarity_a_moment_later():
    sent = Readout(0.3, 0.0, np.random.default_rng(2)).pass_on(lone_events(10_000), 200_000_000)
    # 3,000 expected, standard deviation 46
    assert abs((sent[2] == 0).sum() - 3000) < 230
    delays = sent[0][sent[2] == 0] % 10_000
    assert delays.min() >= 150
    assert 500 < np.median(delays) < 700
    assert (np.diff(sent[0]) >= 0).all()


def test_echo_that_is_not_due_waits_for_its_time():
    readout = Readout(1.0, 0.0, np.random.default_rng(3))
    first = readout.pass_on(lone_events(1), 100)
    assert first[0].tolist() == [0]
    later = readout.pass_on(np.empty((3, 0), dtype=np.int64), 100_000)
    assert later.shape == (3, 1)
    assert later[0, 0] > 100
    assert (later[1, 0], later[2, 0]) == (7, 0)
