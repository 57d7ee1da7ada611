"""convert, cut and merge from the outside: what is written, what is kept from being overwritten, which exit code."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recording_bytes import AEDAT3_HEADER, aedat2, dvs128_address

from app.commands.editing import convert, cut, merge
from app.reading import Reading, Span
from app.targets import Writing
from pipeline.schema.errors import PartialInputError, SaccadeError, UsageError
from pipeline.schema.events import Events
from pipeline.sources.registry import open_recording

# one event a millisecond, from 7 s on
RECORDS = [(dvs128_address(i % 128, i % 100, i % 2), 7_000_000 + 1000 * i) for i in range(50)]
UNIX_US = [1_605_537_493_718_345, 1_605_537_493_718_352]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2(RECORDS))
    return path


def read(path: Path) -> Events:
    with open_recording(path) as source:
        return np.concatenate(list(source.packets()))


@pytest.mark.parametrize("ending", ["aedat2", "aedat3", "aedat4"])
def test_convert_keeps_every_event(recording: Path, ending: str) -> None:
    target = recording.with_name(f"b.{ending}")
    assert convert(recording, target) == 0
    assert np.array_equal(read(recording), read(target))


def test_convert_refuses_to_overwrite_and_never_writes_onto_its_source(recording: Path) -> None:
    target = recording.with_name("b.aedat4")
    target.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--force"):
        convert(recording, target)
    with pytest.raises(UsageError, match="itself"):
        convert(recording, recording, writing=Writing(force=True))
    assert target.read_bytes() == b"precious"
    assert recording.read_bytes() == aedat2(RECORDS)
    assert convert(recording, target, writing=Writing(force=True)) == 0


def test_convert_delivers_what_can_be_read_and_then_says_what_was_lost(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-3])
    target = recording.with_name("b.aedat4")
    with pytest.raises(PartialInputError, match="cut off"):
        convert(recording, target)
    with open_recording(target) as source:
        assert sum(packet.size for packet in source.packets()) == 49
        assert not source.report().is_truncated


def test_convert_leaves_no_file_behind_when_times_do_not_fit(tmp_path: Path) -> None:
    target = tmp_path / "c.aedat2"
    unix = tmp_path / "unix.npz"
    np.savez(unix, t=UNIX_US, x=[3, 3], y=[4, 4], p=[1, 1], width=128, height=128)
    with pytest.raises(UsageError, match="--from-zero"):
        convert(unix, target)
    assert not target.exists()
    assert convert(unix, target, writing=Writing(from_zero=True)) == 0
    assert read(target)["t"].tolist() == [0, 7]


def test_convert_runs_the_events_through_filters_in_their_order(recording: Path) -> None:
    target = recording.with_name("b.aedat4")
    assert convert(recording, target, reading=Reading(filter=("polarity=on", "roi=10,10,20x30"))) == 0
    before, after = read(recording), read(target)
    kept = before[(before["p"] == 1) & (before["x"] >= 10) & (before["x"] < 30) & (before["y"] >= 10) & (before["y"] < 40)]
    assert after["t"].tolist() == kept["t"].tolist()
    with open_recording(target) as source:
        assert source.info.sensor_size == (20, 30)


def test_an_unknown_filter_is_refused_before_anything_is_written(recording: Path) -> None:
    with pytest.raises(UsageError, match="bakground"):
        convert(recording, recording.with_name("b.aedat4"), reading=Reading(filter=("bakground=2ms",)))
    assert not recording.with_name("b.aedat4").exists()


def test_cut_keeps_what_lies_between_start_and_end(recording: Path) -> None:
    target = recording.with_name("b.aedat4")
    assert cut(recording, target, span=Span("10ms", "12ms"), writing=Writing(from_zero=True)) == 0
    assert read(target)["t"].tolist() == [0, 1000]
    assert cut(recording, target, span=Span(start="48ms"), writing=Writing(force=True)) == 0
    assert read(target)["t"].tolist() == [7_048_000, 7_049_000]
    assert cut(recording, target, span=Span(end="1ms"), writing=Writing(force=True)) == 0
    assert read(target)["t"].tolist() == [7_000_000]


@pytest.mark.parametrize(
    ("span", "match"),
    [
        (Span(), "which part"),
        (Span("2ms", "2ms"), "leave nothing"),
        (Span("5s"), "holds no event"),
        (Span("5"), "no duration"),
    ],
)
def test_cut_of_nothing_is_refused_and_leaves_no_file(recording: Path, span: Span, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        cut(recording, recording.with_name("b.aedat4"), span=span)
    assert not recording.with_name("b.aedat4").exists()


@pytest.fixture
def other(recording: Path) -> Path:
    """A second recording of the sensor, half a millisecond later, with ten events."""
    path = recording.with_name("other.aedat")
    path.write_bytes(aedat2([(dvs128_address(i, 0, 1), 7_000_500 + 1000 * i) for i in range(10)]))
    return path


def test_merge_puts_all_events_in_the_order_of_time(recording: Path, other: Path) -> None:
    target = recording.with_name("b.aedat4")
    assert merge(recording, other, target) == 0
    times = [t for _, t in RECORDS] + [7_000_500 + 1000 * i for i in range(10)]
    assert read(target)["t"].tolist() == sorted(times)


def test_merge_can_align_or_append(recording: Path, other: Path) -> None:
    target = recording.with_name("b.aedat4")
    assert merge(recording, other, target, align=True) == 0
    assert read(target)["t"].tolist() == sorted([1000 * i for i in range(50)] + [1000 * i for i in range(10)])
    assert merge(other, recording, target, sequence=True, writing=Writing(force=True, from_zero=True)) == 0
    assert read(target)["t"].tolist() == [1000 * i for i in range(10)] + [9_001 + 1000 * i for i in range(50)]


def test_merge_refuses_what_it_cannot_mean(recording: Path, other: Path) -> None:
    target = recording.with_name("b.aedat4")
    for call in (
        merge,
        lambda: merge(recording, target),
        lambda: merge(recording, other, target, align=True, sequence=True),
        lambda: merge(recording, target, target),
        lambda: merge(recording, other, recording, writing=Writing(force=True)),
        lambda: merge(recording, other, target, writing=Writing(format="vhs")),
    ):
        with pytest.raises(SaccadeError):
            call()
        assert not target.exists()
    assert read(recording).size == 50


def test_merge_of_unequal_sensors_is_refused(recording: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.npz"
    np.savez(small, t=[1], x=[3], y=[4], p=[1], width=32, height=24)
    with pytest.raises(UsageError, match="32x24"):
        merge(recording, small, tmp_path / "b.aedat4")
    assert not (tmp_path / "b.aedat4").exists()
    assert merge(recording, small, tmp_path / "b.aedat4", reading=Reading(filter=("roi=0,0,32x24",))) == 0


def test_merge_delivers_everything_and_then_names_the_recording_that_was_cut(recording: Path, other: Path) -> None:
    other.write_bytes(other.read_bytes()[:-3])
    target = recording.with_name("b.aedat4")
    with pytest.raises(PartialInputError, match=r"other: .*cut off"):
        merge(recording, other, target)
    assert read(target).size == 59


def test_the_table_of_triggers_is_a_file_of_its_own(recording: Path) -> None:
    target, table = recording.with_name("b.aedat4"), recording.with_name("b.csv")
    assert convert(recording, target, writing=Writing(triggers=table)) == 0
    assert table.read_text() == "t_us,id,p\n"
    with pytest.raises(UsageError, match="named twice"):
        convert(recording, recording.with_name("c.aedat4"), writing=Writing(triggers=recording.with_name("c.aedat4")))
    with pytest.raises(UsageError, match=r"b\.csv exists"):
        convert(recording, recording.with_name("c.aedat4"), writing=Writing(triggers=table))
    assert not recording.with_name("c.aedat4").exists()


def code_of(call: Callable[[], int]) -> int:
    try:
        return call()
    except SaccadeError as error:
        return error.exit_code


@pytest.mark.parametrize(
    ("name", "code"), [("a.aedat", 0), ("cut", 4), ("header", 4), ("empty", 3), ("foreign", 3), ("missing", 3), (".", 3)]
)
def test_exit_codes_and_nothing_half_written(recording: Path, other: Path, name: str, code: int) -> None:
    folder = recording.parent
    (folder / "cut").write_bytes(recording.read_bytes()[:-3])
    (folder / "header").write_bytes(AEDAT3_HEADER)
    (folder / "empty").write_bytes(b"")
    (folder / "foreign").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = folder / name
    assert code_of(lambda: convert(source, folder / "1.aedat4")) == code
    assert code_of(lambda: cut(source, folder / "2.aedat4", span=Span(end="1s"))) == code
    assert code_of(lambda: merge(other, source, folder / "3.aedat4")) == code
    assert {(folder / f"{number}.aedat4").exists() for number in (1, 2, 3)} == {code != 3}


@pytest.fixture
def triggered(tmp_path: Path) -> Path:
    """EVT2: an event every 10 us from 0 on, and three triggers of input 3 at 15, 25 and 35 us."""
    words = [0x8 << 28]
    for t in range(0, 50, 10):
        words.append(1 << 28 | t << 22 | t << 11)
        if t in (10, 20, 30):
            words.append(0xA << 28 | (t + 5) << 22 | 3 << 8 | (t != 20))
    path = tmp_path / "triggered.raw"
    path.write_bytes(b"% evt 2.0\n% format EVT2;height=24;width=64\n% end\n" + struct.pack(f"<{len(words)}I", *words))
    return path


def test_triggers_go_along_and_into_their_table(triggered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, table = triggered.with_name("b.raw"), triggered.with_name("b.csv")
    assert convert(triggered, target) == 0
    assert convert(target, triggered.with_name("c.raw"), writing=Writing(triggers=table)) == 0
    assert table.read_text().split() == ["t_us,id,p", "15,3,1", "25,3,0", "35,3,1"]
    assert capsys.readouterr().err == ""
    assert convert(triggered, triggered.with_name("d.npz")) == 0
    assert "3 triggers not written to d.npz; keep them with --triggers" in capsys.readouterr().err


def test_triggers_are_cut_and_moved_with_the_events(triggered: Path) -> None:
    writing = Writing(from_zero=True, triggers=triggered.with_name("b.csv"))
    assert cut(triggered, triggered.with_name("b.raw"), span=Span("20us", "35us"), writing=writing) == 0
    assert triggered.with_name("b.csv").read_text().split() == ["t_us,id,p", "5,3,0"]
    assert read(triggered.with_name("b.raw"))["t"].tolist() == [0, 10]


def test_triggers_of_merged_recordings_stand_in_the_order_of_time(triggered: Path) -> None:
    later = triggered.with_name("later.raw")
    later.write_bytes(triggered.read_bytes())
    writing = Writing(triggers=triggered.with_name("b.csv"))
    assert merge(triggered, later, triggered.with_name("b.raw"), sequence=True, writing=writing) == 0
    # the second begins at 41 us
    times = [int(line.split(",")[0]) for line in triggered.with_name("b.csv").read_text().splitlines()[1:]]
    assert times == [15, 25, 35, 56, 66, 76]
