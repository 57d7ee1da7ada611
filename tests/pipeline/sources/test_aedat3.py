"""AEDAT 3.x files built byte by byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
from recording_bytes import AEDAT3_HEADER, packet3, polarity, special
from seeking import check_spans_from_every_bookmark

from pipeline.schema.errors import InputError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

HEADER_3_0 = b"#!AER-DAT3.0\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"


def read(path: Path, data: bytes, *, stream: int | None = None) -> tuple[list[tuple[int, ...]], ReadReport]:
    path = path / "recording"
    path.write_bytes(data)
    with open_recording(path, stream=stream) as source:
        return [event for packet in source.packets() for event in packet.tolist()], source.report()


def test_events_are_as_written_with_the_origin_at_the_top(tmp_path: Path) -> None:
    events, report = read(tmp_path, AEDAT3_HEADER + packet3([polarity(10, 3, 4, 1), polarity(20, 127, 0, 0)]))
    assert events == [(3, 4, 1, 10), (127, 0, 0, 20)]
    assert report == ReadReport()


def test_header_with_bare_line_feeds_is_read(tmp_path: Path) -> None:
    data = AEDAT3_HEADER.replace(b"\r\n", b"\n") + packet3([polarity(10, 3, 4, 1)])
    assert read(tmp_path, data)[0] == [(3, 4, 1, 10)]


def test_packets_of_other_types_and_unused_capacity_are_stepped_over(tmp_path: Path) -> None:
    frame = packet3([b"\x07" * 1001], kind=2)
    data = AEDAT3_HEADER + frame + packet3([polarity(10, 3, 4, 1)], capacity=5) + frame + packet3([polarity(20, 5, 6, 0)])
    assert read(tmp_path, data)[0] == [(3, 4, 1, 10), (5, 6, 0, 20)]


def test_events_marked_invalid_are_left_out(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([polarity(10, 3, 4, 1, is_valid=False), polarity(20, 5, 6, 0)])
    assert read(tmp_path, data)[0] == [(5, 6, 0, 20)]


def test_overflow_counter_stands_for_two_to_the_31_microseconds(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([polarity(0x7FFFFFFF, 0, 0, 1)]) + packet3([polarity(5, 0, 0, 1)], overflow=1)
    events, report = read(tmp_path, data)
    assert [event[3] for event in events] == [(1 << 31) - 1, (1 << 31) + 5]
    assert report.is_monotonic


def test_timestamp_reset_lets_time_continue(tmp_path: Path) -> None:
    reset = packet3([special(0, 1)], kind=0)
    data = AEDAT3_HEADER + packet3([polarity(1000, 0, 0, 1)]) + reset + packet3([polarity(3, 0, 0, 1), polarity(8, 0, 0, 1)])
    events, report = read(tmp_path, data)
    assert [event[3] for event in events] == [1000, 1000, 1005]
    assert "set back 1 times" in report.warnings[0]
    assert not report.is_monotonic


def test_timestamp_reset_before_the_first_event_means_nothing(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([special(0, 1)], kind=0) + packet3([polarity(3, 0, 0, 1), polarity(8, 0, 0, 1)])
    events, report = read(tmp_path, data)
    assert [event[3] for event in events] == [3, 8]
    assert report == ReadReport()


def test_events_of_other_sources_are_left_out_and_can_be_chosen(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([polarity(1, 1, 1, 1)]) + packet3([polarity(2, 2, 2, 0)], source=2)
    events, report = read(tmp_path, data)
    assert events == [(1, 1, 1, 1)]
    assert "--stream" in report.warnings[0]
    assert read(tmp_path, data, stream=2)[0] == [(2, 2, 0, 2)]


def test_wider_events_are_read_by_their_size_and_time_offset(tmp_path: Path) -> None:
    body = struct.pack("<I4xi", 3 << 17 | 4 << 2 | 1 << 1 | 1, 77)
    data = AEDAT3_HEADER + struct.pack("<hhiiiiii", 1, 1, 12, 8, 0, 1, 1, 1) + body
    assert read(tmp_path, data)[0] == [(3, 4, 1, 77)]


def test_version_3_0_counts_y_from_the_bottom_and_has_no_end_of_header(tmp_path: Path) -> None:
    body = struct.pack("<Ii", 3 << 18 | 4 << 4 | 1 << 1 | 1, 10)
    events, _ = read(tmp_path, HEADER_3_0 + packet3([body]))
    assert events == [(3, 123, 1, 10)]


def test_cut_body_delivers_the_whole_events_before_the_cut(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([polarity(t, 1, 1, 1) for t in (10, 20, 30)])
    events, report = read(tmp_path, data[:-9])
    assert [event[3] for event in events] == [10]
    assert report.is_truncated
    assert report.n_bytes_skipped == 7


def test_body_that_ends_on_an_event_too_early_is_truncated(tmp_path: Path) -> None:
    _, report = read(tmp_path, (AEDAT3_HEADER + packet3([polarity(t, 1, 1, 1) for t in (10, 20)]))[:-8])
    assert report.is_truncated


@pytest.mark.parametrize(("size", "capacity", "number"), [(0, 1, 1), (-8, 1, 1), (8, 1, 2), (8, -1, -1), (8, -1, 0), (4, 1, 1)])
def test_damaged_packet_header_ends_the_recording_there(tmp_path: Path, size: int, capacity: int, number: int) -> None:
    damaged = struct.pack("<hhiiiiii", 1, 1, size, 4, 0, capacity, number, number)
    events, report = read(tmp_path, AEDAT3_HEADER + packet3([polarity(10, 1, 1, 1)]) + damaged + b"\1" * 100)
    assert len(events) == 1
    assert report.n_bytes_skipped == 128
    assert "damaged" in report.warnings[0]


def test_damaged_first_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="END-HEADER"):
        read(tmp_path, b"#!AER-DAT3.1\0\0\0")


def test_header_without_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="END-HEADER"):
        read(tmp_path, AEDAT3_HEADER[:-20])


def test_other_encodings_than_raw_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SerializedTS"):
        read(tmp_path, AEDAT3_HEADER.replace(b"RAW", b"SerializedTS"))


def test_unknown_device_is_refused_naming_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Marvin.*--chip"):
        read(tmp_path, AEDAT3_HEADER.replace(b"DVS128", b"Marvin"))


def test_old_sources_with_a_minus_sign_do_not_name_the_sensor(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(AEDAT3_HEADER.replace(b"#Source 1", b"#-Source 2: DAVIS240C\r\n#Source 1"))
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(128, 128)


def test_header_alone_is_a_recording_without_events(tmp_path: Path) -> None:
    events, report = read(tmp_path, AEDAT3_HEADER)
    assert events == []
    assert report.warnings == ("header only: no events",)


def test_external_inputs_are_kept_as_triggers_with_their_own_times(tmp_path: Path) -> None:
    # kinds: 2 rising, 3 falling, 4 pulse; 5 is none of ours, and the last is marked invalid
    specials = [special(15, 2), special(17, 3), special(18, 4), special(19, 5), struct.pack("<Ii", 2 << 1, 20)]
    data = AEDAT3_HEADER + packet3([polarity(t, 1, 1, 1) for t in (10, 20)], overflow=1) + packet3(specials, kind=0, overflow=1)
    (tmp_path / "recording").write_bytes(data)
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 2
        high = 1 << 31
        assert source.take_triggers().tolist() == [(high + 15, 0, 1), (high + 17, 0, 0), (high + 18, 1, 1)]


def test_triggers_move_with_a_clock_that_was_reset(tmp_path: Path) -> None:
    before = packet3([special(900, 2)], kind=0) + packet3([polarity(1000, 0, 0, 1)])
    # right behind the reset nothing is known of the new clock; after an event of 3 us, 1000 + (5 - 3)
    reset = packet3([special(0, 1), special(1, 2)], kind=0)
    after = packet3([polarity(3, 0, 0, 1)]) + packet3([special(5, 3)], kind=0)
    (tmp_path / "recording").write_bytes(AEDAT3_HEADER + before + reset + after)
    with open_recording(tmp_path / "recording") as source:
        assert [t for packet in source.packets() for t in packet["t"].tolist()] == [1000, 1000]
        assert source.take_triggers()["t"].tolist() == [900, 1000, 1002]


def test_triggers_of_other_sources_are_left_out(tmp_path: Path) -> None:
    data = AEDAT3_HEADER + packet3([polarity(1, 1, 1, 1)]) + packet3([special(2, 2)], kind=0, source=7)
    (tmp_path / "recording").write_bytes(data)
    with open_recording(tmp_path / "recording") as source:
        assert sum(packet.size for packet in source.packets()) == 1
        assert source.take_triggers().size == 0


@pytest.mark.parametrize("every", [1, 90, 600, 9999])
def test_events_that_need_care_change_nothing_for_those_around_them(tmp_path: Path, every: int) -> None:
    # whole chunks are converted at once unless one event in them is invalid, outside or late
    rng = np.random.default_rng(every)
    n = 3000
    t = np.cumsum(rng.integers(0, 9, n)) + 1_000
    x, y, p = rng.integers(0, 128, n), rng.integers(0, 128, n), rng.integers(0, 2, n)
    kind = np.where(np.arange(n) % every == every - 1, rng.integers(0, 3, n), -1)
    x[kind == 1] = 128
    t[kind == 2] -= 40
    rows = zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), (kind != 0).tolist(), strict=True)
    bodies = [polarity(*row[:4], is_valid=row[4]) for row in rows]
    events, report = read(tmp_path, AEDAT3_HEADER + packet3(bodies[:1234]) + packet3(bodies[1234:]))
    kept = (kind != 0) & (kind != 1)
    expected = np.column_stack([x[kept], y[kept], p[kept], np.maximum.accumulate(t[kept])])
    assert np.array_equal(np.array(events), expected)
    assert report.is_monotonic == bool((np.maximum.accumulate(t[kept]) == t[kept]).all())


def test_spans_from_every_bookmark_are_slices_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.aedat3.BLOCK_BYTES", 500)
    monkeypatch.setattr(Index, "STEP", 900)
    packets = []
    for i in range(20):
        # two turns of the 31-bit clock, and a reset in the middle
        times = range((1 << 31) - 4000 + 200 * i, (1 << 31) - 3900 + 200 * i, 3) if i < 10 else range(100 * i, 100 * i + 80, 2)
        packets.append(packet3([polarity(t % (1 << 31), t % 128, i, t % 2) for t in times], overflow=i // 12))
        packets.append(packet3([special(times[-1] % (1 << 31), 2)], kind=0, overflow=i // 12))
        if i == 9:
            packets.append(packet3([special(0, 1)], kind=0))
    (tmp_path / "recording").write_bytes(AEDAT3_HEADER + b"".join(packets))
    check_spans_from_every_bookmark(tmp_path / "recording", at_least=5)
