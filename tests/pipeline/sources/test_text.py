"""Text recordings: one event a line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, read_or_refuse, truncations
from seeking import assert_spans_are_slices

from pipeline.schema.errors import UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources import text as text_module
from pipeline.sources.index import Index
from pipeline.sources.registry import is_recording, open_recording

LINES = "".join(f"{1000 * i} {i % 32} {i % 24} {i % 2}\n" for i in range(40)).encode()


def read(path: Path, data: str | bytes, *, chip: str | None = None) -> list[tuple[int, int, int, int]]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with open_recording(path, chip=chip) as source:
        return [event for packet in source.packets() for event in packet.tolist()]


@pytest.mark.parametrize(
    ("time", "expected_us"),
    [
        ("0.003811000", 3811),
        ("0.003820001", 3820),
        ("0.0038205", 3821),
        ("0.0038204999", 3820),
        ("1.", 1_000_000),
        (".5", 500_000),
        ("3.811e-03", 3811),
        ("1e1", 10_000_000),
        ("1605537493.718345123456789", 1605537493718345),
        ("-0.25", -250_000),
    ],
)
def test_seconds_are_rounded_exactly(tmp_path: Path, time: str, expected_us: int) -> None:
    # the line in front has a fraction, so that the file is in seconds
    assert read(tmp_path / "a", f"-9.5 1 2 1\n{time} 96 133 0\n")[1] == (96, 133, 0, expected_us)


def test_whole_times_are_microseconds_and_the_encoding_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("10 1 2 1\n20 3 4 -1\n")
    with open_recording(tmp_path / "a") as source:
        assert (source.info.format, source.info.encoding) == ("text", "t x y p, t in microseconds")
        assert source.info.sensor_size == SensorSize(4, 5)
        assert next(source.packets()).tolist() == [(1, 2, 1, 10), (3, 4, 0, 20)]
        assert source.report().warnings == ("the file names no sensor size; 4x5 pixels is what its events need",)
    (tmp_path / "a").write_text("0.5 1 2 1\n")
    with open_recording(tmp_path / "a") as source:
        assert source.info.encoding == "t x y p, t in seconds"


def test_microseconds_written_as_floating_numbers_stay_microseconds(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a", [(10, 1, 2, 1), (2000, 3, 4, 0)])
    assert read(tmp_path / "b", (tmp_path / "a").read_bytes()) == [(1, 2, 1, 10), (3, 4, 0, 2000)]


@pytest.mark.parametrize("line", ["10,1,2,1", "10, 1, 2, 1", "10;1;2;1", "\t10\t1  2 1 \r", "+10 1.0 2e0 1"])
def test_blanks_commas_and_semicolons_separate(tmp_path: Path, line: str) -> None:
    assert read(tmp_path / "a", f"{line}\n") == [(1, 2, 1, 10)]


def test_comments_headers_and_blank_lines_are_stepped_over(tmp_path: Path) -> None:
    assert read(tmp_path / "a", "# made by hand\n\n% 1 2 3 4\n// or so\n10 1 2 1\n# within\n\n11 1 2 0") == [
        (1, 2, 1, 10),
        (1, 2, 0, 11),
    ]
    assert read(tmp_path / "a", b"\xef\xbb\xbfwhen,where,there,how\n10,1,2,1\n") == [(1, 2, 1, 10)]
    assert read(tmp_path / "a", b"\xef\xbb\xbf10,1,2,1\n") == [(1, 2, 1, 10)]


@pytest.mark.parametrize("header", ["x,y,timestamp,polarity", "# x y t p", "X; Y; TS; POL"])
def test_a_line_that_names_the_columns_sets_their_order(tmp_path: Path, header: str) -> None:
    assert read(tmp_path / "a", f"{header}\n1,2,10,1\n3,4,20,0\n") == [(1, 2, 1, 10), (3, 4, 0, 20)]
    with open_recording(tmp_path / "a") as source:
        assert source.info.encoding.startswith("x y t p")


def test_size_comes_from_the_first_line_or_from_the_chip(tmp_path: Path) -> None:
    assert read(tmp_path / "a", "240 180\n10 1 2 1\n11 240 0 1\n") == [(1, 2, 1, 10)]
    with open_recording(tmp_path / "a") as source:
        assert source.info.sensor_size == SensorSize(240, 180)
    assert read(tmp_path / "a", "240 180\n10 1 2 1\n11 240 0 1\n", chip="346x260")[1] == (240, 0, 1, 11)
    with open_recording(tmp_path / "a", chip="dvs128") as source:
        assert source.info.sensor_size == SensorSize(128, 128)
    for chip in ("0x5", "99999x5", "toaster"):
        with pytest.raises(UsageError, match=chip):
            open_recording(tmp_path / "a", chip=chip)


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    bad = "1 2 3\n1 2 3 4 5\n1 2 x 4\n1 2 3 4-5\n1e 2 3 4\n. 1 2 3\n"
    (tmp_path / "a").write_bytes(LINES * 3 + bad.encode() + b"50000 1 1 1\n")
    with open_recording(tmp_path / "a", chip="32x24") as source:
        assert sum(packet.size for packet in source.packets()) == 121
        assert "6 lines that are no events left out" in source.report().warnings
        assert not source.report().is_truncated


def test_negative_and_huge_coordinates_and_times_are_dropped(tmp_path: Path) -> None:
    bad = b"40000 -1 0 1\n40000 32 0 1\n40000 99999999999999999999 0 1\n99999999999999999999 1 1 1\n1e99 1 1 1\n"
    (tmp_path / "a").write_bytes(LINES * 2 + bad)
    with open_recording(tmp_path / "a", chip="32x24") as source:
        assert sum(packet.size for packet in source.packets()) == 80
        warnings = source.report().warnings
        assert "3 events outside the sensor of 32x24 pixels dropped" in warnings
        assert "2 events with impossible times dropped" in warnings


def test_a_last_line_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(LINES + b"40000 1")
    with open_recording(tmp_path / "a") as source:
        assert sum(packet.size for packet in source.packets()) == 40
        assert source.report().is_truncated
        assert source.report().n_bytes_skipped == 7


@pytest.mark.parametrize(
    "data",
    ["hello\n", "# only comments\n", "1 2 3\n4 5 6\n", "0.1 0.2 0.3 0.4\n1 2 3 4\n", "10 1 2 7\n", "10 70000 2 1\n", "1 2"],
)
def test_text_that_is_no_recording_is_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "a").write_text(data)
    with pytest.raises(UnknownFormatError, match="is text that begins"):
        open_recording(tmp_path / "a")
    assert not is_recording(tmp_path / "a")


def test_lines_across_the_border_of_two_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 64)
    (tmp_path / "whole").write_bytes(LINES)
    with open_recording(tmp_path / "whole") as source:
        packets = [packet.copy() for packet in source.packets()]
    assert len(packets) > 5
    assert np.concatenate(packets)["t"].tolist() == [1000 * i for i in range(40)]
    # a line longer than any block is damage, and reading goes on behind it
    (tmp_path / "long").write_bytes(LINES + b"1 " * 100 + b"\n50000 1 1 1\n")
    with open_recording(tmp_path / "long") as source:
        assert sum(packet.size for packet in source.packets()) >= 41


def test_truncations_and_mutations_give_sane_events_or_an_error_of_ours(tmp_path: Path) -> None:
    counts = [read_or_refuse(tmp_path / "a", cut) for cut in (*truncations(LINES), LINES)]
    assert counts == sorted(counts)
    assert counts[-1] == 40
    for damaged in mutations(LINES, 300, seed=13):
        read_or_refuse(tmp_path / "a", damaged)


def test_real_recording_meets_its_manifest(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "manifest.json").read_text())
    entry = next(entry for entry in manifest["files"] if entry["format"] == "text")
    with open_recording(shared_data / entry["file"]) as source:
        assert list(source.info.sensor_size) == entry["sensor"]
        events = np.concatenate(list(source.packets()))
        assert source.report().is_monotonic
    assert (events.size, events["t"][0], events["t"][-1]) == (entry["n_events"], entry["t_first"], entry["t_last"])
    assert (events["x"].sum(dtype=np.int64), events["y"].sum(dtype=np.int64)) == (entry["sum_x"], entry["sum_y"])
    assert float(events["p"].mean()) == pytest.approx(entry["on_share"], abs=1e-5)
    rows = np.loadtxt(shared_data / entry["file"])
    assert np.array_equal(events["t"], np.rint(rows[:, 0] * 1e6).astype(np.int64))


def test_an_unnamed_order_is_told_by_how_columns_look(tmp_path: Path) -> None:
    rows = [(i * 7 % 32, i * 5 % 24, 100 * i, i % 2) for i in range(20)]
    for order in ("xytp", "xypt", "ptxy", "tpxy"):
        columns = [["xytp".index(name) for name in order]] * 20
        lines = "".join(" ".join(str(row[column]) for column in at) + "\n" for row, at in zip(rows, columns, strict=True))
        (tmp_path / "a").write_text(lines)
        with open_recording(tmp_path / "a") as source:
            named = " ".join(order)
            assert source.info.encoding == f"{named}, t in microseconds"
            assert next(source.packets()).tolist() == [(x, y, p, t) for x, y, t, p in rows]
            assert any(f"{named}, t in microseconds is how they look" in warning for warning in source.report().warnings)


def test_what_the_user_says_of_the_columns_wins(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# t x y p\n1 2 10.5 1\n3 4 20.25 0\n")
    with open_recording(tmp_path / "a", columns="y,x,t_us,p") as source:
        assert source.info.encoding == "y x t p, t in microseconds"
        assert next(source.packets()).tolist() == [(2, 1, 1, 11), (4, 3, 0, 20)]
    (tmp_path / "b").write_text("10 1 2 1\n")
    with open_recording(tmp_path / "b", columns="t_s x y p") as source:
        assert next(source.packets())["t"].tolist() == [10_000_000]
    with pytest.raises(UnknownFormatError, match="as the columns p,x,y,t its lines are no events"):
        open_recording(tmp_path / "b", columns="p,x,y,t")
    for columns in ("t,x,y", "t,x,y,q", "t,t_us,x,y", "t,x,y,p,p"):
        with pytest.raises(UsageError, match="do not name t, x, y and p once each"):
            open_recording(tmp_path / "b", columns=columns)


def test_text_in_a_file_without_a_signature_is_read_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"# \x00 not plain\n" + LINES)
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "a")
    with open_recording(tmp_path / "a", format="text") as source:
        assert sum(packet.size for packet in source.packets()) == 40


def test_a_span_equals_the_slice_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 64)
    (tmp_path / "a").write_bytes(b"t,x,y,p\n" + LINES + b"5000 1 1 1\n" + b"10 1 2 1\n30000 2 2 0\n")
    assert assert_spans_are_slices(tmp_path / "a") > 20


def test_lines_that_end_in_carriage_return_and_line_break_are_events(tmp_path: Path) -> None:
    assert read(tmp_path / "a", "10,1,2,1\r\n0020,3,4,0\r\n30,5,6,1\r") == [(1, 2, 1, 10), (3, 4, 0, 20), (5, 6, 1, 30)]


def test_digits_beyond_what_64_bits_hold_take_the_long_way(tmp_path: Path) -> None:
    zeros = "0" * 30
    assert read(tmp_path / "a", f"{zeros}10 {zeros}1 2 {zeros}1\n0.{zeros}1 2 3 1\n", chip="32x24")[0] == (1, 2, 1, 10_000_000)
