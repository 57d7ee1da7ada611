"""Headers of Prophesee RAW, and real recordings against digests found by other programs."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.schema.errors import InputError, UnknownFormatError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport, SourceInfo
from pipeline.sources.raw import sensor_size_of
from pipeline.sources.registry import is_recording, open_recording

EVT2_WORDS = struct.pack("<II", 0x8 << 28 | 1, 0x1 << 28 | 2 << 11 | 3)
EVT3_WORDS = struct.pack("<4H", 0x8001, 0x6000, 0x0003, 0x2802)


def read(path: Path, data: bytes, chip: str | None = None) -> tuple[SourceInfo, int, ReadReport]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording", chip=chip) as source:
        n = sum(packet.size for packet in source.packets())
        return source.info, n, source.report()


@pytest.mark.parametrize(
    ("header", "encoding", "sensor_size"),
    [
        (b"% evt 2.0\n% system_ID 21\n", "EVT2", (640, 480)),
        (b"% integrator_name Prophesee\n% system_ID 21\n", "EVT2", (640, 480)),
        (b"% evt 3.0\n% system_ID 48\n", "EVT3", (1280, 720)),
        (b"% system_ID 49\n% Date 2020\n", "EVT3", (1280, 720)),
        (b"% evt 3.0\n% geometry 320x320\n% end\n", "EVT3", (320, 320)),
        (b"% format EVT3;width=640;height=480\n% end\n", "EVT3", (640, 480)),
        (b"% evt 2.0\r\n% geometry 64x32\r\n% end\r\n", "EVT2", (64, 32)),
        (b"% format EVT2;height=24;width=32\n% evt 3.0\n", "EVT2", (32, 24)),
        (b"% evt 2.1\n% geometry 320x320\n% end\n", "EVT2.1", (320, 320)),
        (b"% format EVT4;height=24;width=32\n% end\n", "EVT4", (32, 24)),
        (b"% evt 4.0\n% geometry 32x24\n% end\n", "EVT4", (32, 24)),
    ],
)
def test_header_tells_encoding_and_size(tmp_path: Path, header: bytes, encoding: str, sensor_size: tuple[int, int]) -> None:
    words = EVT3_WORDS if encoding == "EVT3" else EVT2_WORDS
    info, n, report = read(tmp_path, header + words)
    assert (info.format, info.encoding, info.sensor_size) == ("Prophesee RAW", encoding, sensor_size)
    assert n == (0 if encoding in ("EVT2.1", "EVT4") else 1)
    assert report == ReadReport()


def test_data_that_begin_with_the_comment_sign_are_data(tmp_path: Path) -> None:
    # a first word of 0x80002025: percent and blank, but no text
    words = struct.pack("<II", 0x8 << 28 | 0x2025, 0x1 << 28 | 2 << 11 | 10)
    assert read(tmp_path, b"% evt 2.0\n% geometry 64x32\n" + words)[1:] == (1, ReadReport())


def test_size_that_the_header_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    for header in (
        b"% evt 3.0\n",
        b"% evt 3.0\n% system_ID 48\n% camera_integrator_name Else\n",
        b"% evt 3.0\n% system_ID 9999\n",
    ):
        with pytest.raises(InputError, match=r"--chip \(gen3.*imx636.*WIDTHxHEIGHT"):
            read(tmp_path, header + EVT3_WORDS)
        assert read(tmp_path, header + EVT3_WORDS, chip="IMX636")[0].sensor_size == SensorSize(1280, 720)
        assert read(tmp_path, header + EVT3_WORDS, chip="20x10")[0].sensor_size == SensorSize(20, 10)


def test_chip_overrules_the_header(tmp_path: Path) -> None:
    info, n, _ = read(tmp_path, b"% evt 3.0\n% geometry 64x2\n% end\n" + EVT3_WORDS, chip="64x32")
    assert (info.sensor_size, n) == ((64, 32), 1)


@pytest.mark.parametrize(
    "lines",
    [
        b"% format EVT3;height=480;width=640\n% geometry 1280x720\n",
        b"% format EVT3;height=0;width=640\n",
        b"% geometry 99999x99999\n",
        b"% geometry large\n",
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, lines: bytes) -> None:
    with pytest.raises(InputError, match=r"cannot be right.*--chip"):
        read(tmp_path, b"% evt 3.0\n" + lines + b"% end\n")


def test_unknown_sensors_are_refused_with_all_names() -> None:
    with pytest.raises(UsageError, match="genx320"):
        sensor_size_of("retina9000")
    assert sensor_size_of("Gen4.1") == SensorSize(1280, 720)


def test_encodings_of_others_are_refused_by_name(tmp_path: Path) -> None:
    for header, found in (
        (b"% format EVT5;height=720;width=1280\n", "EVT5"),
        (b"% format HISTO3D;width=4\n% evt 3.0\n", "HISTO3D"),
    ):
        with pytest.raises(UnknownFormatError, match=found):
            read(tmp_path, header)
    (tmp_path / "evt5").write_bytes(b"% evt 2.0\n% format EVT5;height=720;width=1280\n")
    assert not is_recording(tmp_path / "evt5")
    with pytest.raises(InputError, match="encoding"):
        read(tmp_path, b"% geometry 64x32\n% end\n")


def test_streams_are_unknown_here(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"% evt 2.0\n% geometry 64x32\n")
    with pytest.raises(UsageError, match="--stream"):
        open_recording(tmp_path / "a.raw", stream=1)


@pytest.mark.parametrize("end", [b"", b"% end\n", b"% da"])
def test_header_alone_is_a_recording_without_events(tmp_path: Path, end: bytes) -> None:
    _, n, report = read(tmp_path, b"% evt 2.0\n% geometry 64x32\n" + end)
    assert n == 0
    assert report.is_truncated
    assert report.warnings == ("header only: no events",)


def test_reading_twice_gives_the_same_events(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"% evt 3.0\n% geometry 64x32\n% end\n" + EVT3_WORDS)
    with open_recording(tmp_path / "a.raw") as source:
        first = [packet.tolist() for packet in source.packets()]
        assert first == [packet.tolist() for packet in source.packets()] == [[(2, 3, 1, 4096)]]


def test_real_recordings_have_the_digests_of_other_programs(shared_data: Path) -> None:
    truth = json.loads((shared_data / "openeb_truth.json").read_text())["files"]
    paths = [path for path in truth if path.endswith((".raw", ".dat")) and "kaer" not in path]
    assert len(paths) >= 15
    for path in paths:
        entry = truth[path]
        if "sha256" in entry.get("own_word_by_word_decoder", {}):  # where OpenEB's own decoder is known to be wrong
            entry = entry["own_word_by_word_decoder"]
        with open_recording(shared_data / path) as source:
            packets = list(source.packets())
            assert not source.report().is_truncated
            assert source.report().is_monotonic
        assert sum(packet.size for packet in packets) == entry.get("events", 0), path
        for field in "txyp" if "sha256" in entry else "":
            column = np.concatenate([packet[field] for packet in packets])
            digest = hashlib.sha256(column.astype(column.dtype.newbyteorder("<")).tobytes()).hexdigest()
            assert digest == entry["sha256"][field], (path, field)


def test_real_triggers_have_the_digests_of_other_programs(shared_data: Path) -> None:
    truth = json.loads((shared_data / "openeb_truth.json").read_text())["files"]
    found = {}
    for name in ("evt2_writer_triggers.raw", "evt3_triggers_a.raw", "evt3_triggers_a_trigger.dat"):
        entry = truth[f"recordings/openeb/{name}"]
        with open_recording(shared_data / "recordings/openeb" / name) as source:
            found[name] = triggers = np.concatenate([source.take_triggers() for _ in source.packets()])
            assert source.report().n_triggers == entry["triggers"] == triggers.size
        assert (triggers["t"][0], triggers["t"][-1]) == (entry["trigger_t_first"], entry["trigger_t_last"])
        assert set(triggers["id"].tolist()) == set(entry["trigger_ids"])
        assert int(triggers["p"].sum()) == entry["trigger_rising"]
        # OpenEB's usual decoder, whose digests these are, misses time words of the one RAW file in EVT3
        if name != "evt3_triggers_a.raw":
            assert hashlib.sha256(triggers["t"].astype("<i8").tobytes()).hexdigest() == entry["trigger_sha256"]["t"]
    # its strict decoder made the DAT file of that one, and set its clock to the TIME_HIGH before the first
    assert np.array_equal(found["evt3_triggers_a.raw"]["t"] - 7_135_232, found["evt3_triggers_a_trigger.dat"]["t"])


def test_real_recordings_meet_the_numbers_of_their_manifest(shared_data: Path) -> None:
    folders = ("recordings/evt2/", "recordings/evt3/", "recordings/dat/ncars", "recordings/transcoded/gen3")
    entries = [e for e in json.loads((shared_data / "manifest.json").read_text())["files"] if e["file"].startswith(folders)]
    assert len(entries) >= 5
    for entry in entries:
        with open_recording(shared_data / entry["file"]) as source:
            events = np.concatenate(list(source.packets()))
            assert source.info.format == entry["format"]
            if entry["sensor"] != [0, 0]:
                assert list(source.info.sensor_size) == entry["sensor"]
        sums = (int(events["x"].sum(dtype=np.int64)), int(events["y"].sum(dtype=np.int64)))
        assert sums == (entry["sum_x"], entry["sum_y"]), entry["file"]
        assert (events.size, events["t"][0], events["t"][-1]) == (entry["n_events"], entry["t_first"], entry["t_last"])
        assert float(events["p"].mean()) == pytest.approx(entry["on_share"], abs=1e-5)


def test_events_before_the_first_time_word_of_a_real_cut_are_counted(shared_data: Path) -> None:
    with open_recording(shared_data / "recordings/openeb/evt2_cut_10_20ms.raw") as source:
        assert sum(packet.size for packet in source.packets()) == 110_807
        assert source.report().warnings == ("186 events before the first words that tell time and place dropped",)
