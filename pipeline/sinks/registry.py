"""From a path and a format name to an event sink."""

from importlib import import_module
from pathlib import Path
from typing import Literal, get_args

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize
from pipeline.sinks.file import FileSink

Format = Literal["aedat2", "aedat3", "aedat4", "evt2", "evt3", "dat", "hdf5", "npz", "text"]
Compression = Literal["none", "lz4", "zstd"]

# `.aedat` stands for three formats; 3.1 is the one that holds every sensor and every time.
_ENDINGS: dict[str, Format] = {
    ".aedat2": "aedat2", ".aedat": "aedat3", ".aedat3": "aedat3", ".aedat4": "aedat4", ".raw": "evt3", ".dat": "dat",
    ".h5": "hdf5", ".hdf5": "hdf5", ".npz": "npz", ".csv": "text", ".txt": "text",
}  # fmt: skip

# Module and class of the writer of each format.
_SINKS: dict[Format, tuple[str, str]] = {
    "aedat2": ("aedat2", "Aedat2Sink"),
    "aedat3": ("aedat3", "Aedat3Sink"),
    "aedat4": ("aedat4", "Aedat4Sink"),
    "evt2": ("evt2", "Evt2Sink"),
    "evt3": ("evt3", "Evt3Sink"),
    "dat": ("dat", "DatSink"),
    "hdf5": ("hdf5", "Hdf5Sink"),
    "npz": ("npz", "NpzSink"),
    "text": ("text", "TextSink"),
}


def open_sink(
    path: str | Path,
    sensor_size: SensorSize,
    format: str | None = None,  # noqa: A002 # the word users know from --format
    compression: str | None = None,
) -> FileSink:
    """Begin a recording of a sensor of this size, in the format named or else told by the path's ending.

    An existing file is overwritten. `compression` (none, lz4, zstd; lz4 otherwise) is for AEDAT 4.0 only. UsageError when the
    format is unknown, cannot hold the sensor, or the path cannot be written.
    """
    path = Path(path)
    name = choose_format(path, format)
    if compression is not None and (name != "aedat4" or compression not in get_args(Compression)):
        raise UsageError(f"--compression {compression} does not go with {name}; aedat4 takes none, lz4 or zstd")
    if not (sensor_size.width > 0 and sensor_size.height > 0):
        raise UsageError(f"{path}: the size of the sensor is not known, and there is no event to tell it")
    module, class_name = _SINKS[name]
    # writers are imported late: the decoders next to them bring a compiler along
    sink = getattr(import_module(f"pipeline.sinks.{module}"), class_name)
    opened: FileSink = sink(path, sensor_size, compression) if compression else sink(path, sensor_size)
    return opened


def choose_format(path: Path, format: str | None = None) -> Format:  # noqa: A002 # the word users know from --format
    """The format asked for, else the one told by the path's ending."""
    wanted = format.lower() if format else _ENDINGS.get(path.suffix.lower())
    for name in get_args(Format):
        if wanted == name:
            return name  # type: ignore[no-any-return] # a member of the Literal
    if format:
        raise UsageError(f"unknown format {format!r}; --format takes {', '.join(get_args(Format))}")
    raise UsageError(f"{path} ends in none of {', '.join(_ENDINGS)}; say which format with --format")
