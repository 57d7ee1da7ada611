"""N-MNIST and N-Caltech101 `.bin`, built byte by byte."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, read_or_refuse, truncations
from seeking import assert_spans_are_slices

from pipeline.schema.errors import UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources import bin40
from pipeline.sources.bin40 import is_plausible
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording


def records(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    """40-bit records of (t, x, y, p)."""
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in rows)


ROWS = [(1000 * i, i % 32, i % 24, i % 2) for i in range(40)]


def test_bits_become_events(tmp_path: Path) -> None:
    # x 7, y 15, then 1000 0000 0000 0010 1000 1110: ON, 0x28E us; OFF has the top bit clear
    (tmp_path / "a.bin").write_bytes(bytes.fromhex("070f80028e 131200 0bb7"))
    with open_recording(tmp_path / "a.bin") as source:
        assert (source.info.format, source.info.encoding) == ("N-MNIST .bin", "40 bit")
        assert next(source.packets()).tolist() == [(7, 15, 1, 0x28E), (19, 18, 0, 0xBB7)]


def test_row_240_is_no_event_and_adds_8192_us_to_all_later_times(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(records([(5, 1, 2, 1), (0, 0, 240, 0), (6, 1, 2, 0), (0, 9, 240, 1), (7, 3, 4, 1)]))
    with open_recording(tmp_path / "a.bin") as source:
        assert next(source.packets())["t"].tolist() == [5, 8192 + 6, 2 * 8192 + 7]
        assert source.report().is_monotonic


def test_events_within_34x34_are_n_mnist_and_larger_ones_are_measured(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(records([(1, 2, 3, 1)]))
    (tmp_path / "b.bin").write_bytes(records([(1, 199, 3, 1), (2, 0, 99, 1), (3, 250, 240, 0)]))
    for name, size in (("a", SensorSize(34, 34)), ("b", SensorSize(200, 100))):
        with open_recording(tmp_path / f"{name}.bin") as source:
            assert source.info.sensor_size == size
            list(source.packets())
            assert source.report().warnings == (
                f"the file names no sensor size; {size.width}x{size.height} pixels is what its events need",
            )


def test_a_named_size_drops_what_lies_outside(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(records([(1, 2, 3, 1), (2, 33, 3, 1)]))
    with open_recording(tmp_path / "a.bin", chip="20x10") as source:
        assert next(source.packets())["x"].tolist() == [2]
        assert source.report().warnings == ("1 events outside the sensor of 20x10 pixels dropped",)


def test_only_the_name_and_plausible_bytes_together_make_a_recording(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(4000)
    for name, data in (("a.dat", records(ROWS)), ("b.bin", noise), ("c.bin", b"\x07\x0f\x80\x02")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnknownFormatError, match="unknown content"):
            open_recording(tmp_path / name)
    assert is_plausible(records(ROWS))
    assert not is_plausible(noise)


def test_a_last_record_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(records(ROWS)[:-2])
    with open_recording(tmp_path / "a.bin") as source:
        assert sum(packet.size for packet in source.packets()) == 39
        assert source.report().is_truncated
        assert source.report().n_bytes_skipped == 3


def test_the_event_stream_option_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(records(ROWS))
    with pytest.raises(UsageError, match="--stream"):
        open_recording(tmp_path / "a.bin", stream=1)


def test_truncations_and_mutations_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    data = records(ROWS)
    counts = [read_or_refuse(tmp_path / "a.bin", cut) for cut in (*truncations(data), data)]
    assert counts == sorted(counts)
    assert counts[-1] == len(ROWS)
    for damaged in mutations(data, 300, seed=11):
        read_or_refuse(tmp_path / "a.bin", damaged)


def test_real_recording_meets_its_manifest(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "manifest.json").read_text())
    entry = next(entry for entry in manifest["files"] if entry["file"] == "recordings/bin/nmnist_sample.bin")
    with open_recording(shared_data / entry["file"]) as source:
        assert list(source.info.sensor_size) == entry["sensor"]
        events = np.concatenate(list(source.packets()))
        assert source.report().is_monotonic
    assert (events.size, events["t"][0], events["t"][-1]) == (entry["n_events"], entry["t_first"], entry["t_last"])
    assert (events["x"].sum(dtype=np.int64), events["y"].sum(dtype=np.int64)) == (entry["sum_x"], entry["sum_y"])
    assert float(events["p"].mean()) == pytest.approx(entry["on_share"], abs=1e-5)


def test_n_mnist_clips_equal_their_repacked_twins(shared_data: Path) -> None:
    folder = shared_data / "labelled/nmnist_small"
    clips = np.load(folder / "nmnist_small.npz", allow_pickle=False)
    files = sorted((folder / "bin_examples").glob("*/*.bin"))
    assert len(files) > 30
    # taken out once: an archive unpacks a column each time it is asked for it
    columns = {name: clips[name] for name in "txyp"}
    offsets = clips["offsets"]
    first = columns["t"][offsets[:-1]]
    for file in files:
        with open_recording(file) as source:
            events = np.concatenate(list(source.packets()))
        # names differ between the two, so a twin is found by its length and first time
        twins = np.flatnonzero((np.diff(offsets) == events.size) & (first == events["t"][0]))
        assert any(
            all(np.array_equal(events[name], columns[name][offsets[i] : offsets[i + 1]]) for name in "txyp") for i in twins
        ), file.name


def test_a_span_equals_the_slice_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr(bin40, "_BLOCK_RECORDS", 4)
    (tmp_path / "a.bin").write_bytes(records([*ROWS[:10], (0, 0, 240, 0), *ROWS[10:], (1000, 1, 1, 1)]))
    assert assert_spans_are_slices(tmp_path / "a.bin") > 20


def test_any_name_and_any_bytes_are_read_when_asked_for(tmp_path: Path) -> None:
    falling = records([(5000 - t, x, y, p) for t, x, y, p in ROWS[:5]])
    (tmp_path / "a.bs2").write_bytes(falling)
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "a.bs2")
    with open_recording(tmp_path / "a.bs2", format="bin40") as source:
        assert next(source.packets())["t"].tolist() == [5000] * 5
        assert not source.report().is_monotonic
