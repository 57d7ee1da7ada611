"""The commands that train the zoo on real events, walked with a few made-up clips."""

import dataclasses
import json

import numpy as np
import pytest

from models.registry import NETWORKS, create_network
from training.data import Binning, ClipSet
from training.real_sets import Experiment, run
from training.train import Recipe
from training.zoo import SETTINGS, experiment_of

BINNING = Binning(delta_t_us=1_000, size=(16, 16), n_time_bins=3)


def clips(seed: int) -> ClipSet:
    rng = np.random.default_rng(seed)
    counts = [rng.integers(0, 3, (3, 2, 16, 16), dtype=np.uint8) for _ in range(6)]
    return ClipSet(counts, np.array([0, 1] * 3), ("left", "right"), tuple(map(str, range(6))))


def test_a_run_is_told_in_plain_json(tmp_path):
    experiment = Experiment(
        load=lambda data, binning: (clips(0), clips(1)),
        binning=BINNING,
        settings={"dim": 16, "depth": 1, "n_heads": 2, "pools": "1111"},
        recipe=Recipe(epochs=1, batch=4),
        yardstick="none",
        network="spikformer",
    )
    told = json.loads(json.dumps(run("poker", experiment, tmp_path, [0], "python -m training.zoo spikformer")))
    assert told["network"]["name"] == "spikformer"
    assert told["network"]["delta_t_us"] == 1_000
    assert [result["n"] for result in told["runs"]] == [6]


def test_every_network_of_the_zoo_has_settings_for_its_runs():
    assert set(SETTINGS) == set(NETWORKS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_settings_build_a_network_for_both_sets(name):
    for data in ("poker", "nmnist"):
        experiment = experiment_of(name, data)
        network = create_network(name, **experiment.settings, size=experiment.binning.size, n_classes=4)
        assert sum(p.numel() for p in network.parameters()) < 300_000
    assert dataclasses.asdict(experiment_of(name, "poker").recipe)["loss"] == "mean"
