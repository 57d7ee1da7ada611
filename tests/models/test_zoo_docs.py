"""docs/zoo.md is what the generator prints, and shows what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from models import zoo_docs
from models.catalogue import spiking_macs
from models.printed import NOTES
from models.registry import NETWORKS


@pytest.mark.timeout(300)  # counts every published network: seconds alone, minutes on a crowded machine
def test_the_page_in_docs_is_current() -> None:
    page = zoo_docs.PAGE.read_text(encoding="utf-8")
    assert page == zoo_docs.render_page(), "run: python -m models.zoo_docs > docs/zoo.md"
    for name, entry in NETWORKS.items():
        assert f"| `{name}` | {entry.idea} | " in page
        assert f"\n## {name}\n" in page
    assert "| DVS 2-256, MLP ratio 1, 11 classes | 1,504,395 | 4.72 M | 502.27 M | 0.52 M | 507.51 M |" in page


def test_every_network_of_the_zoo_has_an_idea_and_notes_are_of_networks() -> None:
    assert set(NOTES) <= set(NETWORKS)
    assert all(entry.idea for entry in NETWORKS.values())


def _result(sops: list[float]) -> dict[str, Any]:
    network = {"name": "spikformer", "dim": 16, "depth": 1, "n_heads": 2, "pools": "0011", "delta_t_us": 1000}
    network |= {"size": [16, 16], "n_time_bins": 4, "cut_us": None}
    runs = [{"sops_per_bin": n, "energy_uj_per_bin_estimated": 0.5} for n in sops]
    return {"classes": ["a", "b", "c"], "network": network, "runs": runs}


def test_measured_operations_are_means_of_seeds_over_what_dense_layers_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_docs, "_RESULTS", tmp_path)
    assert list(zoo_docs._measured()) == []
    (tmp_path / "zoo_spikformer.json").write_text(json.dumps({"poker": _result([10_000.0, 30_000.0])}))
    line = next(line for line in zoo_docs._measured() if line.startswith("| `spikformer`"))
    # stem 2-2-4-8-16 of 3x3 at 16, 16, 16 and 8 pixels, position branch at 4; q, k, v, projection, MLP; two products
    spiking = 256 * 9 * (2 * 4 + 4 * 8) + 64 * 9 * 8 * 16 + 16 * 9 * 16 * 16 + 16 * (4 + 8) * 16 * 16 + 2 * 16 * 16 * 16
    assert spiking_macs("spikformer", dim=16, depth=1, n_heads=2, pools="0011", size=(16, 16)) == spiking
    assert line.split(" | ")[1] == "Poker-DVS"
    assert line.split(" | ")[4:] == ["0.02 M", f"{20_000 / spiking:.3f}", "0.50 uJ |"]


def test_weights_for_each_bin_are_counted_for_the_bins_of_the_set() -> None:
    results = zoo_docs._results_of("bestformer")
    for title, result in results.items():
        cells = zoo_docs._measured_line("bestformer", title, result).split(" | ")
        assert cells[2] == f"{result['runs'][0]['parameters']:,}"
    assert len({result["network"]["n_time_bins"] for result in results.values()}) == 2
