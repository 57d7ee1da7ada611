"""Event Stream recordings, built byte by byte."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, read_or_refuse, truncations
from seeking import assert_spans_are_slices

from pipeline.schema.errors import InputError, UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources import es as es_module
from pipeline.sources.file import BLOCK_BYTES
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

HEADER = b"Event Stream" + bytes([2, 0, 0, 1]) + struct.pack("<HH", 32, 24)


def events_es(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Events of (t, x, y, p) in house coordinates, on a sensor of 24 rows."""
    data, now = b"", 0
    for t, x, y, p in rows:
        data += b"\xff" * ((t - now) // 127)
        data += bytes([(t - now) % 127 << 1 | p]) + struct.pack("<HH", x, 23 - y)
        now = t
    return data


ROWS = [(100 * i, i % 32, i % 24, i % 2) for i in range(40)]


def test_bytes_become_events_with_y_from_the_top(tmp_path: Path) -> None:
    # step 3 and ON; 127 us pass; step 1 and OFF; nothing; step 0 and ON
    body = b"\x07\x01\x00\x02\x00" + b"\xff" + b"\x02\x1f\x00\x00\x00" + b"\xfe" + b"\x01\x00\x00\x17\x00"
    (tmp_path / "a").write_bytes(HEADER + body)
    with open_recording(tmp_path / "a") as source:
        assert source.info.sensor_size == SensorSize(32, 24)
        assert (source.info.format, source.info.encoding) == ("Event Stream", "2.0.0 dvs")
        assert next(source.packets()).tolist() == [(1, 21, 1, 3), (31, 23, 0, 131), (0, 0, 1, 131)]
        assert source.report().warnings == ()
        assert next(source.packets())["t"].tolist() == [3, 131, 131], "a second pass begins anew"


def test_events_outside_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(HEADER + b"\x02\x20\x00\x00\x00" + b"\x02\x00\x00\x18\x00" + b"\x03\x00\x00\x00\x00")
    with open_recording(tmp_path / "a") as source:
        assert next(source.packets()).tolist() == [(0, 23, 1, 3)]
        assert source.report().warnings == ("2 events outside the sensor of 32x24 pixels dropped",)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"Event Stream\2\0\0\0", "type generic"),
        (b"Event Stream\2\0\0\2" + b"\1\0\1\0", "type ATIS"),
        (b"Event Stream\2\0\0\x09", "unknown \\(9\\)"),
        (b"Event Stream\1\0\0\1", "only version 2"),
    ],
)
def test_other_types_and_versions_are_refused_by_name(tmp_path: Path, head: bytes, sentence: str) -> None:
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(UnknownFormatError, match=sentence):
        open_recording(tmp_path / "a")


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    for head, sentence in ((HEADER[:14], "cut off"), (HEADER[:18], "cut off"), (HEADER[:16] + b"\0\0\1\0", "0x1 pixels")):
        (tmp_path / "a").write_bytes(head)
        with pytest.raises(InputError, match=sentence):
            open_recording(tmp_path / "a")
    (tmp_path / "a").write_bytes(HEADER)
    with pytest.raises(UsageError, match="--chip"):
        open_recording(tmp_path / "a", chip="dvs128")


def test_header_alone_and_a_cut_event_are_told(tmp_path: Path) -> None:
    for body, n_events, n_skipped in ((b"", 0, 0), (events_es(ROWS)[:-2], 39, 3)):
        (tmp_path / "a").write_bytes(HEADER + body)
        with open_recording(tmp_path / "a") as source:
            assert sum(packet.size for packet in source.packets()) == n_events
            assert source.report().is_truncated
            assert source.report().n_bytes_skipped == n_skipped


def test_events_across_the_border_of_two_blocks_are_whole(tmp_path: Path) -> None:
    # one byte that means nothing puts every event across a multiple of five
    n = BLOCK_BYTES // 5 + 10
    (tmp_path / "a").write_bytes(HEADER + b"\xfe" + b"\x03\x05\x00\x06\x00" * n)
    with open_recording(tmp_path / "a") as source:
        events = np.concatenate(list(source.packets()))
    assert events.size == n
    assert events["t"][-1] == n
    assert set(events["x"]) == {5}
    assert set(events["y"]) == {17}


def test_truncations_and_mutations_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    data = HEADER + events_es(ROWS)
    counts = [read_or_refuse(tmp_path / "a", cut) for cut in (*truncations(data), data)]
    assert counts == sorted(counts)
    assert counts[-1] == len(ROWS)
    for damaged in mutations(data, 300, seed=12):
        read_or_refuse(tmp_path / "a", damaged)


def test_real_recordings_meet_their_manifest(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "manifest.json").read_text())
    entry = next(entry for entry in manifest["files"] if entry["file"] == "recordings/es/dvs_320x240.es")
    with open_recording(shared_data / entry["file"]) as source:
        assert list(source.info.sensor_size) == entry["sensor"]
        events = np.concatenate(list(source.packets()))
        assert source.report().warnings == ()
    assert (events.size, events["t"][0], events["t"][-1]) == (entry["n_events"], entry["t_first"], entry["t_last"])
    assert float(events["p"].mean()) == pytest.approx(entry["on_share"], abs=1e-5)
    # the manifest counts y from the bottom
    assert events["x"].sum(dtype=np.int64) == entry["sum_x"]
    assert events.size * 239 - events["y"].sum(dtype=np.int64) == entry["sum_y"]
    with pytest.raises(UnknownFormatError, match="generic"):
        open_recording(shared_data / "recordings/es/edge_generic_type.es")


def test_a_span_equals_the_slice_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr(es_module, "BLOCK_BYTES", 16)
    (tmp_path / "a").write_bytes(HEADER + events_es([(700 * i, i % 32, i % 24, i % 2) for i in range(40)]))
    assert assert_spans_are_slices(tmp_path / "a") > 20
