"""Chunks of Prophesee's compression as encoded: every form comes back, and real chunks come out byte for byte."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from builders import random_events
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.sinks.ecf import CODED, PACKED_XP, PACKED_YXP, choose_form, encode_chunk
from pipeline.sources.ecf import decode_chunk
from pipeline.sources.hdf5_tables import EVENT_RECORD

FORMS = (CODED, PACKED_XP, PACKED_YXP)
WIDE = SensorSize(2048, 2048)


def decoded(chunk: bytes, n: int) -> npt.NDArray[np.int64]:
    columns: npt.NDArray[np.int64] = np.zeros((4, n), dtype=np.int64)
    assert decode_chunk(chunk, columns) == n
    return columns


def assert_same(events: Events, chunk: bytes) -> None:
    for name, column in zip("txyp", decoded(chunk, events.size), strict=True):
        assert np.array_equal(events[name], column), name


def test_three_events_by_hand() -> None:
    events = make_events([100, 100, 103], [20, 21, 400], [9, 9, 7], [1, 1, 0])
    times = bytes([0x02, 0x31])
    rows = struct.pack("<HH", 9 << 5 | 2, 7 << 5 | 1)
    columns = struct.pack("<HH", 20 << 5 | 0b10000, 400 << 5)
    assert encode_chunk(events, CODED) == struct.pack("<IQ", 3 << 2 | CODED, 100) + times + rows + columns + bytes([0x82, 0x01])
    packed = struct.pack("<3H", 41 << 4 | 43 & 0xF, 43 >> 4 << 8 | 800 & 0xFF, 800 >> 8 << 12)
    assert encode_chunk(events, PACKED_XP) == struct.pack("<IQ", 3 << 2 | PACKED_XP, 100) + times + rows + packed


def test_a_long_step_is_written_in_parts_of_four_bits_and_a_long_run_with_its_length() -> None:
    events = make_events([0] * 20 + [0x123], [0] * 21, [0] * 21, [1] * 21)
    chunk = encode_chunk(events, CODED)
    times = bytes([0x0F, 20, 0, 0xF3, 0xF2, 0xF1, 0x01])
    assert chunk[12:] == times + struct.pack("<H", 21) + struct.pack("<H", 0) * 21 + bytes([0x80 | 21])


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_event_comes_back_in_every_form(form: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    spread = data.draw(st.sampled_from([1, 3, 40, 2048]))
    step = data.draw(st.sampled_from([0, 1, 14, 15, 16, 300, 1 << 40]))
    t = data.draw(st.sampled_from([0, 1_605_537_493_718_345])) + np.cumsum(rng.integers(0, step + 1, n))
    events = make_events(t, rng.integers(0, spread, n), rng.integers(0, spread, n), rng.integers(0, 2, n))
    events["x"] = np.where(rng.random(n) < 0.5, np.arange(n) % 2048, events["x"])
    assert_same(events, encode_chunk(events, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 30, 31, 32, 126, 127, 128, 16_384, 65_535])
def test_runs_of_every_critical_length_come_back(form: int, n: int) -> None:
    events = make_events([7] * n, [3] * n, [5] * n, [1] * n)
    assert_same(events, encode_chunk(events, form))


def test_rows_that_change_are_packed_wholly_columns_that_jump_in_part_and_neighbours_not_at_all() -> None:
    rng = np.random.default_rng(1)
    jumping = rng.permutation(1000).astype(np.int64)
    same_row = np.zeros(1000, dtype=np.int64)
    assert choose_form(jumping, jumping) == PACKED_YXP
    assert choose_form(jumping, same_row) == PACKED_XP
    assert choose_form(np.arange(1000, dtype=np.int64), same_row) == CODED


def test_chosen_form_is_the_one_written() -> None:
    chunk = encode_chunk(random_events(2000, sensor=WIDE))
    assert struct.unpack_from("<I", chunk)[0] == 2000 << 2 | PACKED_YXP


def test_real_chunks_come_out_byte_for_byte(shared_data: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")
    n_chunks = 0
    for path in sorted((shared_data / "recordings/openeb").glob("*_ecf.hdf5")):
        with h5py.File(path, "r", locking=False) as file:
            dataset = file["CD/events"]
            for start in range(0, dataset.shape[0], dataset.chunks[0]):
                chunk = dataset.id.read_direct_chunk((start,))[1]
                n = struct.unpack_from("<I", chunk)[0] >> 2
                t, x, y, p = decoded(chunk, n)
                records = np.zeros(n, dtype=EVENT_RECORD)
                for name, column in zip("txyp", (t, x, y, p), strict=True):
                    records[name] = column
                own = encode_chunk(records)
                # what pads the last group of a packed form is whatever lay in the memory of the writer
                n_sure = len(own) - 12 if n % 4 else len(own)
                assert len(own) == len(chunk)
                assert own[:n_sure] == chunk[:n_sure]
                n_chunks += 1
    assert n_chunks >= 20
