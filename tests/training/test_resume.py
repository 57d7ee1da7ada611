"""A training that was ended at any moment goes on bit by bit as if it had not been."""

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
import time
from itertools import pairwise
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
# Imports once, then starts a training in a process of its own for each line it is sent. It tells (step, process), (-1, status).
_NURSERY = """
import os, struct, sys
from pathlib import Path
import lightning_fabric, models.kernels.lif_cpu, torch
from safetensors.torch import save_file
from small_clips import BINNING, SMALL, halves
from models.registry import create_network
from training.augmentation import PEOPLE
from training.loop import Placement, fit
from training.recipes import Recipe
from training.resume import Keep
torch.set_num_threads(int(sys.argv[2]))
out = Path(sys.argv[1])
def tell(one, other):
    os.write(1, struct.pack("<qq", one, other))
def train():
    recipe = Recipe(epochs=4, batch=4, augmentation=PEOPLE, seed=3)
    torch.manual_seed(3)
    network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
    where = Placement(keep=Keep(out.with_name("resume"), 2, True))
    fit(network, halves(20, 0, 5), BINNING, recipe, lambda line: tell(line["step"], os.getpid()), where)
    save_file(network.state_dict(), out)
for _ in sys.stdin:
    process = os.fork()
    if process == 0:
        train()
        os._exit(0)
    tell(-1, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


class _EndedError(Exception):
    pass


def _network(**settings: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    return create_network("tim", **{**SMALL, **settings}, size=(16, 16), n_classes=2)


def _trained(recipe: Recipe, keep: Keep | None = None, end_after: int | None = None, n: int = 20) -> torch.nn.Module:
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
@pytest.mark.timeout(300)  # seconds alone, minutes on a crowded machine
def test_a_training_killed_three_times_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    out = tmp_path / "out.safetensors"
    environment = {**os.environ, "PYTHONPATH": f"{_TESTS / 'training'}:{_TESTS.parent}"}
    arguments = [sys.executable, "-c", _NURSERY, str(out), str(torch.get_num_threads())]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as nursery:
        kills = [*rng.integers(3, 7, 3).tolist(), None]
        steps = [_steps_until_killed(nursery, kill, float(rng.uniform(0.0, 0.02))) for kill in kills]
        assert nursery.stdin is not None
        nursery.stdin.close()
    # kept every other step, after it was told: the next training begins at the last step told, or one beside it
    assert all(abs(after[0] - before[-1]) <= 1 for before, after in pairwise(steps))
    assert steps[-1][-1] == 20
    assert _are_equal(_trained(dataclasses.replace(RECIPE, epochs=4)), load_file(out))


def _steps_until_killed(nursery: "subprocess.Popen[bytes]", n_before_kill: int | None, later_s: float) -> list[int]:
    """The steps that one training told of before it was killed a moment after its n-th, or ended."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(b"train\n")
    nursery.stdin.flush()
    steps: list[int] = []
    while True:
        step, number = struct.unpack("<qq", nursery.stdout.read(16))
        if step == -1:
            assert number == (0 if n_before_kill is None else -signal.SIGKILL)
            return steps
        steps.append(step)
        if len(steps) == n_before_kill:
            time.sleep(later_s)  # somewhere within a step, or a writing
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("changes", [{}, {"steps": "stream"}, {"steps": "mixed", "loss": "mean"}, {"mixup": 0.5}])
def test_every_kind_of_step_goes_on_as_if_it_had_not_ended(tmp_path: Path, changes: dict[str, Any]) -> None:
    # in the second of two epochs of three steps; of streams, which take five, in the middle of a clip
    recipe, end_after, n = dataclasses.replace(RECIPE, epochs=2, **changes), 5, 12
    keep = Keep(tmp_path / "resume", every=1)
    with pytest.raises(_EndedError):
        _trained(recipe, keep, end_after, n)
    assert Keep(keep.path, is_resumed=True).steps_done() == end_after - 1
    resumed = _trained(recipe, dataclasses.replace(keep, is_resumed=True), n=n)
    assert _are_equal(resumed, _trained(recipe, n=n).state_dict())


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
