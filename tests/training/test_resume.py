"""A training that was ended at any moment goes on bit by bit as if it had not been."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_clips import BINNING, SMALL, halves

from models.registry import create_network
from pipeline.schema.errors import ConfigurationError, InputError
from training.augmentation import PEOPLE
from training.loop import Placement, fit
from training.recipes import Recipe
from training.resume import Keep

RECIPE = Recipe(epochs=3, batch=4, augmentation=PEOPLE, seed=3)
_TESTS = Path(__file__).parents[1]
_TRAINER = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from small_clips import BINNING, SMALL, halves
from models.registry import create_network
from training.augmentation import PEOPLE
from training.loop import Placement, fit
from training.recipes import Recipe
from training.resume import Keep
torch.set_num_threads(int(sys.argv[2]))
out = Path(sys.argv[1])
recipe = Recipe(epochs=12, batch=4, augmentation=PEOPLE, seed=3)
torch.manual_seed(3)
network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
def report(line):
    sys.stdout.buffer.write(line["step"].to_bytes(8, "little"))
    sys.stdout.buffer.flush()
keep = Keep(out.with_name("resume"), 2, True)
fit(network, halves(20, 0, 5), BINNING, recipe, report, Placement(keep=keep))
save_file(network.state_dict(), out)
"""


class _EndedError(Exception):
    pass


def _network(**settings: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    return create_network("tim", **{**SMALL, **settings}, size=(16, 16), n_classes=2)


def _trained(
    recipe: Recipe, keep: Keep | None = None, end_after: int | None = None, n_bins: int = 5, n: int = 20
) -> torch.nn.Module:
    network = _network()

    def report(line: dict[str, Any]) -> None:
        # the report comes before the writing: what is done is lost, as with a kill
        if line["step"] == end_after:
            raise _EndedError

    fit(network, halves(n, 0, 5), BINNING, recipe, report, Placement(keep=keep))
    return network


def _are_equal(one: torch.nn.Module, other: dict[str, torch.Tensor]) -> bool:
    own = one.state_dict()
    return set(own) == set(other) and all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.slow
@pytest.mark.timeout(300)  # every start of a process imports torch and Fabric: minutes on a crowded machine
def test_a_training_killed_three_times_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    out, n_kills, done = tmp_path / "out.safetensors", 0, 0
    environment = {**os.environ, "PYTHONPATH": f"{_TESTS / 'training'}:{_TESTS.parent}"}
    arguments = [sys.executable, "-c", _TRAINER, str(out), str(torch.get_num_threads())]
    while not out.is_file():
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            if n_kills < 3:
                for _ in range(int(rng.integers(5, 14))):
                    done = int.from_bytes(child.stdout.read(8), "little")
                with pytest.raises(subprocess.TimeoutExpired):
                    child.wait(float(rng.uniform(0.0, 0.02)))  # somewhere within a step, or a writing
                child.send_signal(signal.SIGKILL)
                n_kills += 1
            else:
                steps = np.frombuffer(child.stdout.read(), dtype="<u8")
        assert child.returncode == (0 if out.is_file() else -signal.SIGKILL)
    assert done > 10
    assert steps[0] > 5  # it did not begin anew
    assert steps[-1] == 60
    recipe = dataclasses.replace(RECIPE, epochs=12)
    assert _are_equal(_trained(recipe), load_file(out))


@pytest.mark.parametrize("changes", [{}, {"steps": "stream"}, {"steps": "mixed", "loss": "mean"}, {"mixup": 0.5}])
def test_every_kind_of_step_goes_on_as_if_it_had_not_ended(tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe, end_after = dataclasses.replace(RECIPE, epochs=2, **changes), 8
    keep = Keep(tmp_path / "resume", every=1)
    with pytest.raises(_EndedError):
        _trained(recipe, keep, end_after)
    assert Keep(keep.path, is_resumed=True).steps_done() == end_after - 1
    resumed = _trained(recipe, dataclasses.replace(keep, is_resumed=True))
    assert _are_equal(resumed, _trained(recipe).state_dict())


def test_a_training_that_had_not_been_kept_yet_begins_anew(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "resume", every=100, is_resumed=True)
    short = dataclasses.replace(RECIPE, epochs=1)
    assert _are_equal(_trained(short, keep), _trained(short).state_dict())
    assert keep.steps_done() == 0


def test_another_recipe_or_other_data_is_refused_by_name(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "resume", every=1)
    with pytest.raises(_EndedError):
        _trained(RECIPE, keep, 3)
    again = dataclasses.replace(keep, is_resumed=True)
    with pytest.raises(ConfigurationError, match=r"learning_rate was 0\.001, now 0\.002"):
        _trained(dataclasses.replace(RECIPE, learning_rate=2e-3), again)
    with pytest.raises(ConfigurationError, match=r"data was '20 clips, .*now '22 clips"):
        _trained(RECIPE, again, n=22)
    with pytest.raises(ConfigurationError, match="depth was 1, now 2"):
        fit(_network(depth=2), halves(20, 0, 5), BINNING, RECIPE, lambda _: None, Placement(keep=again))


def test_a_damaged_file_is_an_input_error_that_says_the_way_out(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "resume", every=1)
    with pytest.raises(_EndedError):
        _trained(RECIPE, keep, 3)
    whole = keep.path.read_bytes()
    for damaged in (b"", whole[:-10], b"no safetensors at all", whole.replace(b"saccade-training", b"somebody-elses-x")):
        keep.path.write_bytes(damaged)
        with pytest.raises(InputError, match="leave --resume out"):
            _trained(RECIPE, dataclasses.replace(keep, is_resumed=True))


def test_what_is_kept_holds_no_more_than_arrays_and_json(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "resume", every=1)
    with pytest.raises(_EndedError):
        _trained(RECIPE, keep, 3)
    data = keep.path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    said = json.loads(header.pop("__metadata__")["saccade-training"])
    assert said["step"] == 2
    assert said["about"]["recipe"]["seed"] == 3
    kinds = {name.split("/")[0] for name in header}
    assert kinds == {"weights", "step", "exp_avg", "exp_avg_sq", "random"}
    assert not list(tmp_path.glob("*.partial"))
