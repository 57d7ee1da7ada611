"""AEDAT 1.0 files built byte by byte."""

import struct
from pathlib import Path

import pytest
from recording_bytes import dvs128_address

from pipeline.schema.errors import UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.registry import open_recording

HEADER = b"#!AER-DAT1.0\r\n# This is a raw AE data file\r\n"
ROWS = [(3, 4, 1, 100), (127, 0, 0, 200), (0, 127, 1, 300)]


def records(rows: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack(">HI", dvs128_address(x, y, p), t) for x, y, p, t in rows)


def test_events_after_a_header_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(HEADER + records(ROWS))
    with open_recording(tmp_path / "a.dat") as source:
        assert source.info.format == "AEDAT 1.0"
        assert source.info.sensor_size == SensorSize(128, 128)
        assert [event for packet in source.packets() for event in packet.tolist()] == ROWS
        assert source.report().warnings == ()


def test_headerless_files_are_read_when_the_user_says_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(records(ROWS))
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "a.dat")
    with open_recording(tmp_path / "a.dat", format="aedat1") as source:
        assert [event for packet in source.packets() for event in packet.tolist()] == ROWS


def test_a_first_record_that_begins_with_the_comment_sign_is_no_header(tmp_path: Path) -> None:
    # row 92 from the top: raw y = 0x23, the byte of '#'
    rows = [(3, 127 - 0x23, 1, 100), (5, 5, 0, 101)]
    assert records(rows)[:1] == b"#"
    (tmp_path / "a.dat").write_bytes(records(rows))
    with open_recording(tmp_path / "a.dat", format="aedat1") as source:
        assert [event for packet in source.packets() for event in packet.tolist()] == rows


def test_orientation_and_sync_events_are_those_of_aedat_2(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(HEADER + struct.pack(">HIHI", 3 << 8 | 10 << 1 | 1, 5, 0x8000, 9))
    with open_recording(tmp_path / "a.dat", orientation="inivation") as source:
        assert [event for packet in source.packets() for event in packet.tolist()] == [(10, 124, 1, 5)]
        assert source.take_triggers().tolist() == [(9, 0, 1)]


def test_cut_record_is_reported_and_the_others_delivered(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(HEADER + records(ROWS)[:-2])
    with open_recording(tmp_path / "a.dat") as source:
        assert sum(packet.size for packet in source.packets()) == 2
        assert source.report().is_truncated
        assert source.report().n_bytes_skipped == 4


def test_other_chips_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(HEADER + records(ROWS))
    with pytest.raises(UsageError, match="chip"):
        open_recording(tmp_path / "a.dat", chip="davis240")


def test_files_that_say_what_they_are_cannot_be_called_aedat_1(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"#!AER-DAT2.0\r\n" + records(ROWS))
    with pytest.raises(UsageError, match=r"AEDAT 2\.0, not aedat1"):
        open_recording(tmp_path / "a.dat", format="aedat1")
