"""Binned clips on disk: made once, then mapped into memory a clip at a time, so that an archive may be larger than memory.

A shelf is one portion of a data set: `KEY.npy`, uint8 (all bins, 2, H, W), and `KEY.json`, which says whose bins are whose and
is written last. The key holds everything that the counts depend on; nothing in here is ever unpickled.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache as cached
from pathlib import Path
from typing import BinaryIO, NamedTuple, overload

import msgspec
import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

import pipeline
from pipeline.schema.clock import NS_PER_S, host_ns, wall_clock
from pipeline.schema.errors import SaccadeError, UsageError

Counts = npt.NDArray[np.uint8]

_LOG = logging.getLogger(__name__)
# Of the files below; another version's are made anew.
_VERSION = 1
# Smaller clips are read, not mapped: as fast, and a mapped one keeps a file descriptor for as long as anybody holds it.
_MAP_BYTES = 1 << 20
DEFAULT_MAX_BYTES = 20_000_000_000
# Shelves used so recently may belong to a training under way, which says every ten minutes that it still goes on.
_RECENT_S = 3600
_TOUCH_NS = 600 * NS_PER_S
# A label file of a shelf holds a line for each clip; beyond this it is none of ours.
_MAX_LABELS_BYTES = 1 << 28


class ClipLabel(msgspec.Struct, frozen=True):
    """What is known of one clip of a shelf."""

    label: str
    recording: str
    subject: str
    n_bins: int


class _Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    version: int
    frame: tuple[int, int]
    first_byte: int
    clips: list[ClipLabel]
    damage: list[str] = []


class Place(NamedTuple):
    """Where the bins of one clip lie: file, first byte, shape (n_bins, 2, H, W)."""

    path: Path
    first_byte: int
    shape: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Shelf:
    """One portion as it lies in the cache: its clips in order, the place of each, and what of its recordings is damaged."""

    clips: list[ClipLabel]
    places: list[Place]
    damage: list[str]


# A clip, counts uint8 (n_bins, 2, H, W), or a sentence that says what of a recording could not be read.
Piece = tuple[ClipLabel, Counts] | str


class ShelvedCounts(Sequence[Counts]):
    """Counts of clips that stay on disk. Each `[i]` fetches one clip anew, mapping a large one, so that nothing fills memory.

    An array may be written to; what is written stays its own. Who needs many clips takes them one after another.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = list(places)
        self._touched_ns = host_ns()

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, i: int) -> Counts: ...
    @overload
    def __getitem__(self, i: slice) -> "ShelvedCounts": ...
    def __getitem__(self, i: int | slice) -> "Counts | ShelvedCounts":
        if isinstance(i, slice):
            return ShelvedCounts(self._places[i])
        self._keep_recent()
        path, first_byte, shape = self._places[i]
        try:
            if np.prod(shape) < _MAP_BYTES:
                return np.fromfile(path, dtype=np.uint8, count=int(np.prod(shape)), offset=first_byte).reshape(shape)
            mapped = np.memmap(path, dtype=np.uint8, mode="c", offset=first_byte, shape=shape)
        except (OSError, ValueError) as error:
            raise SaccadeError(f"{path}: a cached clip cannot be read any more ({error}); run the command again") from error
        return np.asarray(mapped)

    def take(self, rows: Iterable[int]) -> "ShelvedCounts":
        """The clips of these rows, in that order; nothing is read."""
        return ShelvedCounts([self._places[i] for i in rows])

    def _keep_recent(self) -> None:
        """Tell other programs now and then that these shelves are in use."""
        if host_ns() - self._touched_ns < _TOUCH_NS:
            return
        self._touched_ns = host_ns()
        for path in {place.path for place in self._places}:
            _touch(path.with_suffix(".json"))


class ClipCache:
    """A folder of shelves within a bound; the shelves that were used longest ago give way first.

    Those that this cache gave out or wrote are never removed by it: data that alone need more are refused.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._folder = folder if folder is not None else user_cache_path("saccade") / "clips"
        self._max_bytes = max_bytes
        self._own: dict[str, int] = {}
        self._n_bytes = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot keep clips ({error}); choose another folder with --cache") from error

    def find(self, key: str) -> Shelf | None:
        """The shelf called `key`, None if there is none that can be used."""
        path = self._folder / f"{key}.json"
        try:
            if path.stat().st_size > _MAX_LABELS_BYTES:
                return None
            labels = msgspec.json.decode(path.read_bytes(), type=_Labels)
            n_bytes = path.with_suffix(".npy").stat().st_size
        except (OSError, msgspec.MsgspecError):
            return None
        width, height = labels.frame
        n_wanted = labels.first_byte + sum(clip.n_bins for clip in labels.clips) * 2 * width * height
        is_sane = min(width, height) > 0 and all(clip.n_bins > 0 for clip in labels.clips)
        if labels.version != _VERSION or not is_sane or n_bytes != n_wanted:
            return None
        _touch(path)
        self._own[key] = n_bytes
        return _shelf(path.with_suffix(".npy"), labels)

    def put(self, key: str, frame: tuple[int, int], pieces: Iterable[Piece]) -> None:
        """Keep these pieces, clips of `frame` (width, height), as they come; all of them or none."""
        target = self._folder / f"{key}.npy"
        partial = target.with_suffix(f".{os.getpid()}.partial")
        try:
            with partial.open("w+b") as file:
                labels = self._write(file, frame, pieces)
            partial.replace(target)
            partial.write_bytes(msgspec.json.encode(labels))
            partial.replace(target.with_suffix(".json"))
        except OSError as error:
            raise SaccadeError(f"{self._folder}: clips could not be made or kept ({error}); another folder: --cache") from error
        finally:
            partial.unlink(missing_ok=True)
        self._own[key] = target.stat().st_size
        self._n_bytes += self._own[key]
        if self._n_bytes > self._max_bytes:
            self._sweep()

    def _write(self, file: BinaryIO, frame: tuple[int, int], pieces: Iterable[Piece]) -> _Labels:
        width, height = frame
        kept, damage, n_before = list[ClipLabel](), list[str](), sum(self._own.values())
        _write_header(file, 0, frame)
        first_byte = file.tell()
        for piece in pieces:
            if isinstance(piece, str):
                damage.append(piece)
                continue
            label, counts = piece
            assert counts.shape == (label.n_bins, 2, height, width)
            file.write(np.ascontiguousarray(counts).data)
            kept.append(label)
            if n_before + file.tell() > self._max_bytes:
                raise UsageError(
                    f"the clips need more than the {self._max_bytes / 1e9:g} GB that {self._folder} may hold; raise it with "
                    "--cache-gb, or take longer bins, a smaller size or fewer clips"
                )
        file.seek(0)
        # numpy leaves room in the header for a longer first axis
        _write_header(file, sum(label.n_bins for label in kept), frame)
        assert file.tell() == first_byte
        return _Labels(_VERSION, frame, first_byte, kept, damage)

    def _sweep(self) -> None:
        """Count what lies here; remove what nobody finished, and the shelves used longest ago while there is too much."""
        now_s = wall_clock().timestamp()
        for path in self._folder.glob("*.partial"):
            if now_s - _changed_s(path) > _RECENT_S:
                path.unlink(missing_ok=True)
        shelves = sorted((_changed_s(path.with_suffix(".json")), path) for path in self._folder.glob("*.npy"))
        sizes = {path: _size(path) for _, path in shelves}
        self._n_bytes, n_removed = sum(sizes.values()), 0
        for used_s, path in shelves:
            if self._n_bytes <= self._max_bytes:
                break
            if path.stem not in self._own and now_s - used_s > _RECENT_S:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                self._n_bytes, n_removed = self._n_bytes - sizes[path], n_removed + 1
        if n_removed:
            _LOG.warning("%s: removed the %d portions of clips used longest ago to stay within bounds", self._folder, n_removed)
        if self._n_bytes > self._max_bytes:
            _LOG.warning("%s: %.1f GB are in use, more than its bound", self._folder, self._n_bytes / 1e9)


def key_of(words: Iterable[str], made_by: Iterable[str]) -> str:
    """Name of a shelf: a digest of `words` and of the code below `pipeline/` that made it, the binner always."""
    return _digest([str(_VERSION), *words, *(_code_digest(room) for room in (*made_by, "binning.py"))])


@cached
def _code_digest(room: str) -> str:
    """Of the source of a room of pipeline: other code may make other clips."""
    place = Path(pipeline.__path__[0]) / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return _digest(path.read_text(encoding="utf-8") for path in files)


def _digest(words: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for word in words:
        digest.update(f"{len(word)}:{word}".encode())
    return digest.hexdigest()[:32]


def _shelf(path: Path, labels: _Labels) -> Shelf:
    return Shelf(labels.clips, list(_places(path, labels)), labels.damage)


def _places(path: Path, labels: _Labels) -> Iterator[Place]:
    width, height = labels.frame
    first_byte = labels.first_byte
    for clip in labels.clips:
        yield Place(path, first_byte, (clip.n_bins, 2, height, width))
        first_byte += clip.n_bins * 2 * height * width


def _write_header(file: BinaryIO, n_bins: int, frame: tuple[int, int]) -> None:
    width, height = frame
    header = {"descr": "|u1", "fortran_order": False, "shape": (n_bins, 2, height, width)}
    np.lib.format.write_array_header_1_0(file, header)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        # a cache that cannot be written to, or a shelf that was just removed: nothing to keep
        _LOG.debug("%s cannot be touched", path)


def _changed_s(path: Path) -> float:
    """When a file was written or touched; 0, long ago, where there is none any more."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
