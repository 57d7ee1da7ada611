"""From a path or URI to an event source. Recordings are recognised by their content, not by their names.

The one exception has no choice: N-MNIST's `.bin` has no signature, so that its name and the plausibility of its bytes decide.
"""

from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import TypedDict, Unpack

from pipeline.schema.errors import InputError, MissingExtraError, UnknownFormatError, UsageError
from pipeline.sources.base import EventSource
from pipeline.sources.chips import size_of
from pipeline.sources.file import FileSource, open_file
from pipeline.sources.signature import HEAD_BYTES, Reader, identify


class SourceOptions(TypedDict, total=False):
    """What a user may say about a recording that does not say it itself.

    `chip` names the sensor (AEDAT 2.0 and 3.x, Prophesee RAW and DAT), `stream` the event stream (AEDAT 4) or source id
    (AEDAT 3.x), `name` the name on the bus (the file's name without its ending otherwise). `orientation` says who wrote an
    AEDAT 1 or 2 file (jaer, inivation, tonic, spikingjelly), `format` what a file without a signature is (aedat1, dat, bin40,
    text), `columns` the order and units of text (`t_us,x,y,p`), `topic` the topic of a ROS bag.
    """

    chip: str | None
    stream: int | None
    name: str | None
    orientation: str | None
    format: str | None
    columns: str | None
    topic: str | None


_SCHEMES = {
    "camera": "cameras", "prophesee": "cameras", "inivation": "cameras", "openeb": "cameras", "webcam": "ordinary cameras",
    "dv": "dv-processing network streams", "zmq": "events of another Saccade",
}  # fmt: skip
# Module and class of each reader, and the options its constructor takes; `sensor_size` is what --chip names.
_READERS: dict[Reader, tuple[str, str, tuple[str, ...]]] = {
    "aedat1": ("aedat1", "Aedat1Source", ("orientation",)),
    "aedat2": ("aedat2", "Aedat2Source", ("chip", "orientation")),
    "aedat3": ("aedat3", "Aedat3Source", ("chip", "stream")),
    "aedat4": ("aedat4", "Aedat4Source", ("stream",)),
    "raw": ("raw", "RawSource", ("chip",)),
    "dat": ("dat", "DatSource", ("chip",)),
    "text": ("text", "TextSource", ("sensor_size", "columns")),
    "hdf5": ("hdf5", "Hdf5Source", ("sensor_size",)),
    "bin40": ("bin40", "Bin40Source", ("sensor_size",)),
    "es": ("es", "EventStreamSource", ()),
    "npz": ("npz", "NpzSource", ()),
    "ros": ("ros", "RosSource", ("topic",)),
}
# What --source-format may say of a file whose content cannot tell.
_CHOOSABLE: tuple[Reader, ...] = ("aedat1", "bin40", "dat", "text")
_WHAT_WORKS = "give a path, file:PATH, or synthetic:gestures"


def open_source(uri: str, **options: Unpack[SourceOptions]) -> EventSource:
    """Open what a URI names: a bare path, `file:PATH`, or `synthetic:NAME`; UsageError for what this version does not have."""
    scheme, colon, rest = uri.partition(":")
    if not colon or Path(uri).exists() or scheme not in {"file", "synthetic", *_SCHEMES}:
        return open_recording(Path(uri), **options)
    if scheme == "file":
        return open_recording(Path(rest.removeprefix("//") if rest.startswith("///") else rest), **options)
    if scheme == "synthetic":
        _refuse(uri, options, *(SourceOptions.__annotations__.keys() - {"name"}))
        # opening the simulator is worth its imports only when it is asked for
        from pipeline.sources.synthetic import open_synthetic

        return open_synthetic(rest)
    raise UsageError(f"{_SCHEMES[scheme]} are not built yet in this version ({scheme}:); {_WHAT_WORKS}")


def open_recording(path: str | Path, **options: Unpack[SourceOptions]) -> FileSource:
    """Open a recording by its content; UnknownFormatError says what was found instead of one."""
    path = Path(path)
    handle = open_file(_file_within(path))
    try:
        head = _read_head(path, handle)
        wanted = options.get("format")
        reader = _recognise(path, head) if wanted is None else _choose(path, head, wanted)
        return _open(path, handle, reader, options)
    except BaseException:
        handle.close()
        raise


def is_recording(path: Path) -> bool:
    """Whether a file is a recording, even one too damaged to be read; False for every other kind of file."""
    try:
        open_recording(path).close()
    except UnknownFormatError:
        return False
    except (InputError, MissingExtraError):
        return True
    return True


def _file_within(path: Path) -> Path:
    """The file to judge a recording by: itself, or the first of the files of a ROS 2 bag, which is a folder."""
    try:
        is_folder = path.is_dir()
    except ValueError:  # a null byte in the path
        return path
    if not is_folder:
        return path
    from pipeline.sources.ros import bag_files

    files = bag_files(path)
    return files[0] if files else path


def _read_head(path: Path, handle: BufferedReader) -> bytes:
    try:
        return handle.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _recognise(path: Path, head: bytes) -> Reader:
    """The reader for a file; UnknownFormatError if there is none."""
    signature = identify(head)
    if signature.reader is not None:
        return signature.reader
    if signature.is_unknown and path.suffix.lower() == ".bin":
        from pipeline.sources.bin40 import is_plausible

        if is_plausible(head):
            return "bin40"
    raise UnknownFormatError(f"{path} is {signature.found}; {signature.way_out}")


def _choose(path: Path, head: bytes, wanted: str) -> Reader:
    """The reader that the user named; UsageError if there is none, or the content says that the file is something else."""
    reader = next((name for name in _CHOOSABLE if name == wanted.lower()), None)
    if reader is None:
        raise UsageError(f"unknown format {wanted!r}; --source-format takes {', '.join(_CHOOSABLE)}, others tell by content")
    signature = identify(head)
    # bytes without a signature may happen to be letters
    if signature.reader not in (None, "text", reader):
        raise UsageError(f"{path} is {signature.found}, not {reader}; leave --source-format out")
    return reader


def _open(path: Path, handle: BufferedReader, reader: Reader, options: SourceOptions) -> FileSource:
    """The source for a recognised file; decoders are imported here because compiling machinery takes its time to load."""
    module, class_name, known = _READERS[reader]
    given = {key: value for key, value in options.items() if value is not None and key not in ("name", "format")}
    _refuse(str(path), options, *(key for key in given if key not in known and not (key == "chip" and "sensor_size" in known)))
    if "sensor_size" in known and "chip" in given:
        given["sensor_size"] = size_of(str(given.pop("chip")))
    source = getattr(import_module(f"pipeline.sources.{module}"), class_name)
    opened: FileSource = source(path, handle, name=options.get("name") or path.stem, **given)
    return opened


def _refuse(what: str, options: SourceOptions, *names: str) -> None:
    for name in names:
        if options.get(name) is not None:
            flag = "source-format" if name == "format" else name
            raise UsageError(f"{what} knows no {name}; leave --{flag} out")
