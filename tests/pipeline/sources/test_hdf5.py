"""HDF5 recordings: Prophesee's layout with chunks built by hand, DSEC's, and plain groups."""

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import mutations, read_or_refuse
from seeking import assert_spans_are_slices

from pipeline.schema.errors import InputError, MissingExtraError, UnknownFormatError
from pipeline.schema.events import SensorSize, make_triggers
from pipeline.sources import hdf5 as hdf5_module
from pipeline.sources.index import Index
from pipeline.sources.registry import is_recording, open_recording

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")

COLUMNS: dict[str, Any] = {"t": [10, 20, 30], "x": [1, 2, 3], "y": [4, 5, 6], "p": [1, 0, 1]}
EVENTS = [(1, 4, 1, 10), (2, 5, 0, 20), (3, 6, 1, 30)]
PROPHESEE = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})
ECF = 36559


def write_columns(path: Path, group: str, columns: dict[str, Any], **extra: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"{group}/{name}"] = np.asarray(values)
        for name, value in extra.items():
            file[name] = value
    return path


def read(path: Path, *, chip: str | None = None) -> list[tuple[int, int, int, int]]:
    with open_recording(path, chip=chip) as source:
        return [event for packet in source.packets() for event in packet.tolist()]


def ecf_chunk(rows: list[tuple[int, int, int, int]]) -> bytes:
    """Up to 126 events of (t, x, y, p), coded one by one; times must rise by less than 15 us."""
    times, last = b"", rows[0][0]
    for t, *_ in rows:
        times += bytes([(t - last) << 4 | 1])
        last = t
    y = b"".join(struct.pack("<H", y << 5 | 1) for _, _, y, _ in rows)
    x = b"".join(struct.pack("<H", x << 5) for _, x, _, _ in rows)
    return struct.pack("<IQ", len(rows) << 2, rows[0][0]) + times + y + x + bytes(p << 7 | 1 for *_, p in rows)


def write_ecf(path: Path, chunks: list[tuple[int, bytes]], *, n: int, chunk: int = 4, geometry: str = "32x24") -> Path:
    """A Prophesee file of `n` events in chunks of (filter mask, bytes); empty bytes leave a chunk out."""
    with h5py.File(path, "w") as file:
        file.attrs["geometry"] = geometry
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((chunk,))
        creation.set_filter(ECF, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((n,), (h5py.h5s.UNLIMITED,))
        kind = h5py.h5t.py_create(np.dtype({**_fields(PROPHESEE), "itemsize": 16}))
        dataset = h5py.h5d.create(file.create_group("CD").id, b"events", kind, space, creation)
        for i, (mask, data) in enumerate(chunks):
            if data:
                dataset.write_direct_chunk((i * chunk,), data, mask)
    return path


def _fields(dtype: np.dtype[Any]) -> dict[str, Any]:
    names = list(dtype.names or ())
    fields = dtype.fields or {}
    return {"names": names, "formats": [fields[name][0] for name in names], "offsets": [fields[name][1] for name in names]}


ROWS = [(100 + 3 * i, i % 32, i % 24, i % 2) for i in range(10)]
HOUSE = [(x, y, p, t) for t, x, y, p in ROWS]


def test_ecf_chunks_and_one_that_the_filter_skipped_become_events(tmp_path: Path) -> None:
    plain = np.zeros(4, dtype=np.dtype({**_fields(PROPHESEE), "itemsize": 16}))
    for i, (t, x, y, p) in enumerate(ROWS[4:8]):
        plain[i] = (x, y, p, t)
    chunks = [(0, ecf_chunk(ROWS[:4])), (1, plain.tobytes()), (0, ecf_chunk(ROWS[8:]))]
    with open_recording(write_ecf(tmp_path / "a", chunks, n=10)) as source:
        assert (source.info.format, source.info.encoding) == ("HDF5", "ECF")
        assert source.info.sensor_size == SensorSize(32, 24)
        assert [event for packet in source.packets() for event in packet.tolist()] == HOUSE
        assert source.report().warnings == ()
        assert source.n_bytes_read == source.n_bytes
        assert len(list(source.packets())) == 3, "a second pass begins anew"


def test_padding_in_the_last_chunk_is_no_event(tmp_path: Path) -> None:
    assert read(write_ecf(tmp_path / "a", [(0, ecf_chunk(ROWS[:4]))], n=3)) == HOUSE[:3]


def test_damaged_and_missing_chunks_are_left_out_and_counted(tmp_path: Path) -> None:
    chunks = [(0, ecf_chunk(ROWS[:4])[:-3]), (0, ecf_chunk(ROWS[4:8])), (0, b"")]
    with open_recording(write_ecf(tmp_path / "a", chunks, n=10)) as source:
        assert [event for packet in source.packets() for event in packet.tolist()] == HOUSE[4:8]
        assert source.report().warnings == ("6 events are missing or damaged",)
        assert source.report().is_truncated


def test_ecf_without_geometry_is_measured(tmp_path: Path) -> None:
    path = write_ecf(tmp_path / "a", [(0, ecf_chunk(ROWS[:4]))], n=4, geometry="unknown")
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(4, 4)
    with open_recording(path, chip="2x9") as source:
        assert sum(packet.size for packet in source.packets()) == 2


def test_plain_compound_records_are_read_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        records = np.zeros(3, dtype=np.dtype({**_fields(PROPHESEE), "itemsize": 16}))
        for name, values in COLUMNS.items():
            records[name] = values
        file.create_dataset("CD/events", data=records, chunks=(2,), compression="gzip")
    assert read(tmp_path / "a") == EVENTS


@pytest.mark.parametrize(("group", "ending"), [("events", ""), ("raw_events", ""), ("/", ""), ("deep/down", "s")])
def test_any_group_with_four_columns_is_read(tmp_path: Path, group: str, ending: str) -> None:
    path = write_columns(tmp_path / "a", group, {name + ending: values for name, values in COLUMNS.items()})
    with open_recording(path) as source:
        assert source.info.encoding == f"{group}, t in microseconds"
        assert source.info.sensor_size == SensorSize(4, 7)
        assert [event for packet in source.packets() for event in packet.tolist()] == EVENTS
        assert source.report().warnings == ("the file names no sensor size; 4x7 pixels is what its events need",)


def test_dsec_offset_is_added_to_its_unsigned_times(tmp_path: Path) -> None:
    columns = {name: np.array(COLUMNS[name], dtype=kind) for name, kind in (("t", "u4"), ("x", "u2"), ("y", "u2"), ("p", "u1"))}
    path = write_columns(tmp_path / "a", "events", columns, t_offset=49_599_300_523, ms_to_idx=np.arange(3, dtype="u8"))
    assert [event[3] for event in read(path)] == [49_599_300_533, 49_599_300_543, 49_599_300_553]


def test_floating_times_are_seconds_and_rounded(tmp_path: Path) -> None:
    times = [0.003820001, 0.0038205999, np.nan, 1e300, 5.0]
    columns = {"t": times, "x": [1] * 5, "y": [2] * 5, "p": np.array([-1.0, 1.0, 1.0, 1.0, 0.0])}
    path = write_columns(tmp_path / "a", "events", columns)
    with open_recording(path) as source:
        assert source.info.encoding == "events, t in seconds"
        assert next(source.packets()).tolist() == [(1, 2, 0, 3820), (1, 2, 1, 3821), (1, 2, 0, 5_000_000)]
        assert "2 events with impossible times dropped" in source.report().warnings
    assert [e[3] for e in read(write_columns(tmp_path / "b", "events", {**COLUMNS, "t": [10.0, 20.0, 30.0]}))] == [10, 20, 30]


def test_width_and_height_attributes_name_the_size(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a", "events", {**COLUMNS, "x": [1, 2, -3]})
    with h5py.File(path, "a") as file:
        file["events"].attrs["width"], file["events"].attrs["height"] = 2, 9
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(2, 9)
        assert next(source.packets()).tolist() == EVENTS[:1]
        assert source.report().warnings == ("2 events outside the sensor of 2x9 pixels dropped",)


def test_of_several_groups_the_first_one_is_read_and_told(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a", "right", COLUMNS)
    with h5py.File(path, "a") as file:
        for name, values in COLUMNS.items():
            file[f"left/{name}"] = np.array(values) + (100 if name == "t" else 0)
    with open_recording(path) as source:
        assert next(source.packets())["t"].tolist() == [110, 120, 130]
        assert source.report().warnings[1] == "2 groups hold events; left was read"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"x": [1, 2]}, "columns of one length"),
        ({"x": [1.5, 2.5, 3.5]}, "x is float64"),
        ({"t": [b"a", b"b", b"c"]}, "only numbers"),
        ({"t": [[10, 20, 30]]}, "columns of one length"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_recording(write_columns(tmp_path / "a", "events", {**COLUMNS, **changed}))


def test_hdf5_without_events_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a", "weights", {"kernel": [1, 2]})
    with pytest.raises(UnknownFormatError, match="found: weights, weights/kernel"):
        open_recording(path)
    assert not is_recording(path)


def test_data_in_other_files_are_not_followed(tmp_path: Path) -> None:
    write_columns(tmp_path / "target", "events", COLUMNS)
    with h5py.File(tmp_path / "link", "w") as file:
        file["events"] = h5py.ExternalLink("target", "events")
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "link")
    with h5py.File(tmp_path / "outside", "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", (3,), "i8", external=[(tmp_path / "target", 0, 24)])
    with pytest.raises(InputError, match="another file"):
        open_recording(tmp_path / "outside")


def test_forged_lengths_neither_take_memory_nor_go_on_for_ever(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        for name in "txyp":
            dataset = file.create_dataset(f"events/{name}", (1 << 60,), "i8", chunks=(4,))
            dataset[:4] = [1, 2, 3, 4]
    with open_recording(tmp_path / "a") as source:
        assert sum(packet.size for packet in source.packets()) == 4
        assert source.report().is_truncated
    with h5py.File(tmp_path / "b", "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", (1 << 40,), "i8", chunks=(1 << 28,))
    with pytest.raises(InputError, match="smaller ones"):
        open_recording(tmp_path / "b")


def test_unknown_compression_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        for name in "txyp":
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_chunk((4,))
            creation.set_filter(60001, h5py.h5z.FLAG_OPTIONAL)
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_INT64, h5py.h5s.create_simple((4,)), creation)
    with pytest.raises(InputError, match=r"filter 60001.*hdf5plugin"):
        open_recording(tmp_path / "a")


def test_missing_h5py_says_which_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_columns(tmp_path / "a", "events", COLUMNS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"h5py is not installed.*saccade\[hdf5\]"):
        open_recording(path)
    assert is_recording(path)


def test_an_empty_table_is_a_header_alone(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a", "events", {name: np.zeros(0, dtype="i8") for name in "txyp"})
    with open_recording(path) as source:
        assert list(source.packets()) == []
        assert "header only: no events" in source.report().warnings


def test_truncations_and_mutations_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    ecf = write_ecf(tmp_path / "ecf", [(0, ecf_chunk(ROWS[i : i + 4])) for i in (0, 4, 8)], n=10).read_bytes()
    plain = write_columns(tmp_path / "plain", "events", COLUMNS).read_bytes()
    for seed, data in ((15, ecf), (16, plain)):
        for cut in range(0, len(data), len(data) // 30):
            read_or_refuse(tmp_path / "a", data[:cut])
        for damaged in mutations(data, 100, seed=seed):
            read_or_refuse(tmp_path / "a", damaged)


def test_real_recordings_meet_the_digests_of_openeb(shared_data: Path) -> None:
    truth = json.loads((shared_data / "openeb_truth.json").read_text())["files"]
    files = [name for name in truth if name.endswith("_ecf.hdf5")]
    assert len(files) == 3
    for name in files:
        with open_recording(shared_data / name) as source:
            assert source.info.sensor_size == (truth[name]["width"], truth[name]["height"])
            events = np.concatenate(list(source.packets()))
            assert source.report().warnings == ()
        assert events.size == truth[name]["events"]
        for column in "txyp":
            digest = hashlib.sha256(np.ascontiguousarray(events[column]).tobytes()).hexdigest()
            assert digest == truth[name]["sha256"][column], f"{name} {column}"


def test_real_plain_group_meets_its_manifest(shared_data: Path) -> None:
    path = shared_data / "recordings/hdf5/raw_events_17.hdf5"
    with open_recording(path) as source, h5py.File(path, locking=False) as file:
        events = next(source.packets())
        assert events.size == 17
        assert events["t"].tolist() == [round(1e6 * time) for time in file["raw_events/t"][:].tolist()]
        for name in "xyp":
            assert events[name].tolist() == file[f"raw_events/{name}"][:].astype(int).tolist()
        # whoever wrote it exchanged x and y, so that it does not fit on its 240x180 pixels
        assert source.info.sensor_size == SensorSize(146, 182)


def test_a_span_of_packed_chunks_begins_at_one_and_equals_the_slice_of_the_whole(tmp_path: Path) -> None:
    rows = [(100 + 3 * i, i % 32, i % 24, i % 2) for i in range(40)]
    path = write_ecf(tmp_path / "a", [(0, ecf_chunk(rows[i : i + 4])) for i in range(0, 40, 4)], n=40)
    assert assert_spans_are_slices(path) > 40


def test_packed_chunks_whose_times_fall_are_read_from_the_front(tmp_path: Path) -> None:
    rows = [(100 + 3 * i, i % 32, i % 24, i % 2) for i in range(12)]
    fallen = [rows[8:], rows[:4], rows[4:8]]
    path = write_ecf(tmp_path / "a", [(0, ecf_chunk(part)) for part in fallen], n=12)
    assert assert_spans_are_slices(path) == 0
    # a chunk that reaches beyond the beginning of the next one, but not beyond the one behind that
    late = [(100, 1, 1, 1), (110, 1, 1, 1), (120, 1, 1, 1), (130, 1, 1, 1)]
    last = [(140 + 3 * i, i, i, 1) for i in range(4)]
    path = write_ecf(tmp_path / "b", [(0, ecf_chunk(late)), (0, ecf_chunk(rows[3:7])), (0, ecf_chunk(last))], n=12)
    assert assert_spans_are_slices(path) > 0


def test_a_damaged_chunk_before_the_span_does_no_harm(tmp_path: Path) -> None:
    chunks = [(0, ecf_chunk(ROWS[:4])), (0, ecf_chunk(ROWS[4:8])[:-3]), (0, ecf_chunk(ROWS[8:]))]
    assert_spans_are_slices(write_ecf(tmp_path / "a", chunks, n=10))


def test_a_span_of_columns_equals_the_slice_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr(hdf5_module, "_BLOCK_EVENTS", 8)
    t = np.array([10 * i for i in range(50)] + [20] + [5000 * i for i in range(50)])
    columns = {"t": t, "x": t % 32, "y": t % 24, "p": t % 2}
    assert assert_spans_are_slices(write_columns(tmp_path / "a", "raw", columns)) > 20


def test_dsec_is_entered_by_its_table_of_milliseconds(tmp_path: Path) -> None:
    t = np.arange(0, 20_000, 130, dtype="u4")
    columns = {"t": t, "x": (t % 32).astype("u2"), "y": (t % 24).astype("u2"), "p": (t % 2).astype("u1")}
    table = np.searchsorted(t, np.arange(20) * 1000).astype("u8")
    path = write_columns(tmp_path / "a", "events", columns, t_offset=49_599_300_523, ms_to_idx=table)
    assert assert_spans_are_slices(path) > 40
    # a table that lies is not believed
    path = write_columns(tmp_path / "b", "events", columns, t_offset=49_599_300_523, ms_to_idx=table[::-1].copy())
    assert_spans_are_slices(path)


def test_triggers_come_with_the_events_around_them(tmp_path: Path) -> None:
    path = write_ecf(tmp_path / "a", [(0, ecf_chunk(ROWS[:4])), (0, ecf_chunk(ROWS[4:8])), (0, ecf_chunk(ROWS[8:]))], n=10)
    rows = np.zeros(4, dtype=np.dtype({"names": ["p", "t", "id"], "formats": ["<i2", "<i8", "<i2"], "offsets": [0, 8, 16]}))
    rows["t"], rows["id"], rows["p"] = [90, 109, 110, 999], [6, 6, 6, 1], [1, 0, 1, 0]
    with h5py.File(path, "a") as file:
        file["EXT_TRIGGER/events"] = rows
    with open_recording(path) as source:
        taken = [source.take_triggers().tolist() for _ in source.packets()]
        assert taken == [[(90, 6, 1), (109, 6, 0)], [(110, 6, 1)], []]
        assert source.take_triggers().tolist() == make_triggers([999], [1], [0]).tolist()
        assert source.report().n_triggers == 4


def test_blosc_without_its_plug_in_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        for name in "txyp":
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_chunk((4,))
            creation.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_INT64, h5py.h5s.create_simple((4,)), creation)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(InputError, match=r"filter 32001.*pip install 'saccade\[dsec\]'"):
        open_recording(tmp_path / "a")
