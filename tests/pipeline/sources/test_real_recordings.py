"""Recordings of real cameras against the numbers of their manifest, found by other programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.sources.registry import open_recording


def _aedat_entries(shared_data: Path) -> list[dict[str, Any]]:
    manifest = json.loads((shared_data / "manifest.json").read_text())
    return [entry for entry in manifest["files"] if ".aedat" in entry["file"] and entry["file"].startswith("recordings/")]


def test_manifest_numbers_are_met_event_for_event(shared_data: Path) -> None:
    entries = _aedat_entries(shared_data)
    assert len(entries) >= 9
    for entry in entries:
        with open_recording(shared_data / entry["file"]) as source:
            packets = [packet for packet in source.packets() if packet.size]
            events = np.concatenate(packets) if packets else None
            width, height = source.info.sensor_size
            assert [width, height] == entry["sensor"], entry["file"]
            assert source.info.format == entry["format"]
            assert not source.report().is_truncated
            assert (events.size if events is not None else 0) == entry["n_events"], entry["file"]
        if events is None:
            continue
        sum_x, sum_y = int(events["x"].sum(dtype=np.int64)), int(events["y"].sum(dtype=np.int64))
        if "DVS128" in entry["encoding"]:  # its numbers have y counted upwards
            sum_y = events.size * (height - 1) - sum_y
        if "DAVIS240C" in entry["encoding"]:  # and here x from the right as well
            sum_x, sum_y = events.size * (width - 1) - sum_x, events.size * (height - 1) - sum_y
        assert (sum_x, sum_y) == (entry["sum_x"], entry["sum_y"]), entry["file"]
        assert (events["t"][0], events["t"][-1]) == (entry["t_first"], entry["t_last"])
        assert float(events["p"].mean()) == pytest.approx(entry["on_share"], abs=1e-5)


def test_poker_symbols_equal_their_repacked_twins(shared_data: Path) -> None:
    clips = np.load(shared_data / "labelled/poker_dvs/poker_dvs.npz", allow_pickle=False)
    index = next(i for i, name in enumerate(clips["names"]) if "di_17" in str(name))
    part = slice(clips["offsets"][index], clips["offsets"][index + 1])
    with open_recording(shared_data / "labelled/poker_dvs/aedat2/diamond/di_17.aedat") as source:
        events = np.concatenate(list(source.packets()))
    # the twin keeps raw coordinates
    assert np.array_equal(events["t"], clips["t"][part])
    assert np.array_equal(127 - events["x"], clips["x"][part])
    assert np.array_equal(127 - events["y"], clips["y"][part])
    assert np.array_equal(events["p"], clips["p"][part])
