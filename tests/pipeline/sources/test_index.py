"""Bookmarks of recordings: found by time, kept in the user's cache, good only for the very file they were made of."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.schema.events import Events, SensorSize, make_events, make_triggers
from pipeline.sources.base import SourceInfo
from pipeline.sources.file import FileSource
from pipeline.sources.index import Index, cut_to_span
from pipeline.sources.ordering import DecodeState

INFO = SourceInfo("clip", "Test", "plain", SensorSize(8, 8))


class TenAByte(FileSource):
    """Twenty packets of one byte and ten events each: byte k holds the times 10 k to 10 k + 9."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, INFO, path.open("rb"))
        self.n_decoded = 0

    def _decode(self) -> Iterator[Events]:
        begin = self._begin.position if self._begin else 0
        assert self._begin is None or self._begin.state == (begin * 2,)
        for k in range(begin, 20):
            self.n_decoded += 1
            t = np.arange(10 * k, 10 * k + 10)
            self._state = self._state._replace(last_us=int(t[-1]))
            self._keep_triggers(make_triggers([t[0]], [k], [1]))
            yield make_events(t, t % 8, t % 8, t % 2)
            self._mark(k + 1, 2 * (k + 1))


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Index, "STEP", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "clip.ten"
    path.write_bytes(bytes(20))
    return path


def times(source: TenAByte, start_us: int | None = None, end_us: int | None = None) -> list[int]:
    return [int(t) for events in source.packets(start_us, end_us) for t in events["t"]]


def test_a_span_is_the_same_slice_with_and_without_bookmarks(recording: Path) -> None:
    for start, end in [(0, 200), (35, 61), (30, 31), (59, 60), (60, 61), (199, 500), (300, 400), (-5, 3)]:
        with TenAByte(recording) as fresh:
            expected = [t for t in range(200) if start <= t < end]
            assert times(fresh, start, end) == expected
            assert times(fresh, start, end) == expected


def test_the_second_seek_begins_near_its_time_even_in_another_process(recording: Path) -> None:
    with TenAByte(recording) as first:
        assert times(first, 185)[0] == 185
        assert first.n_decoded == 20
    with TenAByte(recording) as second:
        assert times(second, 185, 189) == list(range(185, 189))
        # bookmarks lie at 3, 6, ... 18 bytes; 18 is the last whose earlier events all come before 185
        assert second.n_decoded == 1


def test_what_lies_behind_the_end_is_not_read(recording: Path) -> None:
    with TenAByte(recording) as source:
        assert times(source, None, 25) == list(range(25))
        assert source.n_decoded == 3


def test_a_file_that_changed_has_no_bookmarks(recording: Path) -> None:
    with TenAByte(recording) as source:
        times(source)
    os.utime(recording, ns=(1, 1))
    with TenAByte(recording) as source:
        assert times(source, 185)[0] == 185
        assert source.n_decoded == 20


def test_a_damaged_cache_is_done_without(recording: Path, tmp_path: Path) -> None:
    with TenAByte(recording) as source:
        times(source)
    [kept] = (tmp_path / "cache" / "saccade" / "index").iterdir()
    for damage in (b"", b"\xff" * 40, kept.read_bytes()[:-3]):
        kept.write_bytes(damage)
        with TenAByte(recording) as source:
            assert times(source, 100, 103) == [100, 101, 102]


def test_a_cache_that_cannot_be_written_is_no_error(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with TenAByte(recording) as source:
        assert len(times(source)) == 200


def test_nothing_is_written_beside_the_recording(recording: Path) -> None:
    with TenAByte(recording) as source:
        times(source)
    assert [path.name for path in recording.parent.iterdir() if path.is_file()] == ["clip.ten"]


def test_an_event_at_the_very_time_of_a_bookmark_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Index, "STEP", 1)
    path = tmp_path / "clip.ten"
    path.write_bytes(b"x")
    index = Index(path, INFO)
    index.add(1, (), DecodeState(last_us=50))
    # events of time 50 may lie on both sides of the bookmark
    assert index.find(50) is None
    assert index.find(51) is not None


def test_readings_in_another_variant_have_bookmarks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Index, "STEP", 1)
    path = tmp_path / "clip.ten"
    path.write_bytes(b"x")
    index = Index(path, INFO, "stream 1")
    index.add(1, (), DecodeState(last_us=50))
    index.save()
    assert Index(path, INFO, "stream 1").find(60) is not None
    assert Index(path, INFO, "stream 2").find(60) is None


def test_triggers_are_taken_packet_by_packet_and_counted(recording: Path) -> None:
    with TenAByte(recording) as source:
        packets = source.packets()
        next(packets)
        next(packets)
        assert source.take_triggers()["id"].tolist() == [0, 1]
        assert source.take_triggers().size == 0
        for _ in packets:
            pass
        assert source.take_triggers()["t"].tolist() == list(range(20, 200, 10))
        assert source.report().n_triggers == 20


def test_triggers_that_nobody_takes_are_bounded_and_the_loss_is_counted(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sources.file._MAX_TRIGGERS", 5)
    with TenAByte(recording) as source:
        for _ in source.packets():
            pass
        assert source.take_triggers()["id"].tolist() == [15, 16, 17, 18, 19]
        assert source.report().n_triggers_lost == 15


def test_an_empty_packet_passes_a_cut() -> None:
    empty = make_events([], [], [], [])
    assert [packet.size for packet in cut_to_span(iter([empty, make_events([1], [0], [0], [0]), empty]), 0, 5)] == [0, 1, 0]
