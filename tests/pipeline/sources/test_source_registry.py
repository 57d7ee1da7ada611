"""Recognition by content, and URIs."""

import os
from pathlib import Path

import pytest
from recording_bytes import AEDAT3_HEADER, aedat2, aedat4, dvs128_address, packet3, polarity

from pipeline.schema.errors import InputError, UnknownFormatError, UsageError
from pipeline.sources.registry import is_recording, open_recording, open_source
from pipeline.sources.signature import identify

AEDAT2 = aedat2([(dvs128_address(1, 2, 1), 10)])


def test_content_decides_whatever_the_name(tmp_path: Path) -> None:
    contents = {"a.aedat4": AEDAT2, "b.png": AEDAT3_HEADER + packet3([polarity(1, 2, 3, 1)]), "c.aedat": aedat4([])}
    formats = []
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        with open_recording(tmp_path / name) as source:
            formats.append(source.info.format)
    assert formats == ["AEDAT 2.0", "AEDAT 3.1", "AEDAT 4.0"]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", "an empty file"),
        (b"#!AER-DAT9.0\r\n", "unknown version"),
        (b"#!AER-DAT4.0\n", "text-mode"),
        (b"#!AER", "first 5 bytes of an AEDAT file"),
        (b"% format EVT5;height=720;width=1280\n", "Prophesee RAW (EVT5)"),
        (b"#ROSBAG V1.2\n", "ROS bag of an old version"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\0" * 100, "zero bytes"),
        (b"0.003811 96 133\n", "text that begins '0.003811 96 133'"),
        (b"\x07\x0f\x80\x02\x8e", "07 0f 80 02 8e"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, head: bytes, found: str) -> None:
    path = tmp_path / "some.aedat"
    path.write_bytes(head)
    with pytest.raises(UnknownFormatError) as caught:
        open_recording(path)
    assert found in str(caught.value)
    assert str(path) in str(caught.value)
    assert not is_recording(path)


def test_missing_file_folder_and_forbidden_file_say_so(tmp_path: Path) -> None:
    for path, sentence in ((tmp_path / "none", "does not exist"), (tmp_path, "is a folder"), (Path("/dev/null"), "regular")):
        with pytest.raises(InputError, match=sentence):
            open_recording(path)
    closed = tmp_path / "closed"
    closed.write_bytes(AEDAT2)
    closed.chmod(0)
    if not os.access(closed, os.R_OK):
        with pytest.raises(InputError, match="permissions"):
            open_recording(closed)


def test_path_with_a_null_byte_is_an_error_of_ours() -> None:
    with pytest.raises(InputError):
        open_recording("a\0b")


def test_uris_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dv:1.aedat").write_bytes(AEDAT2)
    for uri in ("dv:1.aedat", "file:dv:1.aedat", f"file:{tmp_path}/dv:1.aedat", f"file://{tmp_path}/dv:1.aedat"):
        with open_source(uri, name="cam0") as source:
            assert source.info.name == "cam0"


@pytest.mark.parametrize("uri", ["camera:", "prophesee:", "dv://localhost:7777", "webcam:0", "zmq://host:1"])
def test_sources_of_later_versions_say_what_works_now(uri: str) -> None:
    with pytest.raises(UsageError, match=r"not built yet in this version.*synthetic:gestures"):
        open_source(uri)


def test_options_that_mean_nothing_for_a_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "two").write_bytes(AEDAT2)
    (tmp_path / "four").write_bytes(aedat4([]))
    with pytest.raises(UsageError, match="--stream"):
        open_recording(tmp_path / "two", stream=1)
    with pytest.raises(UsageError, match="--chip"):
        open_recording(tmp_path / "four", chip="dvs128")
    with pytest.raises(UsageError, match="--chip"):
        open_source("synthetic:gestures", chip="dvs128")


def test_identify_needs_no_more_than_it_is_given() -> None:
    assert identify(b"\x07").reader is None
    assert identify(b"%").reader == "text"
    assert identify(b"#!AER-DAT2.0").reader == "aedat2"


@pytest.mark.parametrize(
    ("head", "reader", "found"),
    [
        (b"% date 2020\n% evt 3.0\n", "raw", "Prophesee RAW (EVT3)"),
        (b"% evt 2.1\n", "raw", "Prophesee RAW (EVT2.1)"),
        (b"% evt 9.9\n% format EVT3;height=720;width=1280\n", "raw", "Prophesee RAW (EVT3)"),
        (b"% system_ID 48\n", "raw", "Prophesee RAW"),
        (b"% Data file containing EventCD events.\n% Version 2\n", "dat", "Prophesee DAT"),
        (b"% Height 480\n% Width 640\n% end\n", "dat", "Prophesee DAT"),
    ],
)
def test_prophesee_files_are_told_apart_by_their_keys(head: bytes, reader: str, found: str) -> None:
    assert identify(head)[:2] == (reader, found)
