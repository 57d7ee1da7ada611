"""ROS 2 bags in SQLite (`.db3`): the tables `topics` and `messages`, read in the order in which rows were written."""

import sqlite3
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from pipeline.schema.errors import InputError, UnknownFormatError
from pipeline.sources.ros_records import MAX_CHUNK_BYTES, Batch, Connection, Container

MAGIC = b"SQLite format 3\0"
_BATCH_ROWS = 64


class SqliteBag(Container):
    """A ROS 2 bag in SQLite; a place is the number of the last row read. Opened so that nothing is written beside it."""

    name = "ROS 2 bag (SQLite)"

    def __init__(self, path: Path, handle: BufferedReader, n_bytes: int) -> None:
        super().__init__(handle, n_bytes)
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            self.reasons.append(f"what lies in {log.name} was not read; open the bag once with sqlite3 to take it in")
        try:
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            rows = self._database.execute("SELECT id, name, type FROM topics").fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where damaged names stand in sqlite's message
            if "no such" in str(error):
                raise UnknownFormatError(f"{path} is an SQLite database, but no ROS 2 bag ({error})") from None
            raise InputError(f"{path} begins like SQLite but is no ROS 2 bag that can be read: {error}") from None
        self.connections = {
            number: Connection(str(topic), str(kind), "cdr") for number, topic, kind in rows if isinstance(number, int)
        }
        self.is_indexed = True

    def batches(self, place: int) -> Iterator[Batch]:
        """Some rows at a time, behind the row of a place."""
        query = "SELECT id, topic_id, data FROM messages WHERE id > ? AND length(data) <= ? ORDER BY id"
        rows: list[tuple[int, memoryview]] = []
        number = place
        try:
            for number, connection, data in self._database.execute(query, (place, MAX_CHUNK_BYTES)):
                rows.append((connection, memoryview(data if isinstance(data, bytes) else b"")))
                if len(rows) == _BATCH_ROWS:
                    yield Batch(rows, number)
                    rows = []
        except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError) as error:
            self.reasons.append(str(error))
            self.n_skipped += 1
        if rows:
            yield Batch(rows, number)

    def close(self) -> None:
        """Release the file."""
        self._database.close()
        super().close()
