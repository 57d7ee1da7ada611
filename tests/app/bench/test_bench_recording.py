"""Recordings to measure with."""

from pathlib import Path

import numpy as np
import pytest

from app.bench.recording import KINDS, write_recording
from app.bench.stream import Stream, make_stream
from pipeline.sources.base import ReadReport
from pipeline.sources.registry import open_recording


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_holds_exactly_the_events_of_its_stream(tmp_path: Path, name: str) -> None:
    if KINDS[name].format == "hdf5":
        pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")
    n_events = 20_000
    with open_recording(write_recording(name, tmp_path, n_events)) as source:
        events = np.concatenate(list(source.packets()))
        assert source.report() == ReadReport()
        assert source.info.sensor_size == (640, 480)
    meant = np.concatenate(list(make_stream(Stream(n_events, rate_hz=KINDS[name].rate_hz, row_px=KINDS[name].row_px))))
    assert np.array_equal(events, meant)
