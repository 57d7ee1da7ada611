"""Damaged recordings of every format: an error of ours or a normal end, and never an event that breaks the contract."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, truncations
from recording_bytes import AEDAT3_HEADER, aedat2, aedat4, dvs128_address, events4, packet3, packet4, polarity, special

from pipeline.schema.errors import SaccadeError
from pipeline.sources.registry import open_recording

ROWS = [(1000 * i, i % 32, i % 24, i % 2) for i in range(40)]
AEDAT2 = aedat2([(dvs128_address(x, y, p), t) for t, x, y, p in ROWS])
AEDAT3 = (
    AEDAT3_HEADER
    + packet3([special(0, 1)], kind=0)
    + packet3([polarity(t, x, y, p) for t, x, y, p in ROWS[:20]])
    + packet3([b"\7" * 50], kind=2)
    + packet3([polarity(t, x, y, p) for t, x, y, p in ROWS[20:]], overflow=1)
)
FORMATS = {
    "aedat2": AEDAT2,
    "aedat3": AEDAT3,
    **{
        f"aedat4-{compression}": aedat4(
            [packet4(events4(rows), compression=compression) for rows in (ROWS[:20], ROWS[20:])], compression=compression
        )
        for compression in (0, 1, 3)
    },
}
# A decoder holds one block in and one out; what a forged size asks for must not come on top.
MEMORY_LIMIT_BYTES = 48 << 20


def read_or_refuse(path: Path, data: bytes) -> int:
    """Read a damaged file as far as it goes, checking every event; gives how many there were."""
    path.write_bytes(data)
    last, n = -(1 << 63), 0
    try:
        with open_recording(path) as source:
            for events in source.packets():
                if events.size == 0:
                    continue
                assert events["x"].max() < source.info.sensor_size.width
                assert events["y"].max() < source.info.sensor_size.height
                assert events["p"].max() <= 1
                assert events["t"][0] >= last
                assert (np.diff(events["t"]) >= 0).all()
                last, n = events["t"][-1], n + events.size
            source.report()
    except SaccadeError:
        return n
    return n


@pytest.mark.parametrize("name", FORMATS)
def test_every_truncation_gives_whole_events_or_an_error_of_ours(tmp_path: Path, name: str) -> None:
    counts = [read_or_refuse(tmp_path / "damaged", data) for data in truncations(FORMATS[name])]
    assert counts == sorted(counts), "a longer beginning never gives fewer events"
    assert read_or_refuse(tmp_path / "whole", FORMATS[name]) == len(ROWS)


@pytest.mark.parametrize("name", FORMATS)
def test_mutations_give_sane_events_or_an_error_of_ours(tmp_path: Path, name: str) -> None:
    read_or_refuse(tmp_path / "whole", FORMATS[name])  # compile before memory is measured
    tracemalloc.start()
    try:
        for data in mutations(FORMATS[name], 300, seed=7):
            read_or_refuse(tmp_path / "damaged", data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT_BYTES


def test_mutated_npz_gives_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    t, x, y, p = np.array(ROWS).T
    np.savez_compressed(tmp_path / "a.npz", t=t, x=x, y=y, p=p, width=32, height=24)
    data = (tmp_path / "a.npz").read_bytes()
    for damaged in (*mutations(data, 300, seed=3), *list(truncations(data))[::7]):
        read_or_refuse(tmp_path / "damaged", damaged)
