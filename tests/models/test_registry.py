"""Names and settings of networks."""

import pytest

from models.registry import NETWORKS, create_network
from pipeline.schema.errors import ConfigurationError


def test_unknown_network_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="there are: spikformer, tim"):
        create_network("resnet")


def test_unknown_setting_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no setting colour; it has: .*dim"):
        create_network("tim", colour="red")


@pytest.mark.parametrize("settings", [{"dim": 100}, {"size": (0, 64)}, {"pools": "11"}, {"dim": "many"}])
def test_settings_that_cannot_be_built_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("spikformer", **settings)


def test_nested_neuron_settings_reach_the_layers() -> None:
    network = create_network("tim", dim=16, n_heads=2, size=(16, 16), lif={"detach_membrane": False, "tau": 3.0})
    assert network.configuration.lif.tau == 3.0


def test_every_network_of_the_zoo_is_listed() -> None:
    assert set(NETWORKS) >= {
        "spikformer",
        "tim",
        "qkformer",
        "spikingresformer",
        "sdt",
        "spikformer_v2",
        "semm",
        "saformer",
        "autost",
        "autospikformer",
        "bestformer",
    }


@pytest.mark.parametrize("settings", [{"depth": [1, 0]}, {"depth": 2}, {"dim": 48}, {"n_heads": 0}, {"attention": "both"}])
def test_settings_that_qkformer_cannot_be_built_with_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("qkformer", **settings)


@pytest.mark.parametrize("lif", [{"tau": 0.5}, {"v_threshold": 0.0}, {"alpha": float("nan")}, {"surrogate": "step"}])
def test_neurons_that_cannot_be_run_are_refused(lif: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        create_network("spikformer", lif=lif)
