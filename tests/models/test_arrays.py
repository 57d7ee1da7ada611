"""Weight files of others: found by content, bounded before they are read, and never run."""

import argparse
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import arrays
from models.arrays import read_arrays
from pipeline.schema.errors import InputError, UnknownFormatError

WEIGHT = torch.arange(6, dtype=torch.float64).view(2, 3)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"a.weight": WEIGHT},
        {"state_dict": {"a.weight": WEIGHT}, "epoch": 3},
        {"model": {"a.weight": WEIGHT}, "model_ema": {"a.weight": WEIGHT + 1}, "args": argparse.Namespace(lr=0.1)},
        {"model": {"state_dict": {"module.a.weight": WEIGHT}}},
        {"model._orig_mod.a.weight": WEIGHT},
    ],
)
def test_arrays_are_found_where_training_scripts_put_them(wrapped: dict[str, object], tmp_path: Path) -> None:
    torch.save(wrapped, tmp_path / "best.pth.tar")
    found = read_arrays(tmp_path / "best.pth.tar")
    assert list(found) == ["a.weight"]
    assert torch.equal(found["a.weight"], WEIGHT)


def test_npz_and_safetensors_are_told_by_content_whatever_their_name(tmp_path: Path) -> None:
    with (tmp_path / "one.bin").open("wb") as file:
        np.savez_compressed(file, **{"w/a.weight": WEIGHT.numpy().astype(">f8"), "in/x": np.zeros(3)})
    save_file({"a.weight": WEIGHT}, tmp_path / "two.bin")
    for name in ("one.bin", "two.bin"):
        found = read_arrays(tmp_path / name)
        assert list(found) == ["a.weight"]  # what stands beside `w/` is no weight
        assert torch.equal(found["a.weight"], WEIGHT)


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_refused_and_not_run(is_zip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": WEIGHT, "b": _Runs()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match=r"where it was made: torch\.save"):
        read_arrays(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_old_archives_without_code_are_refused_too(tmp_path: Path) -> None:
    torch.save({"a": WEIGHT}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="a bare pickle, which is not opened"):
        read_arrays(tmp_path / "old.pth")


def test_objects_in_npz_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="holds object, not numbers"):
        read_arrays(tmp_path / "objects.npz")


def _npz_with_header(path: Path, header: str) -> None:
    """An npz whose only array has this header and eight bytes."""
    text = header.encode().ljust(118 - 1) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8))


def test_array_that_claims_more_than_it_has_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    _npz_with_header(tmp_path / "big.npz", "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }")
    with pytest.raises(InputError, match="claims"):
        read_arrays(tmp_path / "big.npz")


def test_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_MAX_BYTES", 100_000)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(100_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 2_000
    with pytest.raises(InputError, match="entries of 800128 bytes unpacked"):
        read_arrays(tmp_path / "bomb.npz")
    (tmp_path / "large.pth").write_bytes(bytes(100_001))
    with pytest.raises(InputError, match="100001 bytes is more"):
        read_arrays(tmp_path / "large.pth")


def test_pickle_that_is_longer_than_any_list_of_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_MAX_PICKLE_BYTES", 50)
    torch.save({"a": WEIGHT}, tmp_path / "long.pth")
    with pytest.raises(InputError, match="its pickle has over 50 bytes"):
        read_arrays(tmp_path / "long.pth")


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["pth", "npz", "safetensors"])
def test_file_that_was_cut_short_is_refused_with_a_sentence(kind: str, cut: float, tmp_path: Path) -> None:
    path, buffer = tmp_path / f"cut.{kind}", io.BytesIO()
    big = torch.rand(50, 50)
    if kind == "npz":
        np.savez(buffer, a=big.numpy())
    elif kind == "pth":
        torch.save({"a": big}, buffer)
    else:
        save_file({"a": big}, path)
    whole = buffer.getvalue() or path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(InputError, match=r"damaged|more than arrays"):
        read_arrays(path)


def test_what_is_no_weight_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("<html>sign in to download</html>")
    with pytest.raises(UnknownFormatError, match="neither a torch archive nor npz nor safetensors"):
        read_arrays(tmp_path / "text.pth")
    with zipfile.ZipFile(tmp_path / "docs.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(UnknownFormatError, match="neither torch's nor npz"):
        read_arrays(tmp_path / "docs.zip")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match="no arrays in it"):
        read_arrays(tmp_path / "empty.pth")
    torch.save(WEIGHT, tmp_path / "one.pth")
    with pytest.raises(InputError, match="a Tensor, not arrays by name"):
        read_arrays(tmp_path / "one.pth")
    with pytest.raises(InputError, match="there is no such file"):
        read_arrays(tmp_path / "nowhere.pth")
