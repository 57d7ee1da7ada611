import itertools
import subprocess
import sys

import numpy as np
import pytest

from pipeline.schema.errors import UsageError
from pipeline.simulator import DVS128
from pipeline.sources.synthetic import open_synthetic


def test_source_plays_for_the_time_asked_in_packets_of_10_ms():
    with open_synthetic("gestures?seed=3&seconds=0.25&gestures=arm_roll,air_drums") as source:
        packets = list(source.packets())
    assert len(packets) == 25
    times = np.concatenate(packets)["t"]
    assert (np.diff(times) >= 0).all()
    assert 200_000 < times[-1] < 250_000
    assert source.info.sensor_size == DVS128
    assert not source.info.is_live
    assert source.report().warnings == ()


def test_scene_starts_again_from_the_first_event():
    with open_synthetic("synthetic:gestures?seconds=0.05") as source:
        first, second = (np.concatenate(list(source.packets())) for _ in range(2))
    assert (first == second).all()


def test_other_seed_is_another_scene():
    first, second = (np.concatenate(list(open_synthetic(f"gestures?seed={seed}&seconds=0.05").packets())) for seed in (1, 2))
    assert len(first) != len(second)


def test_without_a_time_it_plays_on():
    with open_synthetic("quiet") as source:
        packets = list(itertools.islice(source.packets(), 30))
    assert len(packets) == 30


def test_closing_ends_the_packets():
    source = open_synthetic("quiet")
    packets = source.packets()
    next(packets)
    source.close()
    source.close()
    assert list(packets) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dancing", "'dancing'.*synthetic:gestures, synthetic:quiet"),
        ("", "synthetic:gestures"),
        ("gestures?speed=2", "'speed=2'.*seed=, seconds=, gestures="),
        ("gestures?seed", "'seed'"),
        ("gestures?seed=1&seed=2", "twice"),
        ("gestures?seed=-1", "'-1'"),
        ("gestures?seed=99999999999999999999", "18 digits"),
        ("gestures?seconds=nan", "'nan'"),
        ("gestures?seconds=0", "'0'"),
        ("gestures?gestures=jump", "'jump'.*arm_roll"),
        ("gestures?gestures=", "''"),
        ("quiet?gestures=arm_roll", "synthetic:gestures"),
    ],
)
def test_unknown_names_and_values_are_refused_with_what_exists(name, message):
    with pytest.raises(UsageError, match=message):
        open_synthetic(name)


def test_opening_loads_no_compiler():
    code = "import sys; import pipeline.sources.synthetic as s; s.open_synthetic('quiet'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
