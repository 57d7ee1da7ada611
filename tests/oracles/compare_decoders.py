"""Real recordings, and files of our own writers, event by event against independent decoders. Run by `make oracles` only.

The decoders live in the environment of `make bench-peers`. Where one disagrees, it must do so in the way that README.md beside
this file explains: a note that has become wrong fails as well.
"""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bench.recording import KINDS, write_recording
from app.bench.stream import Stream, make_stream
from pipeline.schema.events import Events, empty_events
from pipeline.sources.registry import open_recording

_HERE = Path(__file__).parent
_PYTHON = _HERE.parents[1] / ".venv-peers" / "bin" / "python"
pytestmark = pytest.mark.skipif(not _PYTHON.exists(), reason="no environment of other decoders; make it with: make bench-peers")

LIBRARIES: dict[str, tuple[str, ...]] = {
    "aedat2": ("evlib",),
    "aedat2-davis": ("tonic",),
    "aedat4": ("faery", "dv_processing", "aedat", "evlib", "tonic"),
    "evt2": ("faery", "expelliarmus", "evlib"),
    "evt21": ("evlib",),
    "evt3": ("faery", "expelliarmus", "evlib"),
    "evt4": ("evlib",),
    "dat": ("faery", "expelliarmus", "evlib"),
    "hdf5": ("evlib",),
    "es": ("faery", "event_stream"),
    "bin40": ("tonic",),
    "text": ("evlib",),
}
RECORDINGS: dict[str, str] = {
    "aedat2/dvs128_biolab_video_celular.aedat": "aedat2",
    "aedat2/davis240c_IMU_rotDisk.aedat": "aedat2-davis",
    "aedat4/davis346_lz4_frames_imu_triggers.aedat4": "aedat4",
    "aedat4/dvxplorer_lz4_320x240.aedat4": "aedat4",
    "aedat4/edge_frames_only_no_events.aedat4": "aedat4",
    "aedat4/edge_two_empty_event_streams.aedat4": "aedat4",
    "transcoded/dvxplorer_none_320x240.aedat4": "aedat4",
    "transcoded/dvxplorer_zstd_320x240.aedat4": "aedat4",
    "transcoded/dvxplorer_zstd_high_320x240.aedat4": "aedat4",
    "bin/nmnist_sample.bin": "bin40",
    "dat/ncars_v2_tonic.dat": "dat",
    "openeb/evt3_cut_0_6ms_cd.dat": "dat",
    "openeb/evt3_triggers_a_trigger.dat": "dat",
    "transcoded/gen3_dat2_first100k.dat": "dat",
    "es/dvs_320x240.es": "es",
    "evt2/gen3_evt2_expelliarmus.raw": "evt2",
    "openeb/evt2_cut_10_20ms.raw": "evt2",
    "openeb/evt2_writer_triggers.raw": "evt2",
    "openeb/evt21_legacy_45_50ms.raw": "evt21",
    "openeb/evt21_little_45_50ms.raw": "evt21",
    "evt3/gen41_evt3_expelliarmus.raw": "evt3",
    "openeb/evt3_cut_0_6ms.raw": "evt3",
    "openeb/evt3_full_groups_45_50ms.raw": "evt3",
    "openeb/evt3_triggers_a.raw": "evt3",
    "transcoded/gen3_evt3_first200k.raw": "evt3",
    "openeb/evt4_45_50ms.raw": "evt4",
    "hdf5/raw_events_17.hdf5": "hdf5",
    "openeb/evt2_cut_10_20ms_ecf.hdf5": "hdf5",
    "openeb/evt3_triggers_a_0_300ms_ecf.hdf5": "hdf5",
    "openeb/evt3_whole_ecf.hdf5": "hdf5",
    "text/davis240c_slider_depth_50k.txt": "text",
}
REFUSES = "refuses"
# What a library makes of a file instead of our events: it refuses, finds so many, or has other values in these columns.
# A key may end in *: all files whose names begin so. Reasons stand in README.md.
DISAGREE: dict[tuple[str, str], str | int] = {
    ("aedat2/*", "evlib"): REFUSES,
    ("aedat2/*", "tonic"): REFUSES,
    ("aedat4/edge_frames*", "faery"): REFUSES,
    ("aedat4/edge_frames*", "dv_processing"): REFUSES,
    ("aedat4/edge_*", "tonic"): REFUSES,
    ("transcoded/dvxplorer_zstd*", "evlib"): REFUSES,
    ("dat/ncars*", "faery"): REFUSES,
    ("dat/*", "evlib"): REFUSES,
    ("openeb/evt3_cut_0_6ms_cd.dat", "evlib"): REFUSES,
    ("transcoded/gen3_dat2*", "evlib"): REFUSES,
    ("openeb/evt3_triggers_a_trigger.dat", "faery"): REFUSES,
    ("openeb/evt3_triggers_a_trigger.dat", "evlib"): REFUSES,
    ("openeb/evt3_triggers_a_trigger.dat", "expelliarmus"): 2076,
    ("es/*", "event_stream"): "y",
    ("openeb/evt2_cut*.raw", "faery"): 110_993,
    ("openeb/evt2_cut*.raw", "expelliarmus"): 110_993,
    ("openeb/evt21_legacy*", "evlib"): 372_515,
    ("evt3/gen41*", "faery"): "t",
    ("openeb/evt3_cut_0_6ms.raw", "faery"): "t",
    ("evt3/gen41*", "expelliarmus"): "t",
    ("openeb/evt3_cut_0_6ms.raw", "expelliarmus"): "t",
    ("openeb/evt3_full*", "expelliarmus"): "t",
    ("transcoded/gen3_evt3*", "expelliarmus"): "t",
    ("openeb/evt3_triggers_a.raw", "expelliarmus"): REFUSES,
    ("openeb/evt4*", "evlib"): REFUSES,
    ("hdf5/*", "evlib"): REFUSES,
    ("openeb/*.hdf5", "evlib"): REFUSES,
    ("text/*", "evlib"): "t",
    # files of our own writers
    ("own/aedat2", "evlib"): REFUSES,
    ("own/aedat4-zstd", "evlib"): REFUSES,
    ("own/dat", "evlib"): REFUSES,
    ("own/evt3-*", "expelliarmus"): "t",
    ("own/hdf5-ecf", "evlib"): REFUSES,
    ("own/es", "event_stream"): "y",
}


def known(name: str, library: str) -> str | int | None:
    """How a library is known to disagree about a file; None where it must agree."""
    for (pattern, who), how in DISAGREE.items():
        if who == library and Path(name).match(pattern):
            return how
    return None


def ours(path: Path) -> Events:
    with open_recording(path) as source:
        return np.concatenate([empty_events(), *source.packets()])


def theirs(library: str, encoding: str, path: Path, folder: Path) -> Any:
    """Events as the library gives them, or None where it gives none."""
    target = folder / "theirs.npy"
    command = [str(_PYTHON), str(_HERE / "decoder.py"), library, encoding, str(path), str(target)]
    subprocess.run(command, capture_output=True, timeout=300, check=False)
    return np.load(target, allow_pickle=False) if target.exists() else None


def check(name: str, library: str, events: Events, others: Any) -> None:
    how = known(name, library)
    if how == REFUSES:
        assert others is None, f"{library} reads {name} now; take the note away"
        return
    assert others is not None, f"{library} refuses {name}"
    if isinstance(how, int):
        assert others.size == how != events.size
        return
    assert others.size == events.size
    different = "".join(column for column in "txyp" if not np.array_equal(others[column], events[column]))
    assert different == (how or "")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "library"), [(name, library) for name, encoding in RECORDINGS.items() for library in LIBRARIES[encoding]]
)
def test_real_recordings_are_decoded_alike(shared_data: Path, tmp_path: Path, name: str, library: str) -> None:
    path = shared_data / "recordings" / name
    check(name, library, ours(path), theirs(library, RECORDINGS[name], path, tmp_path))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "library"),
    [
        (name, library)
        for name, kind in KINDS.items()
        # tonic reads no sensor of 640x480 pixels from AEDAT 2.0; AEDAT 3.1 is read by nobody
        for library in LIBRARIES.get(kind.format, ())
        if library != "tonic" or kind.format == "aedat4"
    ],
)
def test_what_our_writers_write_is_read_by_others_as_it_was_meant(tmp_path: Path, name: str, library: str) -> None:
    n_events = 100_000
    path = write_recording(name, tmp_path, n_events)
    kind = KINDS[name]
    meant = np.concatenate(list(make_stream(Stream(n_events, rate_hz=kind.rate_hz, row_px=kind.row_px))))
    assert np.array_equal(ours(path), meant)
    check(f"own/{name}", library, meant, theirs(library, kind.format, path, tmp_path))
