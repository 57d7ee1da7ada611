"""Heaps that make the HDF5 library loop for ever; found by mutation."""

import struct
from pathlib import Path

import pytest
from small_recordings import SMALL

from pipeline.schema.errors import InputError
from pipeline.sources.registry import open_recording

pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")


def damaged(at: int, value: bytes) -> bytes:
    """The small recording with other bytes so far behind the start of its heap: 8 its size, 24 and 32 its first object."""
    data = bytearray(SMALL["hdf5-heap"]().data)
    heap = data.index(b"GCOL")
    data[heap + at : heap + at + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (24, struct.pack("<Q", (1 << 64) - 1)),
        (16, b"\0\0"),  # as index 0 the object's size of 5 bytes is smaller than its own header
        (40, b"\xff" * 16),
        (48, bytes(8)),
    ],
)
def test_objects_larger_than_the_heap_or_without_end_are_refused(tmp_path: Path, at: int, value: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(damaged(at, value))
    with pytest.raises(InputError, match="heap of strings at byte"):
        open_recording(tmp_path / "a.h5")


def test_a_sound_heap_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(SMALL["hdf5-heap"]().data)
    with open_recording(tmp_path / "a.h5") as source:
        assert source.info.sensor_size == (32, 24)
