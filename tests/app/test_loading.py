"""Recognisers by name, and what loading them does to the process around."""

import gc
import os
from pathlib import Path

import msgspec
import pytest

from app.jobs import InferenceJob, Places
from app.loading import built_without_pauses, load_beside, may_load_beside
from models.checkpoint import CheckpointInfo, configuration_values, save_checkpoint
from models.registry import create_network
from pipeline.schema.errors import InputError

JOB = InferenceJob(Places("/nowhere"), "canned", "running", 0.5, 50_000, is_lossless=True)


def test_what_a_worker_is_built_of_is_never_looked_through_again() -> None:
    # the collector took 0.1 to 0.5 s whenever it went through all of torch
    gc.unfreeze()
    try:
        with built_without_pauses():
            assert not gc.isenabled()
            built = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= len(built)
        assert not any(kept is built for kept in gc.get_objects())
    finally:
        gc.unfreeze()


def test_a_recogniser_comes_at_rest_with_the_settings_of_the_job_in_its_bins() -> None:
    loaded = load_beside(JOB, "canned")
    gc.unfreeze()
    assert loaded.recogniser.info.network == "canned@0"
    assert loaded.settings.hold_bins == 5  # 50 ms in bins of 10 ms
    with pytest.raises(InputError, match="no checkpoint 'nobody'"):
        load_beside(JOB, "nobody")
    gc.unfreeze()
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("learnt", "given", "said"),
    [
        (["background=2ms"], (), "learnt from events behind --filter background=2ms, and there is none here"),
        (["background=2ms"], ("flip=x",), "and there is --filter flip=x here"),
        (["background=2ms", "flip=x"], ("background=2ms", "flip=x"), ""),
        ([], ("flip=x",), ""),
    ],
    ids=["none", "another", "the same", "learnt without"],
)
def test_filters_other_than_those_of_training_are_told(tmp_path, caplog, learnt, given, said) -> None:
    network = create_network("tim", size=(16, 16), n_classes=2, dim=16, depth=1, n_heads=2, pools="0011")
    training = {"reading": {"filter": learnt}} if learnt else {}
    info = CheckpointInfo(
        "tim", configuration_values(network.configuration), ["a", "b"], 10_000, 3, (16, 16), training=training
    )
    save_checkpoint(tmp_path / "mine.safetensors", network, info)
    load_beside(msgspec.structs.replace(JOB, filters=given), str(tmp_path / "mine.safetensors"))
    gc.unfreeze()
    assert said in caplog.text
    assert bool(caplog.text) is bool(said)


@pytest.mark.parametrize(("device", "threads", "is_beside"), [("cpu", "1", True), ("cpu", "2", False), ("cuda", "1", False)])
def test_a_stream_goes_on_meanwhile_only_where_threads_cannot_meet(monkeypatch, device, threads, is_beside) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    job = InferenceJob(Places("/nowhere"), "canned", "running", 0.5, 50_000, is_lossless=True, device=device)
    assert may_load_beside(job) is is_beside


def test_what_is_no_checkpoint_is_neither_run_nor_waited_for(tmp_path: Path) -> None:
    # a pickle that makes a folder when it is read
    (tmp_path / "trap.pt").write_bytes(b"cos\nmkdir\n(V%s\ntR." % bytes(tmp_path / "sprung"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "much.safetensors").touch()
    os.truncate(tmp_path / "much.safetensors", 3_000_000_000)
    for name, reason in (("trap.pt", "not a safetensors"), ("pipe", "no checkpoint"), ("much.safetensors", "3000000000 bytes")):
        with pytest.raises(InputError, match=reason):
            load_beside(JOB, str(tmp_path / name))
    gc.unfreeze()
    assert not (tmp_path / "sprung").exists()
