"""AEDAT 4.0 files made with the FlatBuffers library, and their damage."""

import struct
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from recording_bytes import aedat4, events4, header4, info_node, packet4

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
