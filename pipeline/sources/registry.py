"""From a path or URI to an event source. Recordings are recognised by their content, not by their names.

The one exception has no choice: N-MNIST's `.bin` has no signature, so that its name and the plausibility of its bytes decide.
"""

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
    (AEDAT 3.x), `name` the name on the bus (the file's name without its ending otherwise).
    """

    chip: str | None
    stream: int | None
    name: str | None


_SCHEMES = {
    "camera": "cameras", "prophesee": "cameras", "inivation": "cameras", "openeb": "cameras", "webcam": "ordinary cameras",
    "dv": "dv-processing network streams", "zmq": "events of another Saccade",
}  # fmt: skip
_WHAT_WORKS = "give a path, file:PATH, or synthetic:gestures"


def open_source(uri: str, **options: Unpack[SourceOptions]) -> EventSource:
    """Open what a URI names: a bare path, `file:PATH`, or `synthetic:NAME`; UsageError for what this version does not have."""
    scheme, colon, rest = uri.partition(":")
    if not colon or Path(uri).exists() or scheme not in {"file", "synthetic", *_SCHEMES}:
        return open_recording(Path(uri), **options)
    if scheme == "file":
        return open_recording(Path(rest.removeprefix("//") if rest.startswith("///") else rest), **options)
    if scheme == "synthetic":
        _refuse(uri, options, "chip", "stream")
        # opening the simulator is worth its imports only when it is asked for
        from pipeline.sources.synthetic import open_synthetic

        return open_synthetic(rest)
    raise UsageError(f"{_SCHEMES[scheme]} are not built yet in this version ({scheme}:); {_WHAT_WORKS}")


def open_recording(path: str | Path, **options: Unpack[SourceOptions]) -> FileSource:
    """Open a recording by its content; UnknownFormatError says what was found instead of one."""
    path = Path(path)
    handle = open_file(path)
    try:
        head = _read_head(path, handle)
        return _open(path, handle, _recognise(path, head), options)
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


def _open(path: Path, handle: BufferedReader, reader: Reader, options: SourceOptions) -> FileSource:
    """The source for a recognised file; decoders are imported here because compiling machinery takes its time to load."""
    name = options.get("name") or path.stem
    chip, stream = options.get("chip"), options.get("stream")
    if reader == "aedat2":
        _refuse(str(path), options, "stream")
        from pipeline.sources.aedat2 import Aedat2Source

        return Aedat2Source(path, handle, name=name, chip=chip)
    if reader == "aedat3":
        from pipeline.sources.aedat3 import Aedat3Source

        return Aedat3Source(path, handle, name=name, chip=chip, stream=stream)
    if reader == "aedat4":
        _refuse(str(path), options, "chip")
        from pipeline.sources.aedat4 import Aedat4Source

        return Aedat4Source(path, handle, name=name, stream=stream)
    if reader in ("raw", "dat"):
        _refuse(str(path), options, "stream")
        return _open_prophesee(path, handle, reader, name, chip)
    _refuse(str(path), options, "stream")
    if reader in ("text", "hdf5", "bin40"):
        return _open_plain(path, handle, reader, name, chip)
    _refuse(str(path), options, "chip")
    if reader == "es":
        from pipeline.sources.es import EventStreamSource

        return EventStreamSource(path, handle, name=name)
    from pipeline.sources.npz import NpzSource

    return NpzSource(path, handle, name=name)


def _open_prophesee(path: Path, handle: BufferedReader, reader: Reader, name: str, chip: str | None) -> FileSource:
    if reader == "raw":
        from pipeline.sources.raw import RawSource

        return RawSource(path, handle, name=name, chip=chip)
    from pipeline.sources.dat import DatSource

    return DatSource(path, handle, name=name, chip=chip)


def _open_plain(path: Path, handle: BufferedReader, reader: Reader, name: str, chip: str | None) -> FileSource:
    """The source for a format that rarely tells its sensor's size, which a chip then stands for."""
    sensor_size = size_of(chip) if chip else None
    if reader == "text":
        from pipeline.sources.text import TextSource

        return TextSource(path, handle, name=name, sensor_size=sensor_size)
    if reader == "hdf5":
        from pipeline.sources.hdf5 import Hdf5Source

        return Hdf5Source(path, handle, name=name, sensor_size=sensor_size)
    from pipeline.sources.bin40 import Bin40Source

    return Bin40Source(path, handle, name=name, sensor_size=sensor_size)


def _refuse(what: str, options: SourceOptions, *names: str) -> None:
    for name in names:
        if options.get(name) is not None:
            raise UsageError(f"{what} knows no {name}; leave --{name} out")
