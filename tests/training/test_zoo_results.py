"""The table of the zoo says plainly who is behind the yardstick, and what was scored before."""

import json
from pathlib import Path
from typing import Any

from training.zoo_results import zoo_rows


def _result(accuracies: list[float], linear: float, *, epochs: int = 40, network: str = "sdt") -> dict[str, Any]:
    runs = [
        {
            "accuracy": accuracy,
            "sops_per_bin": 250_000.0 + 100_000 * i,
            "energy_uj_per_bin_estimated": 0.5,
            "parameters": 12_345,
            "recipe": {"epochs": epochs},
        }
        for i, accuracy in enumerate(accuracies)
    ]
    settings = {"name": network, "pools": "1110", "delta_t_us": 1000, "size": [32, 32], "n_time_bins": 16, "cut_us": None}
    return {
        "n_train": 79,
        "n_test": 25,
        "network": settings,
        "accuracy_mean": sum(accuracies) / len(accuracies),
        "accuracy_spread": max(accuracies) - min(accuracies),
        "linear_same_split": linear,
        "runs": runs,
    }


def test_nothing_is_said_where_nothing_was_run(tmp_path: Path) -> None:
    assert list(zoo_rows(tmp_path)) == []


def test_each_network_has_a_row_with_mean_seeds_yardstick_and_costs(tmp_path: Path) -> None:
    sets = {"poker": _result([1.0, 0.96, 0.92], 0.88), "nmnist": _result([0.9], 0.873)}
    (tmp_path / "zoo_sdt.json").write_text(json.dumps(sets))
    rows = list(zoo_rows(tmp_path))
    assert (
        "| `sdt` | 12,345 / 12,345 | **0.960** (spread 0.080) | 1.000, 0.960, 0.920 | 0.880 | 0.350 M | 0.50 uJ "
        "| **0.900** | 0.900 | 0.873 | 0.250 M | 0.50 uJ |"
    ) in rows
    assert "- Poker-DVS: 1 of 1 networks beat the linear yardstick on the same clips." in rows
    assert not any("does not beat" in row for row in rows)


def test_a_network_behind_the_yardstick_is_named_with_the_distance(tmp_path: Path) -> None:
    (tmp_path / "zoo_sdt.json").write_text(json.dumps({"poker": _result([0.84], 0.88)}))
    (tmp_path / "zoo_semm.json").write_text(json.dumps({"poker": _result([0.92], 0.88)}))
    rows = list(zoo_rows(tmp_path))
    assert "- Poker-DVS: 1 of 2 networks beat the linear yardstick on the same clips." in rows
    assert "- **`sdt` does not beat the linear yardstick on Poker-DVS**: 0.840 against 0.880, 4.0 points behind." in rows
    assert any(row.startswith("| `sdt` |") and row.endswith("| - | - | - | - | - |") for row in rows)


def test_a_network_that_learnt_longer_is_named_with_its_epochs(tmp_path: Path) -> None:
    for name, epochs in {"sdt": 40, "tim": 40, "semm": 100}.items():
        (tmp_path / f"zoo_{name}.json").write_text(json.dumps({"poker": _result([0.92], 0.88, epochs=epochs)}))
    assert any(row.endswith("16 bins of 1 ms, 40 epochs, 100 for `semm`.") for row in zoo_rows(tmp_path))


def test_recipes_that_were_scored_before_are_listed(tmp_path: Path) -> None:
    (tmp_path / "zoo_sdt.json").write_text(json.dumps({"nmnist": _result([0.9], 0.873)}))
    (tmp_path / "zoo_sdt_first.json").write_text(json.dumps({"nmnist": _result([0.75], 0.873, epochs=12)}))
    rows = list(zoo_rows(tmp_path))
    assert rows[-1] == (
        "- Scored before on the same clips of N-MNIST: `sdt` with pools 1110, 12 epochs: 0.750 (spread 0.000, seeds: 1)."
    )
    assert sum(row.startswith("| `sdt`") for row in rows) == 1
