"""AEDAT 2.0 files built byte by byte."""

from pathlib import Path

import numpy as np
import pytest
from recording_bytes import AEDAT2_END, AEDAT2_LINE, DAVIS240_CHIP, aedat2, davis240_address, dvs128_address
from seeking import check_spans_from_every_bookmark

from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

TURN = 1 << 32


def read(path: Path, data: bytes, chip: str | None = None) -> tuple[list[tuple[int, ...]], ReadReport]:
    path = path / "recording"
    path.write_bytes(data)
    with open_recording(path, chip=chip) as source:
        packets: list[Events] = list(source.packets())
        return [event for packet in packets for event in packet.tolist()], source.report()


def test_dvs128_events_are_flipped_to_house_coordinates(tmp_path: Path) -> None:
    # raw x 127 is the left edge, raw y 127 the top, raw polarity 0 is ON
    events, report = read(tmp_path, aedat2([(127 << 8 | 127 << 1 | 0, 10), (0, 20), (1, 30)]))
    assert events == [(0, 0, 1, 10), (127, 127, 1, 20), (127, 127, 0, 30)]
    assert report == ReadReport()


def test_davis_events_are_flipped_to_house_coordinates(tmp_path: Path) -> None:
    events, _ = read(tmp_path, aedat2([(179 << 22 | 239 << 12 | 1 << 11, 10), (0, 20)], chip=DAVIS240_CHIP))
    assert events == [(0, 0, 1, 10), (239, 179, 0, 20)]


def test_sync_events_of_a_dvs128_are_stepped_over(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(1 << 15, 5), (dvs128_address(1, 2, 1), 10), (1 << 31, 12)]))
    assert events == [(1, 2, 1, 10)]
    assert report.warnings == ()


def test_frame_samples_imu_words_and_external_inputs_of_a_davis_are_stepped_over(tmp_path: Path) -> None:
    others = [(1 << 31 | 5 << 22 | 1 << 10 | 700, 1), (0x80000C00 | 3 << 28, 2), (1 << 10 | 3, 3)]
    records = [*others, (davis240_address(7, 8, 1), 10), *others]
    assert read(tmp_path, aedat2(records, chip=DAVIS240_CHIP))[0] == [(7, 8, 1, 10)]


def test_coordinates_beyond_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(240 << 12, 1), (180 << 22, 2), (0, 3)], chip=DAVIS240_CHIP))
    assert events == [(239, 179, 0, 3)]
    assert report.warnings == ("2 events outside the sensor of 240x180 pixels dropped",)


def test_time_crosses_two_to_the_31_as_an_unsigned_number(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(0, (1 << 31) - 1), (0, 1 << 31), (0, (1 << 31) + 1)]))
    assert [event[3] for event in events] == [(1 << 31) - 1, 1 << 31, (1 << 31) + 1]
    assert report.is_monotonic


def test_clock_turns_at_two_to_the_32_and_disorder_across_the_turn_is_no_second_turn(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(0, TURN - 2), (0, 3), (0, TURN - 1), (0, 5)]))
    assert [event[3] for event in events] == [TURN - 2, TURN + 3, TURN + 3, TURN + 5]
    assert report.warnings == ("1 events ran backwards, held at the running maximum",)
    assert not report.is_monotonic


def test_clock_set_back_lets_time_continue(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(0, 5_000_000), (0, 100), (0, 110)]))
    assert [event[3] for event in events] == [5_000_000, 5_000_000, 5_000_010]
    assert "set back 1 times" in report.warnings[0]


def test_first_record_that_begins_with_the_comment_sign_is_data(tmp_path: Path) -> None:
    # DAVIS rows 140 to 143 make addresses that begin with byte 0x23
    address = 140 << 22 | 1 << 12
    assert address >> 24 == 0x23
    events, _ = read(tmp_path, aedat2([(address, 1), (0, 2)], chip=DAVIS240_CHIP, end=b"# last line\r\n"))
    assert events[0] == (238, 39, 0, 1)


def test_record_that_looks_like_a_comment_line_is_data_because_records_must_fill_the_file(tmp_path: Path) -> None:
    # text up to a CR LF inside the second record: taken for a line, it would leave 2 bytes instead of whole records;
    # as addresses, 0x237a7a7a lies at x = 935 and 0x45464748 is an external input
    fake = b"#zzzABCDEFGH\r\nzz"
    events, report = read(tmp_path, AEDAT2_LINE + b"# AEChip: " + DAVIS240_CHIP + b"\r\n" + fake)
    assert events == []
    assert report.warnings == ("1 events outside the sensor of 240x180 pixels dropped",)
    assert not report.is_truncated


def test_header_without_end_marker_or_chip_is_a_dvs128_when_addresses_are_small(tmp_path: Path) -> None:
    header = AEDAT2_LINE + b"# five\r\n# lines\r\n# and no\r\n# chip\r\n"
    events, _ = read(tmp_path, header + aedat2([(dvs128_address(3, 4, 0), 9)], chip=None, end=b"")[len(AEDAT2_LINE) :])
    assert events == [(3, 4, 0, 9)]


def test_large_addresses_without_a_chip_are_refused_naming_the_option(tmp_path: Path) -> None:
    data = aedat2([(davis240_address(3, 4, 1), 9)], chip=None)
    with pytest.raises(InputError, match="--chip"):
        read(tmp_path, data)
    assert read(tmp_path, data, chip="DAVIS240C")[0] == [(3, 4, 1, 9)]


def test_unknown_chips_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cochlea.*--chip"):
        read(tmp_path, aedat2([(0, 1)], chip=b"ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c"))
    with pytest.raises(UsageError, match="dvs128"):
        read(tmp_path, aedat2([(0, 1)]), chip="retina9000")


def test_cut_record_is_reported_and_the_others_delivered(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([(0, 1), (0, 2)])[:-3])
    assert [event[3] for event in events] == [1]
    assert report.is_truncated
    assert report.n_bytes_skipped == 5


def test_header_alone_is_a_recording_without_events(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat2([]))
    assert events == []
    assert report.is_truncated
    assert report.warnings == ("header only: no events",)


@pytest.mark.parametrize("n_bytes", [20, 33, 40, len(AEDAT2_LINE) + 47])
def test_header_cut_within_a_line_holds_no_events(tmp_path: Path, n_bytes: int) -> None:
    events, report = read(tmp_path, aedat2([])[:n_bytes])
    assert events == []
    assert report.warnings == ("header only: no events",)


def test_damaged_first_line_is_refused(tmp_path: Path) -> None:
    for line in (b"#!AER-DAT2.0", b"#!AER-DAT2.0\0\0\0\r\n"):
        with pytest.raises(InputError, match="first line"):
            read(tmp_path, line)


def test_events_do_not_depend_on_how_blocks_fall(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = 140_000  # more than one block of 1 MiB
    xs, ys, ps = rng.integers(0, 128, n), rng.integers(0, 128, n), rng.integers(0, 2, n)
    records = [(dvs128_address(int(x), int(y), int(p)), 3 * i) for i, (x, y, p) in enumerate(zip(xs, ys, ps, strict=True))]
    events, report = read(tmp_path, aedat2(records))
    assert np.array_equal(np.array(events), np.column_stack([xs, ys, ps, 3 * np.arange(n)]))
    assert report == ReadReport()


def test_reading_twice_gives_the_same_events(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(AEDAT2_LINE + AEDAT2_END + b"\0" * 16)
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(128, 128)
        assert [packet.tolist() for packet in source.packets()] == [packet.tolist() for packet in source.packets()]


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("ch.unizh.ini.jaer.chip.retina.DVS128", 128, 128),
        ("eu.seebetter.ini.chips.davis.DAVIS240B", 240, 180),
        ("eu.seebetter.ini.chips.davis.DAVIS240C", 240, 180),
        ("eu.seebetter.ini.chips.davis.Davis346blue", 346, 260),
        ("eu.seebetter.ini.chips.davis.Davis346red", 346, 260),
        ("eu.seebetter.ini.chips.davis.Davis640", 640, 480),
        ("ch.unizh.ini.jaer.chip.retina.DVS640", 640, 480),
    ],
)
def test_sensor_size_follows_from_the_class_of_the_chip(tmp_path: Path, name: str, width: int, height: int) -> None:
    (tmp_path / "recording").write_bytes(aedat2([(0, 1)], chip=name.encode()))
    with open_recording(tmp_path / "recording") as source:
        assert source.info.sensor_size == SensorSize(width, height)
        assert next(source.packets()).tolist() == [(width - 1, height - 1, 1 if width == 128 else 0, 1)]


def test_orientation_is_an_option_of_the_reader(tmp_path: Path) -> None:
    (tmp_path / "recording").write_bytes(aedat2([(3 << 8 | 10 << 1 | 1, 5)]))
    with open_recording(tmp_path / "recording", orientation="tonic") as source:
        assert next(source.packets()).tolist() == [(3, 10, 1, 5)]


def test_sync_events_are_kept_as_triggers(tmp_path: Path) -> None:
    (tmp_path / "recording").write_bytes(aedat2([(0, 1), (1 << 15, 5), (0, 9), (1 << 15, 12)]))
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 2
        assert source.take_triggers().tolist() == [(5, 0, 1), (12, 0, 1)]
        assert source.report().n_triggers == 2


def test_spans_from_every_bookmark_are_slices_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.aedat2.BLOCK_BYTES", 320)
    monkeypatch.setattr(Index, "STEP", 600)
    rng = np.random.default_rng(3)
    # across a turn of the clock, a clock set back, disorder, and sync events
    t = np.cumsum(rng.integers(0, 30_000, 600)) + TURN - 6_000_000
    t[300] -= 500
    t[450:] -= t[450] - 7
    address = rng.integers(0, 1 << 15, 600) | (rng.random(600) < 0.05) << 15
    (tmp_path / "recording").write_bytes(aedat2(zip(address.tolist(), t.tolist(), strict=True)))
    whole = check_spans_from_every_bookmark(tmp_path / "recording", at_least=6)
    assert whole["t"][0] < TURN < whole["t"][-1]


def test_real_recordings_are_read_from_any_bookmark(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1 << 20)
    for path in sorted((shared_data / "recordings/aedat2").glob("*.aedat")):
        check_spans_from_every_bookmark(path, at_least=2)
