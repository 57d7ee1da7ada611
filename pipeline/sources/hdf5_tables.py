"""Where the events are in an HDF5 file, and whether they can be read: layouts, types, compressions. Reads no event.

Only hard links inside the file are followed.
"""

import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.schema.errors import InputError, MissingExtraError, UnknownFormatError
from pipeline.schema.events import SensorSize
from pipeline.sources.ecf import FILTER_ID, MAX_EVENTS
from pipeline.sources.ordering import MAX_FILE_TIME_US

COLUMN_NAMES = {
    **dict.fromkeys(("t", "ts", "time", "timestamp", "timestamps"), "t"),
    **dict.fromkeys(("x", "xs"), "x"),
    **dict.fromkeys(("y", "ys"), "y"),
    **dict.fromkeys(("p", "ps", "pol", "polarity", "polarities"), "p"),
}
PROPHESEE = "CD/events"
# Records of OpenEB, of events and of triggers.
EVENT_RECORD = np.dtype(
    {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16}
)
TRIGGER_RECORD = np.dtype({"names": ["p", "t", "id"], "formats": ["<i2", "<i8", "<i2"], "offsets": [0, 8, 16], "itemsize": 24})
WIDEST = SensorSize(1 << 16, 1 << 16)
# HDF5 takes in whole chunks; a forged chunk shape must not make it ask for all memory.
MAX_CHUNK_BYTES = 1 << 26
# What h5py raises on damaged files.
DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError)


class Table(NamedTuple):
    """Where the events are: datasets (or fields of one dataset) by column, and what they are called in the file."""

    path: str
    columns: dict[str, Any]
    offset_us: int = 0


def load_h5py() -> Any:
    """The module h5py; MissingExtraError where it is not installed."""
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise MissingExtraError("hdf5", "h5py") from None


def find_tables(path: Path, file: Any) -> list[Table]:
    """Tables of events, the best one first; UnknownFormatError if there is none."""
    tables: list[Table] = []
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        names.append(name)
        if hasattr(item, "shape"):
            fields = {COLUMN_NAMES.get(field) for field in item.dtype.names or ()}
            if {"t", "x", "y", "p"} <= fields:
                tables.append(Table(name, dict.fromkeys("txyp", item)))
        else:
            tables.extend(_group_table(file, name, item))

    visit("", file)
    file.visititems(visit)
    if not tables:
        found = ", ".join(name for name in names[1:9]) or "nothing"
        raise UnknownFormatError(
            f"{path} is HDF5 without events (found: {found}); a group with t, x, y and p or Prophesee's {PROPHESEE} is needed"
        )
    return sorted(tables, key=lambda table: (table.path != PROPHESEE, table.path.count("/"), table.path))


def _group_table(file: Any, name: str, group: Any) -> list[Table]:
    """The table of a group that holds four columns as datasets of its own; none otherwise."""
    h5py = load_h5py()
    columns: dict[str, Any] = {}
    for key in group:
        if key in COLUMN_NAMES and isinstance(group.get(key, getlink=True), h5py.HardLink) and hasattr(group[key], "shape"):
            columns.setdefault(COLUMN_NAMES[key], group[key])
    if set(columns) != {"t", "x", "y", "p"}:
        return []
    offset_us = 0
    # DSEC keeps the offset of its 32-bit times beside the group
    if "t_offset" in file and name == "events":
        offset = file["t_offset"]
        offset_us = int(offset[()]) if offset.shape == () and offset.dtype.kind in "iu" else 0
    if abs(offset_us) >= MAX_FILE_TIME_US:
        raise ValueError(f"its t_offset, {offset_us} us, cannot be")
    return [Table(name or "/", columns, offset_us)]


def type_of(table: Table, name: str) -> np.dtype[Any]:
    """Type of one column."""
    dtype: np.dtype[Any] = table.columns[name].dtype
    if dtype.names is None:
        return dtype
    return dtype[next(field for field in dtype.names if COLUMN_NAMES.get(field) == name)]


def count_rows(path: Path, table: Table) -> int:
    """How many rows lie in the file in all columns; InputError for columns that cannot be read."""
    shapes = {name: dataset.shape for name, dataset in table.columns.items()}
    if len(set(shapes.values())) != 1 or len(shapes["t"]) != 1:
        raise InputError(f"{path}: t, x, y and p must be columns of one length, but have the shapes {shapes}")
    n_rows = shapes["t"][0]
    for name, dataset in table.columns.items():
        kind = type_of(table, name)
        if kind.kind not in {"t": "iuf", "x": "iu", "y": "iu", "p": "iubf"}[name]:
            raise InputError(f"{path}: {name} is {kind}; only numbers are read, and whole ones for x and y")
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{path}: {name} lies in another file; copy the data into one file with h5repack")
        item_bytes = dataset.dtype.itemsize
        if dataset.chunks is None:
            n_rows = min(n_rows, dataset.id.get_storage_size() // item_bytes)
            continue
        if dataset.chunks[0] * item_bytes > MAX_CHUNK_BYTES:
            raise InputError(
                f"{path}: {name} is kept in chunks of {dataset.chunks[0]} values; write smaller ones with h5repack"
            )
        n_rows = min(n_rows, dataset.id.get_num_chunks() * dataset.chunks[0])
    return int(n_rows)


def is_ecf(path: Path, table: Table) -> bool:
    """Whether the table is in Prophesee's compression; InputError for compressions that cannot be unpacked here."""
    h5z = load_h5py().h5z
    for dataset in {dataset.name: dataset for dataset in table.columns.values()}.values():
        creation = dataset.id.get_create_plist()
        filters = [creation.get_filter(i) for i in range(creation.get_nfilters())]
        codes = [code for code, *_ in filters]
        if codes == [FILTER_ID] and dataset.dtype == EVENT_RECORD and dataset.chunks[0] <= MAX_EVENTS:
            return True
        if FILTER_ID in codes:
            raise InputError(f"{path}: {dataset.name} is packed by ECF in a way of its own; write it again with Metavision")
        for code, _, _, name in filters:
            if not h5z.filter_avail(code) and not _has_plugin(code):
                named = name.decode("latin-1").split(";")[0][:40]
                raise InputError(f"{path}: {dataset.name} is packed with HDF5 filter {code} ({named}), which {_way_out()}")
    return False


def _has_plugin(code: int) -> bool:
    """Whether hdf5plugin, which adds filters when it is imported, is there and knows this one."""
    return _load_plugins() and bool(load_h5py().h5z.filter_avail(code))


def _load_plugins() -> bool:
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return True


def _way_out() -> str:
    if _load_plugins():
        return "not even hdf5plugin unpacks; write it again without it"
    return "hdf5plugin may unpack; install it with: pip install 'saccade[dsec]'"


def named_size(file: Any, table: Table) -> SensorSize | None:
    """Sensor size in the attributes of the file or of the table; None if there is none."""
    for attributes in (file.attrs, table.columns["t"].parent.attrs):
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", _text(attributes.get("geometry", "")))
        size = SensorSize(int(found[1]), int(found[2])) if found else None
        if size is None and {"width", "height"} <= set(attributes):
            size = SensorSize(int(attributes["width"]), int(attributes["height"]))
        if size is not None and 0 < size.width <= WIDEST.width and 0 < size.height <= WIDEST.height:
            return size
    return None


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
