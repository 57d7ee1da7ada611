"""The command `bench`: what it prints, and what it refuses."""

import json
import os
from pathlib import Path

import pytest

from app.bench.recording import write_recording
from app.bench.timing import one_core, summarise, time_runs
from app.cli import app
from pipeline.schema.errors import SaccadeError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output, and what is said on stderr or, of errors of ours, would be."""
    try:
        code, said = app(["bench", *words], result_action="return_value"), ""
    except SaccadeError as error:
        code, said = error.exit_code, str(error)
    printed = capsys.readouterr()
    return code, printed.out, printed.err + said


def test_decode_gives_a_row_for_each_kind_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ("--kinds", "es", "--kinds", "aedat2")
    code, out, _ = run(capsys, "decode", *kinds, "--events", "20000", "--repeats", "2", "--json")
    result = json.loads(out)
    assert code == 0
    assert [row["name"] for row in result["rows"]] == ["es", "aedat2"]
    assert all(row["events"] == 20_000 and row["mev_s"] > 0 and row["share_of_limit"] > 0 for row in result["rows"])
    assert {"processor", "cores", "load", "date"} <= result["machine"].keys()


def test_decode_measures_files_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_recording("es", tmp_path, 5000)
    code, out, _ = run(capsys, "decode", str(path), "--repeats", "1", "--json")
    assert code == 0
    assert [(row["name"], row["events"], row["bytes"]) for row in json.loads(out)["rows"]] == [
        ("es.es", 5000, path.stat().st_size)
    ]


def test_bin_counts_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "bin", "--events", "50000", "--repeats", "1")
    assert code == 0
    assert "640x480, 10 ms" in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("decode", "--kinds", "aedat9"), "'aedat9'"),
        (("bin", "--kinds", "es"), "makes its own events"),
        (("bin", "--events", "0"), "0 events"),
    ],
)
def test_what_cannot_be_meant_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], found: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert found in err


def test_recording_without_events_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.es").write_bytes(b"Event Stream\x02\x00\x00\x01\x20\x00\x18\x00")
    code, _, err = run(capsys, "decode", str(tmp_path / "a.es"))
    assert code == 3
    assert "holds no events" in err


def test_first_run_is_not_counted() -> None:
    calls: list[int] = []
    assert len(time_runs(lambda: calls.append(1), 3)) == 3
    assert len(calls) == 4


def test_rate_is_that_of_the_median_run() -> None:
    assert summarise([4.0, 1.0, 2.0], 6_000_000) == {"events": 6_000_000, "median_s": 2.0, "spread_s": 3.0, "mev_s": 3.0}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_one_core_is_kept_and_the_others_given_back() -> None:
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
