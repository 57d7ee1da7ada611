"""Spans of AEDAT 4.0 files: by the data table, by bookmarks of an earlier pass, and with tables that lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from recording_bytes import aedat4, events4, header4, info_node, packed4, packet4, rows4, triggers4
from seeking import check_spans_from_every_bookmark, read_span

from pipeline.sinks.registry import open_sink
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

Row = tuple[int, int, int, int, int, int]
TIMES = [range(1000 * i + 10, 1000 * i + 900, 7) for i in range(12)]


def packets_of(times: Sequence[Sequence[int]], compression: int) -> list[bytes]:
    return [packet4(events4([(t, t % 32, t % 24, t % 2) for t in part]), compression=compression) for part in times]


def with_table(packets: list[bytes], rows: list[Row], compression: int) -> bytes:
    xml = info_node({0: "EVTS"})
    body = b"".join(packets)
    position = len(header4(compression, 1, xml)) + len(body)
    return header4(compression, position, xml) + body + packed4(rows4(rows), compression)


def true_rows(packets: list[bytes], times: Sequence[Sequence[int]], compression: int) -> list[Row]:
    offset = len(header4(compression, 1, info_node({0: "EVTS"})))
    rows: list[Row] = []
    for packet, part in zip(packets, times, strict=True):
        rows.append((offset + 8, 0, len(packet) - 8, len(part), part[0], part[-1]))
        offset += len(packet)
    return rows


def begins_at(path: Path, start_us: int, end_us: int | None = None) -> tuple[int | None, list[int]]:
    """The time that reading began behind, None for the front, and the times read."""
    with open_recording(path) as source:
        times = read_span(source, start_us, end_us)["t"].tolist()
        return (source._begin.t_us if source._begin else None), times


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_a_table_leads_to_the_first_packet_of_a_span_without_an_earlier_pass(tmp_path: Path, compression: int) -> None:
    packets = packets_of(TIMES, compression)
    path = tmp_path / "recording"
    path.write_bytes(with_table(packets, true_rows(packets, TIMES, compression), compression))
    everything = [t for part in TIMES for t in part]
    for start in (-5, 10, 11, 899, 900, 1000, 5010, 5011, 5500, 11_892, 11_893, 99_999):
        began, times = begins_at(path, start, start + 2500)
        assert times == [t for t in everything if start <= t < start + 2500]
        earlier = [part[-1] for part in TIMES if part[-1] < start]
        assert began == (min(max(earlier), TIMES[-2][-1]) if earlier else None)


def test_files_of_our_own_are_read_from_any_packet(tmp_path: Path) -> None:
    events = random_events(40_000, duration_us=3_000_000)
    with open_sink(tmp_path / "a.aedat4", SENSOR) as sink:
        sink.write(events)
    with open_recording(tmp_path / "a.aedat4") as source:
        for start in range(0, 3_000_000, 333_333):
            expected = events[(events["t"] >= start) & (events["t"] < start + 100_000)]
            assert np.array_equal(read_span(source, start, start + 100_000), expected)
            assert (source._begin is not None) == (start > 50_000)


def liars(rows: list[Row]) -> dict[str, list[Row]]:
    turned = [(o, s, n, k, a + (1 << 32) * (i > 5), b + (1 << 32) * (i > 5)) for i, (o, s, n, k, a, b) in enumerate(rows)]
    return {
        "times that fall": [*rows[:6], *turned[6:8], *rows[8:]],
        "times a turn too late": turned,
        "another number of events": [(o, s, n, k + 1, a, b) for o, s, n, k, a, b in rows],
        "places off by a byte": [(o + 1, s, n, k, a, b) for o, s, n, k, a, b in rows],
        "places beyond the file": [(o + (1 << 40), s, n, k, a, b) for o, s, n, k, a, b in rows],
        "places before the file": [(o - (1 << 40), s, n, k, a, b) for o, s, n, k, a, b in rows],
        "another stream": [(o, 5, n, k, a, b) for o, s, n, k, a, b in rows],
        "no rows": [],
    }


@pytest.mark.parametrize("lie", liars([]))
def test_packets_win_over_a_table_that_lies(tmp_path: Path, lie: str) -> None:
    packets = packets_of(TIMES, 1)
    rows = liars(true_rows(packets, TIMES, 1))[lie]
    path = tmp_path / "recording"
    path.write_bytes(with_table(packets, rows, 1))
    began, times = begins_at(path, 9000, 9500)
    assert began is None
    assert times == [t for t in TIMES[9] if t < 9500]


def test_a_damaged_table_is_no_obstacle(tmp_path: Path) -> None:
    packets = packets_of(TIMES, 0)
    data = bytearray(with_table(packets, true_rows(packets, TIMES, 0), 0))
    rng = np.random.default_rng(0)
    start = data.index(b"FTAB") - 8
    for _ in range(200):
        damaged = data.copy()
        for at in rng.integers(start, len(data), 3):
            damaged[at] = int(rng.integers(0, 256))
        (tmp_path / "recording").write_bytes(damaged)
        assert begins_at(tmp_path / "recording", 9000, 9500)[1] == [t for t in TIMES[9] if t < 9500]


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_spans_from_every_bookmark_are_slices_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    monkeypatch.setattr("pipeline.sources.aedat4._BATCH_EVENTS", 40)  # bookmarks in the middle of packets
    monkeypatch.setattr("pipeline.sources.aedat4._WINDOW_BYTES", 100)
    monkeypatch.setattr(Index, "STEP", 300)
    # disorder within a packet, across packets, and a clock that was set back
    disorder = [*TIMES[:5], [6000, 5700, 6100], [6050, 6200], *(range(50 + 900 * i, 900 * i + 800, 5) for i in range(6))]
    packets = packets_of(disorder, compression)
    packets.insert(3, packet4(triggers4([(2500, 1)]), stream=1, compression=compression))
    (tmp_path / "recording").write_bytes(aedat4(packets, compression=compression, table=False))
    check_spans_from_every_bookmark(tmp_path / "recording", at_least=5)


def test_real_recordings_are_read_from_any_bookmark(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "STEP", 1 << 17)
    monkeypatch.setattr("pipeline.sources.aedat4._BATCH_EVENTS", 5000)
    path = shared_data / "recordings/aedat4/dvxplorer_lz4_320x240.aedat4"
    whole = check_spans_from_every_bookmark(path, at_least=3)
    start = int(whole["t"][60_000])
    began, times = begins_at(path, start, start + 1000)
    assert began is not None
    assert times == [int(t) for t in whole["t"] if start <= t < start + 1000]
