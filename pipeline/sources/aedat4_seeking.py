"""Where to begin reading an AEDAT 4 file for a time, by the data table at its end.

The table is believed only as far as the packets bear it out: files exist whose table is wrong by a turn of a 32-bit clock.
"""

import os
from contextlib import suppress
from io import BufferedReader

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.sources import aedat4_tables as tables
from pipeline.sources.compression import MAX_UNPACKED_BYTES, Method, unpack
from pipeline.sources.index import Bookmark
from pipeline.sources.ordering import MAX_FILE_TIME_US, DecodeState


class DataTable:
    """The data table of an open file, read when it is first asked."""

    def __init__(self, handle: BufferedReader, position: int, method: Method) -> None:
        self._handle = handle
        self._position = position
        self._method: Method = method
        self._rows: tables.Table | None = None

    def find(self, start_us: int, stream: int) -> Bookmark | None:
        """The last packet of a stream with nothing at or after `start_us` before it; None if the table does not help.

        A table whose times fall anywhere does not: then the clock was set, and only reading can tell the times delivered.
        """
        rows = self._read()
        rows = rows[rows["stream"] == stream]
        at = min(int(np.searchsorted(rows["last_us"], start_us)), rows.size - 1)
        if at < 1 or not _is_in_order(rows):
            return None
        before, here = self._times_of(rows[at - 1]), self._times_of(rows[at])
        if before is None or here is None:
            return None
        # events of a packet may be in disorder; those that follow are held at the latest of them
        decode = DecodeState(last_us=int(before.max()))
        if decode.last_us >= start_us:
            return None
        return Bookmark(decode.last_us, int(rows["offset"][at]) - tables.PACKET_HEADER.size, (0,), decode)

    def _read(self) -> tables.Table:
        """Rows of the table, none where there is no table or it cannot be read."""
        if self._rows is None:
            self._rows = tables.read_table(b"")
            n_bytes = os.fstat(self._handle.fileno()).st_size
            if 0 <= self._position < n_bytes:
                self._handle.seek(self._position)
                content = self._handle.read(min(n_bytes - self._position, MAX_UNPACKED_BYTES))
                with suppress(InputError):
                    self._rows = tables.read_table(unpack(content, self._method))
        return self._rows

    def _times_of(self, row: tables.Table) -> npt.NDArray[np.int64] | None:
        """Times of the events in the packet of a row; None unless the packet is what the row says."""
        head = tables.PACKET_HEADER.pack(int(row["stream"]), int(row["n_bytes"]))
        self._handle.seek(int(row["offset"]) - len(head))
        if self._handle.read(len(head)) != head:
            return None
        try:
            buffer = unpack(self._handle.read(int(row["n_bytes"])), self._method)
            records = tables.read_event_bytes(buffer) if tables.identifier(buffer) == tables.EVENTS_TYPE else b""
        except InputError:
            return None
        times: npt.NDArray[np.int64] = np.frombuffer(records, dtype="<i8")[::2]
        if times.size != row["n_events"] or times[0] != row["first_us"] or times[-1] != row["last_us"]:
            return None
        return times


def _is_in_order(rows: tables.Table) -> bool:
    """Whether places and times only ever grow, and all numbers are such as files have."""
    first, last, offset = rows["first_us"], rows["last_us"], rows["offset"]
    is_sane = (np.abs(first) < MAX_FILE_TIME_US) & (np.abs(last) < MAX_FILE_TIME_US) & (offset > tables.PACKET_HEADER.size)
    is_sane &= (rows["n_events"] > 0) & (rows["n_bytes"] > 0) & (rows["n_bytes"] <= MAX_UNPACKED_BYTES) & (first <= last)
    return bool(is_sane.all() and (first[1:] >= last[:-1]).all() and (np.diff(offset) > 0).all())
