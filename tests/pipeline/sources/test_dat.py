"""DAT files built record by record."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hostile import mutations, truncations

from pipeline.schema.errors import InputError, SaccadeError, UnknownFormatError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.registry import open_recording

SIZE = b"% Height 24\n% Width 32\n"
FIRST = b"% Data file containing EventCD events.\n% Version 2\n"
TURN = 1 << 32


def record(t: int, x: int, y: int, p: int) -> bytes:
    return struct.pack("<II", t % TURN, p << 28 | y << 14 | x)


def dat(records: list[bytes], *, header: bytes = FIRST + SIZE, kind: int = 12, size: int = 8) -> bytes:
    return header + bytes([kind, size]) + b"".join(records)


def read(path: Path, data: bytes, chip: str | None = None) -> tuple[list[tuple[int, ...]], ReadReport, SensorSize]:
    (path / "recording").write_bytes(data)
    with open_recording(path / "recording", chip=chip) as source:
        width, height = source.info.sensor_size
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert all(x < width and y < height and p <= 1 for x, y, p, _ in events)
        return events, source.report(), source.info.sensor_size


@pytest.mark.parametrize("kind", [0, 12])
@pytest.mark.parametrize("header", [FIRST + SIZE, b"% Version 2\n" + SIZE + b"% end\n", SIZE, SIZE.replace(b"\n", b"\r\n")])
def test_events_of_both_types_behind_every_kind_of_header(tmp_path: Path, kind: int, header: bytes) -> None:
    events, report, sensor_size = read(tmp_path, dat([record(10, 31, 23, 1), record(20, 0, 1, 0)], header=header, kind=kind))
    assert events == [(31, 23, 1, 10), (0, 1, 0, 20)]
    assert report == ReadReport()
    assert sensor_size == SensorSize(32, 24)


def test_size_is_measured_when_the_header_is_silent(tmp_path: Path) -> None:
    data = dat([record(1, 77, 3, 1), record(2, 5, 41, 1)], header=FIRST)
    events, report, sensor_size = read(tmp_path, data)
    assert events == [(77, 3, 1, 1), (5, 41, 1, 2)]
    assert sensor_size == SensorSize(78, 42)
    assert "measured" in report.warnings[0]
    assert not report.is_truncated
    events, report, sensor_size = read(tmp_path, data, chip="100x50")
    assert (len(events), report, sensor_size) == (2, ReadReport(), SensorSize(100, 50))


def test_pixels_outside_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report, _ = read(tmp_path, dat([record(1, 32, 0, 1), record(2, 0, 24, 1), record(3, 31, 0, 1)]))
    assert events == [(31, 0, 1, 3)]
    assert report.warnings == ("2 events outside the sensor of 32x24 pixels dropped",)


def test_time_turns_at_32_bits_and_disorder_across_the_turn_is_no_second_turn(tmp_path: Path) -> None:
    events, report, _ = read(tmp_path, dat([record(t, 1, 1, 1) for t in (TURN - 2, 3, TURN - 1, 5)]))
    assert [t for *_, t in events] == [TURN - 2, TURN + 3, TURN + 3, TURN + 5]
    assert report.warnings == ("1 events ran backwards, held at the running maximum",)


def test_triggers_alone_are_a_whole_file_without_events(tmp_path: Path) -> None:
    words = [(100, 6 << 26 | 1), (TURN - 5, 63 << 26), (7, 1)]
    (tmp_path / "recording").write_bytes(dat([struct.pack("<II", t, what) for t, what in words], kind=14))
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 0
        # the clock turned before the last
        assert source.take_triggers().tolist() == [(100, 6, 1), (TURN - 5, 63, 0), (TURN + 7, 0, 1)]
        assert source.report() == ReadReport(warnings=("no events: the file holds 3 external triggers",), n_triggers=3)


def test_optical_flow_gives_its_events_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [record(t, t, 2, 1) + struct.pack("<ffffI", 1.0, -1.0, 3.0, 4.0, t) for t in (5, 6)]
    events, report, _ = read(tmp_path, dat([*rows, rows[0][:20]], kind=40, size=28))
    assert events == [(5, 2, 1, 5), (6, 2, 1, 6)]
    assert report.warnings[0] == "optical flow: the events were read, and the speeds beside them left out"
    assert report.n_bytes_skipped == 20


def test_file_without_a_header_is_read_when_the_user_says_what_it_is(tmp_path: Path) -> None:
    # x 8-0, y 16-9, ON 17
    rows = [struct.pack("<II", 0x11223344 + i, 1 << 17 | (200 + i) << 9 | 300 + i) for i in range(3)]
    (tmp_path / "old.dat").write_bytes(b"".join(rows) + b"abc")
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "old.dat")
    with open_recording(tmp_path / "old.dat", format="dat") as source:
        assert source.info.encoding == "kAER, no header"
        assert source.info.sensor_size == SensorSize(303, 203)
        events = [event for packet in source.packets() for event in packet.tolist()]
        assert events == [(300 + i, 200 + i, 1, 0x11223344 + i) for i in range(3)]
        assert source.report().n_bytes_skipped == 3
    (tmp_path / "new.dat").write_bytes(dat([record(1, 1, 1, 1)]))
    with open_recording(tmp_path / "new.dat", format="dat") as source:
        assert [packet.tolist() for packet in source.packets()] == [[(1, 1, 1, 1)]]


def test_old_file_equals_its_twin_of_another_kind(shared_data: Path) -> None:
    clips = np.load(shared_data / "labelled/poker_dvs/poker_dvs.npz", allow_pickle=False)
    index = next(i for i, name in enumerate(clips["names"]) if "di_17" in str(name))
    part = slice(clips["offsets"][index], clips["offsets"][index + 1])
    path = shared_data / "recordings/dat/kaer_v1_headerless_poker_di_17_td.dat"
    with open_recording(path, format="dat") as source:
        events = np.concatenate(list(source.packets()))
    assert np.array_equal(events["t"], clips["t"][part] - clips["t"][part][0])
    for field in "xyp":
        assert np.array_equal(events[field], clips[field][part])


@pytest.mark.parametrize("odd", ["outside", "backward", "turn", "leap"])
def test_one_odd_record_among_many_changes_no_other(tmp_path: Path, odd: str) -> None:
    n, at = 5000, 2600
    x, y, p = np.arange(n) % 32, np.arange(n) % 24, np.arange(n) % 2
    t = np.arange(n, dtype=np.int64) * 10 + (TURN - 26_005 if odd == "turn" else 0)
    expected = t.copy()
    if odd == "outside":
        x[at] = 32
    if odd == "backward":
        t[at] -= 1000
        expected[at] = expected[at - 1]
    if odd == "leap":
        t[at:] += 1 << 31
        expected[at:] += 1 << 31
    body = np.column_stack([t % TURN, p << 28 | y << 14 | x]).astype("<u4").tobytes()
    events, report, _ = read(tmp_path, dat([body]))
    keep = x < 32
    assert np.array_equal(np.array(events), np.column_stack([x, y, p, expected])[keep])
    assert len(report.warnings) == (odd in ("outside", "backward"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (dat([b"\0" * 16], kind=12, size=16), "type 12, 16 bytes"),
        (dat([b"\0" * 8], kind=99), "type 99"),
        (dat([b"\0" * 12], kind=14, size=12), "type 14, 12 bytes"),
        (dat([b"\0" * 8], header=b"% Version 1\n" + SIZE), "version '1'"),
        (dat([b"\0" * 8], header=b"% Version 2\n% Height 0\n% Width 99999\n"), "99999x0"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, data: bytes, found: str) -> None:
    with pytest.raises(InputError, match=found):
        read(tmp_path, data)


def test_ragged_tail_is_reported(tmp_path: Path) -> None:
    events, report, _ = read(tmp_path, dat([record(1, 1, 1, 1), record(2, 1, 1, 1)])[:-3])
    assert [t for *_, t in events] == [1]
    assert (report.is_truncated, report.n_bytes_skipped) == (True, 5)


@pytest.mark.parametrize("data", [FIRST + SIZE, (FIRST + SIZE)[:-4], dat([]), dat([])[:-1], FIRST, dat([], header=FIRST)])
def test_header_alone_is_a_recording_without_events(tmp_path: Path, data: bytes) -> None:
    events, report, _ = read(tmp_path, data)
    assert events == []
    assert report.is_truncated
    assert "header only: no events" in report.warnings


def test_events_do_not_depend_on_how_blocks_fall(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = (1 << 17) + 1000  # more than one block of 1 MiB
    x, y, p, t = rng.integers(0, 32, n), rng.integers(0, 24, n), rng.integers(0, 2, n), 3 * np.arange(n)
    body = np.column_stack([t, p << 28 | y << 14 | x]).astype("<u4").tobytes()
    events, report, _ = read(tmp_path, dat([body]))
    assert np.array_equal(np.array(events), np.column_stack([x, y, p, t]))
    assert report == ReadReport()


@pytest.mark.parametrize("header", [FIRST + SIZE, FIRST])
def test_damaged_files_give_sane_events_or_an_error_of_ours(tmp_path: Path, header: bytes) -> None:
    whole, counts = dat([record(1000 * i, i % 32, i % 24, i % 2) for i in range(40)], header=header), []
    for damaged in (*truncations(whole), whole, *mutations(whole, 300, seed=5)):
        try:
            events, *_ = read(tmp_path, damaged)
        except SaccadeError:
            events = []
        assert all(a[3] <= b[3] for a, b in itertools.pairwise(events))
        counts.append(len(events))
    assert counts[: len(whole) + 1] == sorted(counts[: len(whole) + 1])
    assert counts[len(whole)] == 40
