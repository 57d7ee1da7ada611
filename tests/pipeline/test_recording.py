"""Summaries of recordings."""

from pathlib import Path

import msgspec
import pytest
from recording_bytes import aedat2, aedat4, dvs128_address

from pipeline.recording import RecordingSummary, is_partial, summarise


def test_summary_has_the_numbers_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(
        aedat2([(dvs128_address(1, 2, 1), 1000), (dvs128_address(1, 2, 0), 2000), (dvs128_address(3, 4, 1), 501_000)])
    )
    summary, report = summarise(path)
    assert summary == RecordingSummary(
        path=str(path),
        format="AEDAT 2.0",
        encoding="DVS128",
        width=128,
        height=128,
        events=3,
        on_events=2,
        first_us=1000,
        last_us=501_000,
        duration_us=500_000,
        mean_rate_hz=6.0,
        monotonic=True,
        truncated=False,
        warnings=[],
    )
    assert not is_partial(report)


def test_fields_are_those_of_the_interface_in_their_order() -> None:
    fields = [field.name for field in msgspec.structs.fields(RecordingSummary)]
    assert " ".join(fields) == (
        "path format encoding width height events on_events first_us last_us duration_us mean_rate_hz "
        "monotonic truncated warnings"
    )


def test_recording_without_events_has_no_times(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(aedat4([]))
    summary, report = summarise(path)
    assert (summary.first_us, summary.last_us, summary.duration_us, summary.mean_rate_hz) == (None, None, 0, 0.0)
    assert not is_partial(report)


def test_cut_recording_is_partial_and_progress_reaches_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(aedat2([(0, 1), (0, 2)])[:-1])
    seen: list[tuple[int, int]] = []
    summary, report = summarise(path, progress=lambda done, total: seen.append((done, total)))
    assert summary.truncated
    assert is_partial(report)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert summary.mean_rate_hz == pytest.approx(0.0)
