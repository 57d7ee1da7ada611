"""Whichever way a network is run, the recogniser is told the same of every bin."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import Lively
from small_networks import counts, small_network

from models.engine import sparse
from models.engine.runners import CompiledRunner, PlainRunner, choose_runner
from models.neuron import SpikingNetwork


def test_compiled_and_plain_tell_the_same_of_each_bin(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("tim", lively).float()
    compiled, plain = CompiledRunner(network), PlainRunner(network)
    for x in counts(network, 4, 1):
        frame = x[0].to(torch.uint8).numpy()
        torch.testing.assert_close(compiled.step(frame), plain.step(frame), rtol=0, atol=1e-3)
        found, wanted = compiled.read(), plain.read()
        assert (found.sops, found.macs) == (wanted.sops, wanted.macs)
        assert found.layers == wanted.layers
        assert np.array_equal(found.raster, wanted.raster)
    assert wanted.raster.any()


def test_what_a_step_gave_stays_as_it_was(lively: Lively[SpikingNetwork]) -> None:
    network = small_network("spikformer", lively).float()
    runner = CompiledRunner(network)
    first, second = (x[0].to(torch.uint8).numpy() for x in counts(network, 2, 1))
    given = runner.step(first)
    kept = given.clone()
    runner.step(second)
    assert torch.equal(given, kept)


def test_a_wait_for_the_compiler_is_announced_and_only_that(
    lively: Lively[SpikingNetwork], caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network("tim", lively).float()
    CompiledRunner(network)
    with caplog.at_level(logging.INFO):
        CompiledRunner(network)
        assert not caplog.records
        monkeypatch.setattr(sparse.gather_share._cache, "_cache_path", str(tmp_path))
        CompiledRunner(network)
    assert [record.getMessage() for record in caplog.records] == [
        "compiling what networks need for this processor: once, about half a minute"
    ]


def test_a_network_that_is_not_compiled_runs_plainly_and_the_log_says_why(
    lively: Lively[SpikingNetwork], caplog: pytest.LogCaptureFixture
) -> None:
    network = small_network("spikformer", lively)  # float64
    with caplog.at_level(logging.INFO):
        runner = choose_runner(network)
    assert isinstance(runner, PlainRunner)
    assert [record.getMessage() for record in caplog.records] == ["the network runs plainly: its weights are not float32"]
    assert runner.step(np.ones((2, 32, 32), np.uint8)).shape == (5,)
