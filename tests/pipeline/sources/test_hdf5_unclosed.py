"""HDF5 files that were not closed, and damaged ones that the library must not take for such."""

import os
import struct
from itertools import islice
from pathlib import Path

import pytest
from hostile import limited_memory, mutations
from small_recordings import ROWS, SMALL

from pipeline.schema.errors import InputError
from pipeline.sources.hdf5_unclosed import hash_words, view_unclosed
from pipeline.sources.registry import open_recording

pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")
MARKS_AT, END_AT, CHECKSUM_AT = 11, 28, 44


def left_open(*, end: int = 48, has_checksum: bool = True) -> bytearray:
    """The small recording as a killed writer leaves it: marked as open, its end not yet where it is."""
    data = bytearray(SMALL["hdf5-plain"]().data)
    data[MARKS_AT] = 5
    struct.pack_into("<Q", data, END_AT, end)
    if has_checksum:
        struct.pack_into("<I", data, CHECKSUM_AT, hash_words(bytes(data[:CHECKSUM_AT])))
    return data


def test_hash_is_that_of_its_author() -> None:
    """Values of the comment in lookup3.c."""
    assert hash_words(b"Four score and seven years ago") == 0x17770551


def test_hash_is_that_of_the_library() -> None:
    data = SMALL["hdf5-plain"]().data
    assert hash_words(data[:CHECKSUM_AT]) == struct.unpack_from("<I", data, CHECKSUM_AT)[0]


def test_file_left_open_is_read_to_its_end_and_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(left_open())
    with open_recording(tmp_path / "a.h5") as source:
        assert sum(packet.size for packet in source.packets()) == len(ROWS)
        assert "was not closed" in source.report().warnings[0]


def test_damaged_superblock_is_refused_at_once(tmp_path: Path) -> None:
    """Found by fuzzing: the library's own way of opening such files tries again and again, with longer and longer waits."""
    (tmp_path / "a.h5").write_bytes(left_open(has_checksum=False))
    with pytest.raises(InputError, match="cut off or damaged"):
        open_recording(tmp_path / "a.h5")


def test_damage_behind_a_sound_superblock_is_refused_at_once(tmp_path: Path) -> None:
    data = left_open()
    root = struct.unpack_from("<Q", data, 36)[0]
    data[root + 8] ^= 0xFF
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        open_recording(tmp_path / "a.h5")


def test_a_forged_size_does_not_make_the_library_ask_for_gigabytes(tmp_path: Path) -> None:
    """Found by mutation: opened as if its writer were still at it, a file has no end, and the library takes 4 GB for names."""
    (data,) = islice(mutations(SMALL["hdf5-heap"]().data, 205, seed=7), 204, None)
    (tmp_path / "a.h5").write_bytes(data)
    with limited_memory(64 << 20), pytest.raises(InputError, match="cut off or damaged"):
        open_recording(tmp_path / "a.h5")


def test_view_shows_the_file_with_another_beginning(tmp_path: Path) -> None:
    data = left_open()
    (tmp_path / "a.h5").write_bytes(data)
    with (tmp_path / "a.h5").open("rb") as handle:
        view = view_unclosed(handle)
        assert view is not None
        assert view.seek(0, os.SEEK_END) == len(data)
        view.seek(MARKS_AT)
        assert view.read(1) == b"\0"
        view.seek(40)
        # past the superblock the bytes are those of the file
        assert view.read(40)[8:] == data[48:80]
        assert view.tell() == 80
