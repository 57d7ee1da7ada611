"""External triggers of Prophesee's HDF5 (`EXT_TRIGGER/events`), given out in step with the events."""

from typing import Any

import numpy as np

from pipeline.schema.events import Triggers, empty_triggers, make_triggers
from pipeline.sources.hdf5_tables import DAMAGE, MAX_CHUNK_BYTES, PROPHESEE, Table
from pipeline.sources.ordering import MAX_FILE_TIME_US, DecodeState

_GROUP, _NAME = "EXT_TRIGGER", "events"
_BLOCK_ROWS = 1 << 14
_FIELDS = {"p", "t", "id"}


class TriggerRows:
    """The triggers beside a table of events, read as far as the events have come; those before `start_us` are left out."""

    def __init__(self, file: Any, table: Table, start_us: int | None) -> None:
        self.notes: list[str] = []
        self._rows: Any = _find(file) if table.path == PROPHESEE else None
        self._n_rows = _count(self._rows) if self._rows is not None else 0
        self._at = 0
        self._start_us = start_us
        self._waiting = empty_triggers()

    def take(self, state: DecodeState) -> Triggers:
        """Triggers no later than the last event delivered, with the shift that its time has."""
        found = []
        while self._fill():
            limit_us = state.last_us - state.shift_us
            n = int(np.argmax(self._waiting["t"] > limit_us)) if (self._waiting["t"] > limit_us).any() else self._waiting.size
            found.append(self._waiting[:n])
            self._waiting = self._waiting[n:]
            if self._waiting.size:
                break
        return _shifted(found, state)

    def take_rest(self, state: DecodeState) -> Triggers:
        """Triggers later than all events."""
        return self.take(state._replace(last_us=MAX_FILE_TIME_US + state.shift_us))

    def _fill(self) -> bool:
        """Read on until some rows wait; False when all are taken."""
        while self._waiting.size == 0 and self._at < self._n_rows:
            try:
                rows = self._rows[self._at : self._at + _BLOCK_ROWS]
            except DAMAGE as error:
                self.notes.append(f"{self._n_rows - self._at} triggers are damaged ({error})")
                self._n_rows = self._at
                break
            self._at += rows.shape[0]
            is_wanted = (rows["t"] > -MAX_FILE_TIME_US) & (rows["t"] < MAX_FILE_TIME_US)
            if self._start_us is not None:
                is_wanted &= rows["t"] >= self._start_us
            rows = rows[is_wanted]
            self._waiting = make_triggers(rows["t"], rows["id"], rows["p"] > 0)
        return self._waiting.size > 0


def _find(file: Any) -> Any:
    """The dataset of triggers; None if there is none that can be read."""
    group = file.get(_GROUP)
    rows: Any = group.get(_NAME) if hasattr(group, "get") else None
    names = set(getattr(getattr(rows, "dtype", None), "names", None) or ())
    if names != _FIELDS or rows.ndim != 1 or rows.is_virtual or rows.external:
        return None
    return rows if all(rows.dtype[name].kind in "iu" for name in names) else None


def _count(rows: Any) -> int:
    """How many rows lie in the file."""
    if rows.chunks is None:
        return int(min(rows.shape[0], rows.id.get_storage_size() // rows.dtype.itemsize))
    if rows.chunks[0] * rows.dtype.itemsize > MAX_CHUNK_BYTES:
        return 0
    return int(min(rows.shape[0], rows.id.get_num_chunks() * rows.chunks[0]))


def _shifted(found: list[Triggers], state: DecodeState) -> Triggers:
    triggers = np.concatenate(found) if found else empty_triggers()
    triggers["t"] += state.shift_us
    return triggers
