"""AEDAT 4.0 files made with the FlatBuffers library, and their damage."""

import struct
from itertools import pairwise
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard
from recording_bytes import aedat4, events4, header4, info_node, packed4, packet4, triggers4

from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sources.base import ReadReport
from pipeline.sources.registry import open_recording

FIRST = [(1_605_537_493_718_345, 3, 4, 1), (1_605_537_493_718_400, 31, 23, 0)]
SECOND = [(1_605_537_493_718_500, 0, 0, 1)]


def read(path: Path, data: bytes, *, stream: int | None = None) -> tuple[list[tuple[int, ...]], ReadReport]:
    """Events as (t, x, y, p)."""
    path = path / "recording"
    path.write_bytes(data)
    with open_recording(path, stream=stream) as source:
        return [(t, x, y, p) for packet in source.packets() for x, y, p, t in packet.tolist()], source.report()


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_every_compression_is_read(tmp_path: Path, compression: int) -> None:
    packets = [packet4(events4(rows), compression=compression) for rows in (FIRST, SECOND)]
    assert read(tmp_path, aedat4(packets, compression=compression)) == ([*FIRST, *SECOND], ReadReport())


@pytest.mark.parametrize("position", [-1, -2, -77])
def test_file_without_a_table_is_read_to_its_end(tmp_path: Path, position: int) -> None:
    events, report = read(tmp_path, header4(0, position, info_node({0: "EVTS"})) + packet4(events4(FIRST)))
    assert events == FIRST
    assert not report.is_truncated
    assert report.warnings == ("no data table: the recording was not closed; all packets were read",)


def test_table_position_past_the_end_means_that_the_file_was_cut(tmp_path: Path) -> None:
    events, report = read(tmp_path, header4(0, 1 << 40, info_node({0: "EVTS"})) + packet4(events4(FIRST)))
    assert events == FIRST
    assert report.is_truncated


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_every_cut_after_the_header_keeps_all_whole_packets(tmp_path: Path, compression: int) -> None:
    packets = [packet4(events4(rows), compression=compression) for rows in (FIRST, SECOND)]
    data = aedat4(packets, compression=compression)
    start = data.index(packets[0])
    ends = (start + len(packets[0]), start + len(packets[0]) + len(packets[1]))
    for cut in range(start, len(data)):
        events, report = read(tmp_path, data[:cut])
        assert events == [*(FIRST if cut >= ends[0] else []), *(SECOND if cut >= ends[1] else [])]
        assert report.is_truncated
        last_whole = max(at for at in (start, *ends) if at <= cut)
        assert report.n_bytes_skipped == cut - last_whole


@pytest.mark.parametrize("cut", [14, 16, 18, 40, 100])
def test_cut_header_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InputError):
        read(tmp_path, aedat4([packet4(events4(FIRST))])[:cut])


def test_lowest_of_several_event_streams_is_read_and_others_can_be_chosen(tmp_path: Path) -> None:
    xml = info_node({7: "EVTS", 2: "EVTS", 1: "FRME"})
    data = aedat4([packet4(events4(SECOND), stream=7), packet4(events4(FIRST), stream=2)], xml=xml)
    events, report = read(tmp_path, data)
    assert events == FIRST
    assert report.warnings == ("2 event streams (2, 7); this is 2, choose with --stream",)
    assert read(tmp_path, data, stream=7)[0] == SECOND
    with pytest.raises(UsageError, match="2, 7"):
        read(tmp_path, data, stream=1)


def test_packets_with_unknown_identifiers_are_stepped_over_quietly(tmp_path: Path) -> None:
    unknown = events4(SECOND).replace(b"EVTS", b"XYZW")
    assert read(tmp_path, aedat4([packet4(unknown), packet4(events4(FIRST))])) == (FIRST, ReadReport())


def test_file_without_an_event_stream_has_no_events_and_is_whole(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat4([packet4(b"\1" * 40)], xml=info_node({0: "FRME"})))
    assert events == []
    assert report == ReadReport(warnings=("no event stream; the file holds FRME",))


def test_empty_packet_and_empty_stream_are_no_damage(tmp_path: Path) -> None:
    assert read(tmp_path, aedat4([packet4(events4([])), packet4(events4(FIRST))])) == (FIRST, ReadReport())
    assert read(tmp_path, aedat4([])) == ([], ReadReport(warnings=("the event stream is empty",)))


def test_header_alone_is_header_only(tmp_path: Path) -> None:
    assert read(tmp_path, aedat4([], table=False))[1].warnings == ("header only: no events",)


def test_info_node_that_is_no_xml_leaves_the_choice_to_the_packets(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(aedat4([packet4(events4(FIRST), stream=5)], xml="<dv>&bomb;"))
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(32, 24)
        assert sum(packet.size for packet in source.packets()) == 2


def test_info_node_with_entities_is_not_parsed(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE dv [<!ENTITY a "aaaaaaaaaa">]>' + info_node({0: "FRME"}).replace("FRME", "&a;")
    assert read(tmp_path, aedat4([packet4(events4(FIRST))], xml=bomb))[0] == FIRST


def test_negative_coordinates_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat4([packet4(events4([(1, -1, 0, 1), (2, 0, 24, 1), (3, 1, 2, 0)]))]))
    assert events == [(3, 1, 2, 0)]
    assert report.warnings == ("2 events outside the sensor of 32x24 pixels dropped",)


def test_impossible_times_are_dropped_and_counted(tmp_path: Path) -> None:
    events, report = read(tmp_path, aedat4([packet4(events4([(1, 1, 1, 1), ((1 << 63) - 1, 2, 2, 1), (3, 3, 3, 1)]))]))
    assert [row[0] for row in events] == [1, 3]
    assert report.warnings == ("1 events with impossible times dropped",)


def test_damaged_payload_costs_its_packet_only(tmp_path: Path) -> None:
    damaged = bytearray(packet4(events4(FIRST), compression=1))
    damaged[12] ^= 0xFF
    events, report = read(tmp_path, aedat4([bytes(damaged), packet4(events4(SECOND), compression=1)], compression=1))
    assert events == SECOND
    assert report.n_bytes_skipped == len(damaged)
    assert not report.is_truncated


def test_vector_longer_than_its_packet_is_damage(tmp_path: Path) -> None:
    buffer = bytearray(events4(FIRST))
    at = buffer.index(struct.pack("<Iq", 2, FIRST[0][0]))
    buffer[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert read(tmp_path, aedat4([packet4(bytes(buffer))]))[1].n_bytes_skipped == len(buffer) + 8


@pytest.mark.parametrize("compression", [1, 3])
def test_packet_that_would_unpack_to_gigabytes_is_left_out(
    tmp_path: Path, compression: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = b"\0" * (1 << 24)
    payload = lz4.frame.compress(bomb) if compression == 1 else zstandard.compress(bomb)
    monkeypatch.setattr("pipeline.sources.compression.MAX_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr("pipeline.sources.compression.unpack.__defaults__", (1 << 20,))
    packets = [struct.pack("<ii", 0, len(payload)) + payload, packet4(events4(FIRST), compression=compression)]
    events, report = read(tmp_path, aedat4(packets, compression=compression))
    assert events == FIRST
    assert report.n_bytes_skipped == len(payload) + 8


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compression number 9"):
        read(tmp_path, header4(9, -1, info_node({0: "EVTS"})))


def triggers_of(path: Path, data: bytes) -> list[tuple[int, ...]]:
    path = path / "recording"
    path.write_bytes(data)
    with open_recording(path) as source:
        assert [event[3] for packet in source.packets() for event in packet.tolist()] == [row[0] for row in FIRST]
        return [tuple(trigger) for trigger in source.take_triggers().tolist()]


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_triggers_of_every_kind_are_kept_but_resets_are_none(tmp_path: Path, compression: int) -> None:
    rows = [(100 + kind, kind) for kind in range(12)]
    packets = [packet4(events4(FIRST), compression=compression), packet4(triggers4(rows), stream=1, compression=compression)]
    # kind 0 is a reset, 10 and 11 are not known; (t, id, p) of the others by the table of docs/formats.md
    assert triggers_of(tmp_path, aedat4(packets, compression=compression, xml=info_node({0: "EVTS", 1: "TRIG"}))) == [
        (101, 0, 1), (102, 0, 0), (103, 1, 1), (104, 2, 1), (105, 2, 0), (106, 3, 1), (107, 3, 0), (108, 4, 1), (109, 4, 0),
    ]  # fmt: skip


def test_triggers_are_those_of_the_camera_whose_events_are_read(tmp_path: Path) -> None:
    xml = info_node({0: "TRIG", 2: "EVTS", 5: "TRIG"})
    for stream, camera in ((0, "left"), (2, "right"), (5, "right")):
        name = f'<node name="{stream}">'
        at = xml.index('<node name="info">', xml.index(name)) + len('<node name="info">')
        xml = xml[:at] + f'<attr key="source" type="string">{camera}</attr>' + xml[at:]
    packets = [
        packet4(triggers4([(1, 1)]), stream=0), packet4(triggers4([(2, 2)]), stream=5), packet4(events4(FIRST), stream=2),
    ]  # fmt: skip
    assert triggers_of(tmp_path, aedat4(packets, xml=xml)) == [(2, 0, 0)]


def test_triggers_are_kept_where_no_stream_is_named(tmp_path: Path) -> None:
    for compression in (0, 1, 3):
        packets = [packet4(b, compression=compression, stream=i) for i, b in enumerate((triggers4([(7, 1)]), events4(FIRST)))]
        assert triggers_of(tmp_path, aedat4(packets, compression=compression, xml="")) == [(7, 0, 1)]


def test_damaged_triggers_cost_their_packet_only(tmp_path: Path) -> None:
    buffer = bytearray(triggers4([(1, 1), (2, 2)]))
    buffer[4:8] = b"\xff\xff\xff\x7f"
    data = aedat4([packet4(bytes(buffer), stream=1), packet4(events4(FIRST))], xml=info_node({0: "EVTS", 1: "TRIG"}))
    events, report = read(tmp_path, data)
    assert events == FIRST
    assert report.n_bytes_skipped == len(buffer) + 8


def test_frames_of_lz4_with_checksums_or_sizes_are_read_too(tmp_path: Path) -> None:
    for options in ({"store_size": True}, {"content_checksum": True, "block_checksum": True, "block_linked": False}):
        payload = lz4.frame.compress(events4(FIRST), **options)
        data = aedat4([struct.pack("<ii", 0, len(payload)) + payload], compression=1)
        assert read(tmp_path, data) == (FIRST, ReadReport())


@pytest.mark.parametrize("compression", [0, 1, 3])
@pytest.mark.parametrize(("window", "batch"), [(12, 1), (100, 7), (1 << 18, 1 << 15)])
def test_packets_of_any_size_are_read_whatever_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int, window: int, batch: int
) -> None:
    monkeypatch.setattr("pipeline.sources.aedat4._WINDOW_BYTES", window)
    monkeypatch.setattr("pipeline.sources.aedat4._BATCH_EVENTS", batch)
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.integers(0, 5, 800))
    rows = list(zip(t.tolist(), (t % 32).tolist(), (t % 24).tolist(), (t % 2).tolist(), strict=True))
    cuts = [0, 1, 3, 3, 500, 503, 800]
    parts = [rows[a:b] for a, b in pairwise(cuts)]
    packets = [packet4(events4(part), compression=compression) for part in parts]
    packets.insert(2, packet4(b"\1" * 300, stream=9, compression=compression))
    assert read(tmp_path, aedat4(packets, compression=compression)) == (rows, ReadReport())


def test_a_packet_that_claims_more_than_the_file_holds_is_the_last(tmp_path: Path) -> None:
    data = aedat4([packet4(events4(FIRST))], table=False) + struct.pack("<ii", 0, 0x7FFFFFFF) + b"\1" * 50
    events, report = read(tmp_path, data)
    assert events == FIRST
    assert report.n_bytes_skipped == 58


def test_frame_without_content_is_stepped_over(tmp_path: Path) -> None:
    payload = packed4(b"", 1)
    data = aedat4([struct.pack("<ii", 0, len(payload)) + payload, packet4(events4(FIRST), compression=1)], compression=1)
    assert read(tmp_path, data) == (FIRST, ReadReport())


def test_real_triggers_are_those_that_dv_processing_gives(shared_data: Path) -> None:
    # 17 signals of the frame sensor: it ends a frame, then begins one, begins and ends its exposure, and ends it, four times
    with open_recording(shared_data / "recordings/aedat4/davis346_lz4_frames_imu_triggers.aedat4") as source:
        for _ in source.packets():
            pass
        triggers = source.take_triggers()
    assert triggers["id"].tolist() == [3, *[3, 4, 4, 3] * 4]
    assert triggers["p"].tolist() == [0, *[1, 1, 0, 0] * 4]
    assert triggers["t"][[0, 1, -1]].tolist() == [1589163147374647, 1589163147395806, 1589163147534647]


def test_sensor_size_is_measured_where_no_stream_tells_it_even_from_nothing_valid(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    xml = info_node({0: "EVTS"}).replace("sizeX", "width")
    path.write_bytes(aedat4([packet4(events4([(1, 7, 3, 1), (2, 4, 9, 0)]))], xml=xml))
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(8, 10)
    path.write_bytes(aedat4([packet4(events4([(1, -7, 3, 1), (2, 4, -9, 0)]))], xml=xml))
    with open_recording(path) as source:
        assert source.info.sensor_size == SensorSize(0, 0)
        assert sum(packet.size for packet in source.packets()) == 0
        assert "2 events outside" in source.report().warnings[-1]


@pytest.mark.parametrize("every", [1, 90, 600, 9999])
def test_events_that_need_care_change_nothing_for_those_around_them(tmp_path: Path, every: int) -> None:
    # whole chunks are converted at once unless one event in them is outside or late, or its ON is neither 0 nor 1
    rng = np.random.default_rng(every)
    n = 3000
    t = np.cumsum(rng.integers(0, 9, n)) + 1_000
    x, y, p = rng.integers(0, 32, n), rng.integers(0, 24, n), rng.integers(0, 2, n)
    kind = np.where(np.arange(n) % every == every - 1, rng.integers(0, 4, n), -1)
    x[kind == 0], y[kind == 1] = 32, 24
    t[kind == 2] -= 40
    rows = list(zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True))
    buffer = bytearray(events4(rows))
    start = len(buffer) - 16 * n
    for i in np.flatnonzero(kind == 3):
        buffer[start + 16 * i + 12] = 7
    events, report = read(tmp_path, aedat4([packet4(bytes(buffer))]))
    kept = (kind != 0) & (kind != 1)
    p[kind == 3] = 1
    expected = np.column_stack([np.maximum.accumulate(t[kept]), x[kept], y[kept], p[kept]])
    assert np.array_equal(np.array(events), expected)
    assert report.is_monotonic == bool((np.maximum.accumulate(t[kept]) == t[kept]).all())
