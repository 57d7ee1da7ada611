"""The page for newcomers, followed to the letter: its code becomes a file, and the file a network of the zoo."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import registry
from models.catalogue import catalogue
from models.checkpoint import load_checkpoint
from models.energy import SpikeMeter
from models.recogniser import load_recogniser
from models.registry import NETWORKS, NetworkEntry, create_network, name_of, register_network
from models.state import pack_state, unpack_state
from pipeline.schema.errors import ConfigurationError
from pipeline.schema.frames import SpikeFrame
from training.augmentation import NONE
from training.data import Binning, ClipSet
from training.train import Recipe, save, train_checkpoint

_PAGE = Path(__file__).parents[2] / "docs" / "add-a-network.md"
_SETTINGS = {"dim": 4, "n_classes": 2, "size": (16, 16)}


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file of the page, imported; its network leaves the zoo afterwards."""
    code = re.search(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    path = tmp_path / "two_layers.py"
    path.write_text(code.group(1))
    specification = importlib.util.spec_from_file_location("two_layers", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "two_layers", module)
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        registry._networks.pop("two_layers", None)


def test_a_network_is_listed_trained_saved_loaded_and_streams(newcomer: Any, tmp_path: Path) -> None:
    assert "two_layers" in NETWORKS
    listed = next(entry for entry in catalogue() if entry.name == "two_layers")
    # 3x3 of 2 to 16 and of 16 to 32 channels, two norms, head of 11; at 64 x 64, halved once before the second layer
    assert listed.params == 9 * (2 * 16 + 16 * 32) + 2 * (16 + 32) + 32 * 11 + 11
    assert listed.macs_per_bin == 9 * (2 * 16 * 64**2 + 16 * 32 * 32**2) + 32 * 11
    assert listed.paper == "nobody's: an example"

    counts = np.random.default_rng(0).poisson(4.0, (4, 3, 2, 16, 16)).astype(np.uint8)
    clips = ClipSet(list(counts), np.arange(4) % 2, ("left", "right"), [f"clip{i}" for i in range(4)])
    binning = Binning(delta_t_us=10_000, size=(16, 16), n_time_bins=3)
    lines: list[dict[str, Any]] = []
    recipe = Recipe(epochs=1, batch=4, augmentation=NONE)
    network, info = train_checkpoint("two_layers", {"dim": 4}, clips, binning, recipe, lines.append)
    assert lines[-1]["n_steps"] == 1

    path = tmp_path / "mine.safetensors"
    save(path, network, info, {}, {})
    loaded, _, name = load_checkpoint(str(path))
    x = torch.from_numpy(counts).float().transpose(0, 1)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
    assert name.startswith("two_layers@")
    recogniser = load_recogniser(str(path), "window")
    frames = [SpikeFrame(c, 10_000 * i, 10_000 * (i + 1), i, int(c.sum())) for i, c in enumerate(counts[0])]
    predictions = [recogniser.step(frame) for frame in frames]
    with torch.no_grad():
        whole = network(x[:, :1]).softmax(dim=1)[0]
    np.testing.assert_allclose(predictions[-1].scores, whole.numpy(), atol=1e-6)
    assert predictions[-1].sops > 0


def test_it_keeps_what_every_network_promises(newcomer: Any) -> None:
    network = create_network("two_layers", **_SETTINGS).double().eval()
    assert name_of(network) == "two_layers"
    x = torch.poisson(torch.full((4, 2, 2, 16, 16), 0.6, dtype=torch.float64), generator=torch.Generator().manual_seed(0))
    meter = SpikeMeter(network)
    with torch.no_grad():
        whole, state = network.run(x[:2])
        rest, _ = network.run(x[2:], unpack_state(network, pack_state(network, state)))
        torch.testing.assert_close(torch.cat([whole, rest]).mean(dim=0), network(x), rtol=0, atol=1e-9)
        torch.testing.assert_close(network(x[:, :1])[0], network(x)[0], rtol=0, atol=1e-9)
    assert set(meter.read().layers) == {"first.conv", "second.conv", "head"}


def test_registering_refuses_what_would_confuse(newcomer: Any) -> None:
    entry = NETWORKS["two_layers"]
    with pytest.raises(ConfigurationError, match="a network called 'tim' already"):
        register_network("tim", entry)
    with pytest.raises(ConfigurationError, match="letters, digits"):
        register_network("two layers", entry)
    with pytest.raises(ConfigurationError, match="its own class"):
        register_network("three_layers", entry)
    with pytest.raises(ConfigurationError, match=r"dataclass with a method check"):
        register_network("three_layers", NetworkEntry(dict, newcomer.TwoLayers, "", ""))
    assert "three_layers" not in NETWORKS


def test_the_zoo_cannot_be_changed_but_by_registering() -> None:
    with pytest.raises(TypeError):
        NETWORKS["mine"] = NETWORKS["tim"]  # type: ignore[index]
