"""Sets of tonic, through a false tonic of the same names, which keeps its files where the real one does."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from builders import random_events

from pipeline.schema.errors import InputError, MissingExtraError, UsageError
from pipeline.schema.events import SensorSize
from pipeline.sinks.registry import open_sink
from training.data import Binning, load_clips
from training.layouts import layout_of, open_plainly

BINNING = Binning(delta_t_us=100_000, size=(8, 8), n_time_bins=2)
XYTP = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


class _Dataset:
    sensor_size: ClassVar[tuple[int, int, int] | None] = (34, 34, 2)
    ending = ".npy"

    def __init__(self, save_to: str, train: bool | None = None) -> None:
        self.place = Path(save_to) / type(self).__name__
        if not self._check_exists():
            self.download()
        side = "" if train is None else "Train" if train else "Test"
        files = sorted(str(path) for path in (self.place / side).rglob(f"*{self.ending}"))
        self.data: list[Any] = files
        self.targets: list[Any] = [self.target(Path(path)) for path in files]

    def target(self, path: Path) -> Any:
        return int(path.parent.name)

    def _check_exists(self) -> bool:
        return False  # what a test has on disk is never complete

    def download(self) -> None:
        raise OSError("no network in tests")

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return np.load(self.data[i]), self.targets[i]


class NMNIST(_Dataset):
    classes: ClassVar[list[str]] = ["0 - zero", "1 - one"]


class NCALTECH101(_Dataset):
    sensor_size = None

    def target(self, path: Path) -> str:
        return path.parent.name


class CIFAR10DVS(_Dataset):
    ending = ".aedat4"
    classes: ClassVar[dict[str, int]] = {"cat": 1, "bird": 0}

    def target(self, path: Path) -> int:
        return self.classes[path.parent.name]


class DVSGesture(_Dataset):
    classes: ClassVar[list[str]] = ["Hand clapping"] * 11

    def __init__(self, save_to: str, train: bool) -> None:
        super().__init__(save_to, train)
        self.users = [int(Path(path).parent.parent.name[4:6]) for path in self.data]


@pytest.fixture
def tonic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package, datasets = ModuleType("tonic"), ModuleType("tonic.datasets")
    package.__version__, package.datasets = "9.9", datasets  # type: ignore[attr-defined]
    for kind in (NMNIST, NCALTECH101, CIFAR10DVS, DVSGesture):
        setattr(datasets, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "tonic", package)
    monkeypatch.setitem(sys.modules, "tonic.datasets", datasets)
    return package


def _save(path: Path, rows: list[tuple[int, int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, dtype=XYTP))


def test_clips_come_with_the_class_names_sides_and_cut_of_tonics_copy(tonic: ModuleType, tmp_path: Path) -> None:
    _save(tmp_path / "NMNIST/Train/0/00001.npy", [(0, 0, 0, 1), (33, 33, 5, 0), (34, 0, 6, 1), (1, 0, 250_000, 1)])
    _save(tmp_path / "NMNIST/Train/1/00002.npy", [(0, 0, 9, 1), (0, 0, 3, 0)])
    _save(tmp_path / "NMNIST/Test/1/00003.npy", [(0, 0, 0, 1)])
    clips = load_clips(f"tonic:NMNIST?root={tmp_path}&split=train", BINNING)
    assert clips.classes == ("0", "1")
    assert clips.labels.tolist() == [0, 1]
    assert clips.groups == ["Train/0/00001.npy", "Train/1/00002.npy"]
    # one event lies outside the sensor, and OFF comes first
    assert clips.counts[0].sum() == 3
    assert clips.counts[0][0, 1, 0, 0] == clips.counts[0][0, 0, 7, 7] == 1
    assert clips.counts[0].shape[0] == 3
    assert clips.origin.startswith("tonic 9.9 NMNIST, side train: one file a clip")
    assert len(load_clips(f"tonic:NMNIST?root={tmp_path}&split=test", BINNING)) == 1


def test_people_of_the_gesture_set_are_its_groups_and_its_classes_ours(tonic: ModuleType, tmp_path: Path) -> None:
    for user, gesture in ((1, 0), (1, 10), (24, 3)):
        _save(tmp_path / f"DVSGesture/Train/user{user:02d}_led/{gesture}/{gesture}.npy", [(0, 0, 0, 1)])
    clips = load_clips(f"tonic:DVSGesture?root={tmp_path}", BINNING)
    assert clips.groups == ["user01", "user01", "user24"]
    assert [clips.classes[label] for label in clips.labels] == ["hand_clapping", "other_gestures", "right_arm_clockwise"]
    assert "milliseconds" in clips.origin


def test_a_set_without_sensor_size_is_binned_as_large_as_each_clip_is(tonic: ModuleType, tmp_path: Path) -> None:
    _save(tmp_path / "NCALTECH101/chair/1.npy", [(0, 0, 0, 1), (15, 7, 1, 1)])
    clips = load_clips(f"tonic:NCALTECH101?root={tmp_path}", BINNING)
    assert clips.classes == ("chair",)
    assert clips.counts[0][0, 1, 7, 7] == 1
    _save(tmp_path / "NCALTECH101/chair/1.npy", [(1 << 40, 0, 0, 1)])
    with pytest.raises(InputError, match="no sensor"):
        load_clips(f"tonic:NCALTECH101?root={tmp_path}", BINNING)


def test_aedat4_of_a_set_is_read_by_our_own_reader(tonic: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "CIFAR10DVS/cat/cat_1.aedat4"
    path.parent.mkdir(parents=True)
    with open_sink(path, SensorSize(128, 128)) as sink:
        sink.write(random_events(40, sensor=SensorSize(128, 128)))
    clips = load_clips(f"tonic:CIFAR10DVS?root={tmp_path}", BINNING)
    assert (clips.classes, clips.labels.tolist(), int(clips.counts[0].sum())) == (("bird", "cat"), [1], 40)


def test_nothing_is_downloaded_unless_asked_for(tonic: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="download=1"):
        load_clips(f"tonic:NMNIST?root={tmp_path}", BINNING)
    with pytest.raises(InputError, match="no network in tests"):
        load_clips(f"tonic:NMNIST?root={tmp_path}&download=1", BINNING)


def test_a_file_that_tonic_cannot_read_is_named(tonic: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "NMNIST/Train/0/00001.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no numpy")
    with pytest.raises(InputError, match=r"Train/0/00001\.npy"):
        load_clips(f"tonic:NMNIST?root={tmp_path}", BINNING)


@pytest.mark.parametrize(
    "word", ["NMNIST?split=all", "CIFAR10DVS?split=train", "NMNIST?side=train", "SHD", "NMNIST?download=yes"]
)
def test_words_that_mean_nothing_are_refused_before_tonic_is_asked(word: str) -> None:
    with pytest.raises(UsageError, match="tonic:"):
        layout_of(f"tonic:{word}", open_plainly, None)


def test_without_tonic_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(MissingExtraError, match=r"saccade\[datasets\]"):
        layout_of("tonic:NMNIST", open_plainly, None)
