"""Plain npz recordings."""

from pathlib import Path

import numpy as np
import pytest
from builders import SENSOR, random_events
from seeking import assert_spans_are_slices

from pipeline.schema.errors import InputError, UnknownFormatError
from pipeline.schema.events import SensorSize
from pipeline.sinks.registry import open_sink
from pipeline.sources import npz as npz_module
from pipeline.sources.index import Index
from pipeline.sources.registry import open_recording

COLUMNS = {"t": [10, 20, 30], "x": [1, 2, 3], "y": [4, 5, 6], "p": [1, 0, 1]}


def test_columns_become_events_and_missing_size_is_measured(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **COLUMNS)
    with open_recording(tmp_path / "a.npz") as source:
        assert source.info.sensor_size == SensorSize(4, 7)
        assert source.info.encoding == "stored"
        assert [packet.tolist() for packet in source.packets()] == [[(1, 4, 1, 10), (2, 5, 0, 20), (3, 6, 1, 30)]]


def test_negative_polarity_is_off_and_named_size_drops_what_lies_outside(tmp_path: Path) -> None:
    columns = {**COLUMNS, "p": np.array([-1, 1, 1], dtype=np.int8)}
    np.savez_compressed(tmp_path / "a.npz", **columns, width=3, height=7)
    with open_recording(tmp_path / "a.npz") as source:
        assert source.info.encoding == "deflate"
        assert [packet.tolist() for packet in source.packets()] == [[(1, 4, 0, 10), (2, 5, 1, 20)]]
        assert source.report().warnings == ("1 events outside the sensor of 3x7 pixels dropped",)


def test_times_that_run_backwards_are_held(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{**COLUMNS, "t": [10, 5, 30]})
    with open_recording(tmp_path / "a.npz") as source:
        assert next(source.packets())["t"].tolist() == [10, 10, 30]
        assert not source.report().is_monotonic


def test_labelled_clips_and_spike_frames_are_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "clips.npz", **COLUMNS, labels=[0], offsets=[0, 3])
    np.savez(tmp_path / "frames.npz", counts=np.zeros((1, 2, 3, 4), dtype=np.uint8))
    np.savez(tmp_path / "other.npz", weights=[1])
    for name, sentence in (("clips", "labelled clips"), ("frames", "spike frames"), ("other", "without t, x, y, p")):
        with pytest.raises(UnknownFormatError, match=sentence):
            open_recording(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    "changed",
    [
        {"x": [1, 2]},
        {"t": [0.1, 0.2, 0.3]},
        {"x": np.array([1, 2, None], dtype=object)},
        {"t": [[1, 2, 3]]},
        {"width": -1, "height": 5},
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    np.savez(tmp_path / "a.npz", **{**COLUMNS, **changed})  # type: ignore[arg-type] # bad on purpose
    with pytest.raises(InputError):
        open_recording(tmp_path / "a.npz")


def test_cut_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **COLUMNS)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(InputError, match="cut off or damaged"):
        open_recording(tmp_path / "b.npz")


@pytest.mark.parametrize("kind", ["stored", "deflate", "journal"])
def test_a_span_equals_the_slice_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(Index, "STEP", 1)
    monkeypatch.setattr(npz_module, "_BLOCK_EVENTS", 16)
    events = random_events()
    columns = {name: events[name] for name in "txyp"}
    with open_sink(tmp_path / "journal", SENSOR, format="npz") as sink:
        sink.write(events)
        (tmp_path / "a.npz").write_bytes((tmp_path / "journal").read_bytes())
    if kind != "journal":
        save = np.savez if kind == "stored" else np.savez_compressed
        save(tmp_path / "a.npz", **columns, width=32, height=24)  # type: ignore[arg-type] # arrays by name
    with open_recording(tmp_path / "a.npz") as source:
        assert source.info.encoding == kind
    assert assert_spans_are_slices(tmp_path / "a.npz") > 20


def test_a_stored_column_whose_sum_is_wrong_is_told(tmp_path: Path) -> None:
    x = np.arange(3000) % 32
    np.savez(tmp_path / "a.npz", t=np.arange(3000), x=x, y=x % 24, p=x % 2, width=32, height=24)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(x.tobytes()) + 20_000] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with open_recording(tmp_path / "a.npz") as source:
        assert list(source.packets()) == []
        assert any("the sum of x.npy is wrong" in warning for warning in source.report().warnings)
