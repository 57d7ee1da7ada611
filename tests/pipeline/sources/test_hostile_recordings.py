"""Damaged recordings of every format: an error of ours or a normal end, and never an event that breaks the contract."""

import time
from itertools import islice
from pathlib import Path

import pytest
from hostile import limited_memory, mutations, read_or_refuse, truncations
from small_recordings import SMALL, Small

N_MUTATIONS = 2000
# What is asked for and not filled is known of these only: tracing doubles the time.
N_TRACED = 500
# Decoders hold a block in and the events of one out; what a forged size asks for must not come on top.
SPARE_BYTES = 64 << 20
# Small files take a millisecond; this much processor time would be a hang.
PATIENCE_S = 10
# Asking for the peak of memory takes about as long as reading a file.
BATCH = 50


@pytest.fixture(params=SMALL)
def small(request: pytest.FixtureRequest) -> Small:
    if request.param.startswith("hdf5"):
        pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")
    return SMALL[request.param]()


def test_every_truncation_gives_whole_events_or_an_error_of_ours(tmp_path: Path, small: Small) -> None:
    path = tmp_path / f"damaged{small.ending}"
    beginnings = islice(truncations(small.data), 0, None, small.stride)
    counts = [read_or_refuse(path, data, **small.options) for data in beginnings]
    if small.is_streamed:
        assert counts == sorted(counts), "a longer beginning never gives fewer events"
    assert read_or_refuse(path, small.data, **small.options) == small.n_events


def test_mutations_give_sane_events_or_an_error_of_ours_in_bounded_time_and_memory(tmp_path: Path, small: Small) -> None:
    path = tmp_path / f"damaged{small.ending}"
    read_or_refuse(path, small.data, **small.options)  # compile before memory is measured
    damaged = list(mutations(small.data, N_MUTATIONS, seed=7))
    for begin in range(0, N_MUTATIONS, BATCH):
        batch = damaged[begin : begin + BATCH]
        limit_bytes = 2 * min(map(len, batch)) + SPARE_BYTES
        with limited_memory(limit_bytes, f"mutations from {begin} on", is_traced=begin < N_TRACED):
            for number, data in enumerate(batch, begin):
                begun = time.process_time()
                try:
                    read_or_refuse(path, data, **small.options)
                except Exception as error:
                    error.add_note(f"mutation {number}, seed 7")
                    raise
                assert time.process_time() - begun < PATIENCE_S, f"mutation {number}"
