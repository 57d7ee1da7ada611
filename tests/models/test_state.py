"""A stream saved in the middle goes on in a fresh network as if nothing had happened; foreign states are refused."""

from pathlib import Path

import pytest
import torch
from golden import Lively
from safetensors.torch import save
from small_networks import CASES, counts, small_network

from models.neuron import SpikingNetwork
from models.registry import create_network
from models.state import load_state, pack_state, save_state, unpack_state
from pipeline.schema.errors import ConfigurationError, InputError

TINY = {"dim": 16, "depth": 1, "n_heads": 2, "n_classes": 2, "size": (16, 16)}


@pytest.mark.parametrize("case", CASES)
def test_a_saved_stream_goes_on_in_a_fresh_network(case: str, lively: Lively[SpikingNetwork]) -> None:
    network = small_network(case, lively)
    x = counts(network, 6, 2)
    with torch.no_grad():
        whole, _ = network.run(x)
        _, state = network.run(x[:4])
        saved = pack_state(network, state)
        fresh = small_network(case, lively)
        fresh.load_state_dict(network.state_dict())
        rest, _ = fresh.run(x[4:], unpack_state(fresh, saved))
        uninterrupted, _ = network.run(x[4:], state)
        from_rest, _ = network.run(x[4:])
    assert torch.equal(rest, uninterrupted)
    torch.testing.assert_close(rest, whole[4:], rtol=0, atol=1e-9)
    assert (from_rest - whole[4:]).abs().max() > 1e-3  # the state matters


def _state(name: str = "tim", *, n_bins: int = 2, **settings: object) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    network = create_network(name, **{**TINY, **settings}).eval()
    with torch.no_grad():
        return network, network.run(torch.ones(n_bins, 3, 2, 16, 16))[1]


@pytest.mark.parametrize("n_bins", [1, 2])
def test_a_state_comes_back_from_a_file_as_it_was(tmp_path: Path, n_bins: int) -> None:
    network, state = _state(n_bins=n_bins)  # TIM remembers more after its second bin
    save_state(tmp_path / "stream.safetensors", network, state)
    restored = load_state(tmp_path / "stream.safetensors", network)
    assert set(restored) == set(state)
    assert all(torch.equal(restored[name], state[name]) for name in state)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.safetensors"]


def test_state_of_another_network_is_refused() -> None:
    network, state = _state("spikformer")
    with pytest.raises(ConfigurationError, match="state of 'spikformer', not of tim"):
        unpack_state(_state("tim")[0], pack_state(network, state))


def test_state_of_other_settings_names_them() -> None:
    saved = pack_state(*_state())
    with pytest.raises(ConfigurationError, match=r"other settings: n_heads 2, here 4"):
        unpack_state(_state(n_heads=4)[0], saved)


def test_state_of_another_precision_is_refused() -> None:
    saved = pack_state(*_state())
    with pytest.raises(ConfigurationError, match="float32"):
        unpack_state(create_network("tim", **TINY).double(), saved)


def test_missing_unknown_and_misshapen_arrays_are_named() -> None:
    network, state = _state()
    name, *_ = state
    with pytest.raises(ConfigurationError, match=f"missing .*{name}"):
        unpack_state(network, pack_state(network, {key: value for key, value in state.items() if key != name}))
    with pytest.raises(ConfigurationError, match=r"unknown \['surplus'\]"):
        unpack_state(network, pack_state(network, {**state, "surplus": torch.zeros(3)}))
    with pytest.raises(ConfigurationError, match=f"other .*{name}"):
        unpack_state(network, pack_state(network, {**state, name: state[name][:, :1]}))


def test_streams_that_differ_in_number_are_refused() -> None:
    network, state = _state()
    name, *_ = state
    with pytest.raises(ConfigurationError, match=r"same number of streams, not \[2, 3\]"):
        unpack_state(network, pack_state(network, {**state, name: state[name][:2]}))


@pytest.mark.parametrize("data", [b"", b"\x80\x04\x95 something pickled", b"\xff" * 64, save({"v": torch.zeros(2)})])
def test_bytes_that_hold_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="hold no state"):
        unpack_state(create_network("tim", **TINY), data)


def test_damaged_bytes_are_refused_wherever_they_end() -> None:
    network, state = _state()
    saved = pack_state(network, state)
    for n in (4, 100, len(saved) // 2, len(saved) - 1):
        with pytest.raises(InputError):
            unpack_state(network, saved[:n])


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    network, state = _state()
    path = tmp_path / "stream.safetensors"
    with pytest.raises(InputError, match=r"stream\.safetensors: cannot be read"):
        load_state(path, network)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"stream\.safetensors: 7 bytes hold no state"):
        load_state(path, network)
    save_state(path, network, state)
    with pytest.raises(ConfigurationError, match=r"stream\.safetensors: this is a state of 'tim', not of spikformer"):
        load_state(path, create_network("spikformer", **TINY))


def test_a_module_of_nobody_has_no_state() -> None:
    with pytest.raises(ConfigurationError, match="Linear is no network of this zoo"):
        pack_state(torch.nn.Linear(2, 2), {})
