"""info and frames from the outside: what is printed, what is written, which exit code."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recording_bytes import AEDAT3_HEADER, aedat2, aedat4, dvs128_address, events4, packet4
from ros_bytes import mcap, packet_cdr

from app.commands.recordings import frames, info
from app.reading import Reading, Span
from pipeline.schema.errors import InputError, UsageError

RECORDS = [(dvs128_address(i % 128, i % 100, i % 2), 1000 * i) for i in range(50)]
UNIX = [(1_605_537_493_718_345 + t, 3, 4, 1) for t in (0, 7)]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2(RECORDS))
    return path


def test_info_prints_one_json_object_a_line(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.aedat4").write_bytes(aedat4([packet4(events4(UNIX))]))
    assert info(recording, tmp_path / "b.aedat4", json=True) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["events"], first["on_events"], first["last_us"], first["truncated"]) == (50, 25, 49_000, False)
    assert second["first_us"] == UNIX[0][0]


def test_the_json_of_info_has_exactly_the_promised_fields(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info(recording, json=True, reading=Reading(filter=("polarity=on",)), span=Span("10ms", "20ms")) == 0
    found = json.loads(capsys.readouterr().out)
    fields = "path format encoding width height events on_events first_us last_us duration_us mean_rate_hz monotonic truncated"
    assert " ".join(found) == f"{fields} warnings"
    assert (found["events"], found["on_events"], found["first_us"], found["last_us"]) == (5, 5, 11_000, 19_000)


def test_info_counts_triggers_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = struct.pack("<4I", 0x8 << 28, 1 << 28, 0xA << 28 | 3 << 8 | 1, 0xA << 28 | 3 << 8)
    (tmp_path / "a.raw").write_bytes(b"% evt 2.0\n% format EVT2;height=24;width=32\n% end\n" + words)
    assert info(tmp_path / "a.raw") == 0
    assert "triggers     2" in capsys.readouterr().out


def test_a_ros_2_bag_is_one_recording_although_it_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = tmp_path / "bags" / "one"
    bag.mkdir(parents=True)
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information:\n")
    for number in range(2):
        (bag / f"one_{number}.mcap").write_bytes(mcap([packet_cdr([(10 * number, 1, 2, 1)])]))
    for named in (bag, tmp_path / "bags"):
        assert info(named, json=True) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["path"], found["events"]) == (str(bag), 2)


def test_info_of_a_folder_finds_the_recordings_in_it(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recording.parent / "labels.csv").write_text("class,start\n")
    (recording.parent / ".hidden").write_bytes(recording.read_bytes())
    assert info(recording.parent, json=True) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_table_names_the_common_folder_once_and_copes_with_paths_that_have_none(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = recording.with_name("other.aedat")
    other.write_bytes(recording.read_bytes())
    assert info(recording, other) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"in {recording.parent}"
    assert out.count(str(recording.parent)) == 1
    monkeypatch.chdir(recording.parent)
    assert info(Path("a.aedat"), other) == 0
    assert str(other) in capsys.readouterr().out


def test_info_goes_on_after_bad_files_and_ends_with_the_worst_code(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = recording.with_name("cut")
    cut.write_bytes(recording.read_bytes()[:-3])
    foreign = recording.with_name("foreign")
    foreign.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert info(foreign, cut, recording, json=True) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "PNG" in err
    assert "cut off" in err
    assert info(cut, recording) == 4


@pytest.mark.parametrize("data", [aedat2([]), AEDAT3_HEADER, aedat4([], table=False)])
def test_info_of_a_header_alone_is_partial(tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(data)
    assert info(tmp_path / "a") == 4
    assert "header only: no events" in capsys.readouterr().err


def test_info_of_a_whole_file_without_events_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(aedat4([]))
    assert info(tmp_path / "a") == 0
    assert "the event stream is empty" in capsys.readouterr().out


def test_info_without_files_or_of_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        info()
    with pytest.raises(InputError):
        info(tmp_path)


def test_frames_writes_counts_starts_and_bin_length(recording: Path) -> None:
    target = recording.with_name("b.npz")
    assert frames(recording, target, delta_t="10ms", size="32x16") == 0
    archive = np.load(target, allow_pickle=False)
    assert archive["counts"].shape == (5, 2, 16, 32)
    assert archive["counts"].dtype == np.uint8
    assert archive["counts"].sum(axis=(1, 2, 3)).tolist() == [10] * 5
    assert archive["start_us"].tolist() == [0, 10_000, 20_000, 30_000, 40_000]
    assert archive["delta_t_us"] == 10_000


def test_frames_of_a_recording_without_events_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(aedat4([]))
    assert frames(tmp_path / "a", tmp_path / "b.npz") == 0
    assert np.load(tmp_path / "b.npz")["counts"].shape == (0, 2, 24, 32)


def test_frames_that_would_fill_the_memory_are_refused_and_leave_no_file(recording: Path) -> None:
    recording.write_bytes(aedat2([(0, 0), (0, 4_000_000_000)]))
    with pytest.raises(UsageError, match="GB"):
        frames(recording, recording.with_name("b.npz"), delta_t="1us")
    assert not recording.with_name("b.npz").exists()


@pytest.mark.parametrize("options", [{"size": "0x5"}, {"size": "big"}, {"delta_t": "10"}, {"delta_t": "0us"}])
def test_frames_refuses_senseless_options(recording: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        frames(recording, recording.with_name("b.npz"), **options)  # type: ignore[arg-type] # only these two are given


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["info", "a.aedat"], 0), (["info", "none"], 3), (["info", "cut"], 4), (["convert", "a.aedat", "a.aedat"], 2)],
)
def test_program_ends_with_the_promised_code_and_without_a_traceback(recording: Path, arguments: list[str], code: int) -> None:
    recording.with_name("cut").write_bytes(recording.read_bytes()[:-3])
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=recording.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert (code == 0) == (done.stderr == "")
