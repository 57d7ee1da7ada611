"""Where the times of a recording are in its file, learnt while reading and kept in the user's cache directory.

A bookmark is a place from which a reader can go on as if it had read everything before. Bookmarks gather in any pass through a
recording, so that the first seek costs the way there and the next one nothing. Nothing is ever written beside a recording, and
a cache that cannot be read or written is done without. Knows no file format.
"""

import hashlib
import logging
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from platformdirs import user_cache_path

from pipeline.schema.events import Events
from pipeline.sources.base import SourceInfo
from pipeline.sources.ordering import DecodeState

_LOG = logging.getLogger(__name__)
# Of the layout of the cached files and of what readers put into `state`.
_VERSION = 1
# The oldest indexes go when there are more; each is some tens of kilobytes.
_MAX_FILES = 500
_MAX_BYTES = 1 << 24


class Bookmark(msgspec.Struct, frozen=True, array_like=True):
    """A place to go on reading from: every event behind it has a delivered time of at least `t_us`.

    `position` and `state` are the reader's own (a byte offset, a row; words that carry over), `decode` what it remembers.
    """

    t_us: int
    position: int
    state: tuple[int, ...]
    decode: DecodeState


class _Saved(msgspec.Struct, frozen=True):
    """An index as it lies in the cache. `key` names the file, its size and age, and how it was read."""

    version: int
    key: str
    bookmarks: list[Bookmark]


class Index:
    """The bookmarks of one recording, in the order of the file, one about every `STEP` of positions.

    `variant` tells apart readings of one file that differ in more than format and sensor, such as its event streams.
    """

    STEP = 1 << 22

    def __init__(self, path: Path, info: SourceInfo, variant: str = "") -> None:
        self._key = _key_of(path, info, variant)
        self._bookmarks = _load(self._key)
        self._n_saved = len(self._bookmarks)

    def add(self, position: int, state: tuple[int, ...], decode: DecodeState) -> None:
        """Take a place into the index if it lies far enough behind the last one, and events came before it."""
        if self._bookmarks and position < self._bookmarks[-1].position + self.STEP:
            return
        if decode.last_us == DecodeState().last_us or position < self.STEP:
            return
        numbers = tuple(int(number) for number in state)
        self._bookmarks.append(Bookmark(decode.last_us, position, numbers, DecodeState(*map(int, decode))))

    def find(self, start_us: int) -> Bookmark | None:
        """The last bookmark with no event at or after `start_us` before it; None if there is none.

        Events before a bookmark reach up to its very time, so that its time must be earlier than `start_us`.
        """
        at = bisect_right(self._bookmarks, start_us - 1, key=lambda bookmark: bookmark.t_us)
        return self._bookmarks[at - 1] if at else None

    def save(self) -> None:
        """Write the index to the cache if it has grown; a cache that cannot be written is no error."""
        if len(self._bookmarks) == self._n_saved:
            return
        path = _path_of(self._key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _prune(path.parent)
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(msgspec.msgpack.encode(_Saved(_VERSION, self._key, self._bookmarks)))
            unfinished.replace(path)
            self._n_saved = len(self._bookmarks)
        except OSError as error:
            _LOG.debug("index not kept: %s", error)


def cut_to_span(packets: Iterator[Events], start_us: int | None, end_us: int | None) -> Iterator[Events]:
    """The part of ordered packets in `[start_us, end_us)`; what lies behind is not asked for, an empty packet passes."""
    for events in packets:
        first = 0 if start_us is None else int(np.searchsorted(events["t"], start_us))
        last = events.size if end_us is None else int(np.searchsorted(events["t"], end_us))
        yield events[first:last]
        if last < events.size:
            return


def _key_of(path: Path, info: SourceInfo, variant: str) -> str:
    """What the index is valid for: this file as it is now, read as this format with this sensor in this variant."""
    found = path.stat()
    parts = (str(path.resolve()), found.st_size, found.st_mtime_ns, info.format, info.encoding, *info.sensor_size, variant)
    return "\n".join(map(str, parts))


def _path_of(key: str) -> Path:
    name = hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]
    return user_cache_path("saccade") / "index" / f"{name}.bookmarks"


def _load(key: str) -> list[Bookmark]:
    """The bookmarks kept for this key; none if there are none, or what is there is damaged."""
    path = _path_of(key)
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        saved = msgspec.msgpack.decode(path.read_bytes(), type=_Saved)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []
    return list(saved.bookmarks) if saved.version == _VERSION and saved.key == key else []


def _prune(folder: Path) -> None:
    """Make room for one more index."""
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in kept[: max(0, len(kept) - _MAX_FILES + 1)]:
        path.unlink(missing_ok=True)
