"""Prophesee RAW: header, choice of encoding and sensor size, reading of blocks. Knows no word of any encoding.

Header: lines `% key value` of text up to `% end`, or (older cameras, faery) up to the first line that is none. DAT files begin
with the same lines.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.schema.errors import InputError, UnknownFormatError, UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.chips import GEN3, GEN4, GENX320, SENSORS, size_of
from pipeline.sources.evt2 import Evt2Decoder
from pipeline.sources.evt3 import Evt3Decoder
from pipeline.sources.evt4 import Evt4Decoder
from pipeline.sources.evt21 import Evt21Decoder, looks_legacy
from pipeline.sources.file import FileSource
from pipeline.sources.words import WordDecoder

_LINE = re.compile(rb"% [A-Za-z_][^\x00-\x08\x0a-\x1f]*\r?\n")
_MAX_LINE_BYTES = 1 << 12
_MAX_HEADER_BYTES = 1 << 20
_END = "end"

# Sensor and usual encoding of Prophesee's own cameras by the number of their electronics (`system_ID`).
_SYSTEMS: dict[int, tuple[SensorSize, str]] = {
    **dict.fromkeys((0x15, 0x17, 0x19, 0x1C, 0x1D, 0x21, 0x22, 0x23, 0x29), (GEN3, "EVT2")),
    **dict.fromkeys((0x28,), (GEN3, "EVT3")),
    **dict.fromkeys((0x1A, 0x1F, 0x27), (GEN4, "EVT2")),
    **dict.fromkeys((0x1E, 0x2E, 0x30, 0x31, 0x32, 0x3A), (GEN4, "EVT3")),
    **dict.fromkeys((0x3B, 0x40), (GENX320, "EVT2.1")),
}
# Electronics from this number on store 64-bit words as one number.
_FIRST_LITTLE_SYSTEM = 0x37
_INTEGRATORS = ("integrator_name", "camera_integrator_name", "plugin_integrator_name")
_PROPHESEE = "prophesee"
_NAMES = {"EVT2": "EVT2", "EVT21": "EVT2.1", "EVT3": "EVT3", "EVT4": "EVT4"}
_VERSIONS = {"2.0": "EVT2", "2.1": "EVT2.1", "3.0": "EVT3", "4.0": "EVT4"}
# Words hold 11 bits of x and of y.
_MAX_SIDE = 1 << 11


class Header(NamedTuple):
    """Keys and values of the `%` lines, and the offset of what follows them. `is_cut`: the file ends within a line."""

    fields: Mapping[str, str]
    data_start: int
    is_cut: bool


class RawSource(FileSource):
    """A Prophesee RAW recording; `chip` (a sensor's name or WIDTHxHEIGHT) overrules what the header says of the sensor."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None) -> None:
        header = read_header(handle, path.stat().st_size)
        encoding = _encoding(path, header)
        sensor_size = sensor_size_of(chip) if chip else _sensor_size(path, header)
        super().__init__(path, SourceInfo(name, "Prophesee RAW", encoding, sensor_size), handle)
        self._data_start = header.data_start
        self._create_decoder = self._decoder_of(encoding, header.fields)

    def _decode(self) -> Iterator[Events]:
        decoder = self._create_decoder()
        position = self._data_start
        if self._begin is not None:
            position = self._begin.position
            decoder.resume(self._begin.state)
        self._handle.seek(position)
        block = np.empty(decoder.block_bytes, dtype=np.uint8)
        n_ragged = 0
        while n_read := self._read_into(block):
            n_ragged = n_read % decoder.word_bytes
            events, self._state = decoder.decode(block[: n_read - n_ragged], self._info.sensor_size, self._state)
            self._keep_triggers(decoder.take_triggers())
            yield events
            position += n_read
            self._mark(position, *decoder.cursor)
        for sentence in decoder.describe():
            self._note(sentence)
        if self.n_bytes - self._data_start < decoder.word_bytes:
            self._note_header_only()
        if n_ragged:
            self._note_cut(n_ragged, "the last word is cut off")

    def _decoder_of(self, encoding: str, fields: Mapping[str, str]) -> Callable[[], WordDecoder]:
        if encoding != "EVT2.1":
            return {"EVT2": Evt2Decoder, "EVT3": Evt3Decoder, "EVT4": Evt4Decoder}[encoding]
        is_legacy = self._is_legacy(fields)
        return lambda: Evt21Decoder(is_legacy=is_legacy)

    def _is_legacy(self, fields: Mapping[str, str]) -> bool:
        """Whether the upper half of a word comes first: as the header says, else as makes most sense of the first block."""
        said = _options(fields).get("endianness", fields.get("endianness", ""))
        if said in ("legacy", "little"):
            return said == "legacy"
        self._handle.seek(self._data_start)
        block = self._handle.read(Evt21Decoder.block_bytes)
        whole = np.frombuffer(block, dtype=np.uint8)[: len(block) // Evt21Decoder.word_bytes * Evt21Decoder.word_bytes]
        is_old = _is_prophesee(fields) and (_system(fields) or 0) < _FIRST_LITTLE_SYSTEM
        return looks_legacy(whole, self._info.sensor_size, otherwise=is_old)


def read_header(handle: BufferedReader, n_bytes: int) -> Header:
    """The `%` lines at the beginning of a file of `n_bytes`; a key that comes again keeps its first value."""
    handle.seek(0)
    fields: dict[str, str] = {}
    start = 0
    while start < _MAX_HEADER_BYTES:
        line = handle.readline(_MAX_LINE_BYTES)
        if not _LINE.fullmatch(line):
            # a file that ends within a line of text was cut off in its header
            is_cut = start + len(line) == n_bytes and bool(line) and bool(_LINE.fullmatch(line.rstrip(b"\r") + b"\n"))
            return Header(fields, n_bytes if is_cut else start, is_cut)
        start += len(line)
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        if key == _END:
            break
        fields.setdefault(key, value.strip())
    return Header(fields, start, is_cut=False)


def sensor_size_of(chip: str) -> SensorSize:
    """The pixels of a sensor that a user names; UsageError if there is none like it, or words cannot address it."""
    sensor_size = size_of(chip)
    if max(sensor_size) > _MAX_SIDE:
        raise UsageError(f"a sensor of {chip} is larger than this format can address ({_MAX_SIDE} pixels a side)")
    return sensor_size


def _encoding(path: Path, header: Header) -> str:
    """Name of the encoding: `format`, else `evt`, else what such a camera usually writes."""
    fields = header.fields
    named = fields.get("format", "").partition(";")[0].strip() or fields.get("evt", "")
    encoding = _NAMES.get(named) or _VERSIONS.get(named)
    if encoding is None and named:
        raise UnknownFormatError(
            f"{path} is Prophesee RAW with the encoding {named!r}; this version reads EVT2, EVT2.1, EVT3 and EVT4"
        )
    if encoding is None:
        _, encoding = _SYSTEMS.get(_system(fields) or 0, (None, None))
    if encoding is None:
        state = "is cut off before it names" if header.is_cut else "does not name"
        raise InputError(
            f"{path}: the header of this Prophesee RAW file {state} an encoding (evt or format); nothing can be read"
        )
    return encoding


def _sensor_size(path: Path, header: Header) -> SensorSize:
    """Pixels by `format` and `geometry`, which must not disagree, else by the number of the camera's electronics."""
    fields = header.fields
    options = _options(fields)
    said = [f"{options['width']}x{options['height']}"] if options.keys() >= {"width", "height"} else []
    said += [fields["geometry"]] if "geometry" in fields else []
    sizes = {_parse_size(text) for text in said}
    if len(sizes) > 1 or None in sizes:
        raise InputError(
            f"{path}: the header's sensor size cannot be right ({' and '.join(said)}); say it with --chip WIDTHxHEIGHT"
        )
    if sizes:
        return sizes.pop() or GEN3
    if (_system(fields) or 0) in _SYSTEMS and _is_prophesee(fields):
        return _SYSTEMS[_system(fields) or 0][0]
    raise InputError(f"{path} does not say how large its sensor is; name it with --chip ({', '.join(SENSORS)} or WIDTHxHEIGHT)")


def _options(fields: Mapping[str, str]) -> dict[str, str]:
    """The `key=value` pairs behind the name in `format`."""
    pairs = (part.partition("=") for part in fields.get("format", "").split(";")[1:])
    return {key.strip(): value.strip() for key, _, value in pairs}


def _parse_size(text: str) -> SensorSize | None:
    """A size written WIDTHxHEIGHT; None if it is none, or larger than words can address."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = SensorSize(int(match[1]), int(match[2])) if match else SensorSize(0, 0)
    return size if 0 < size.width <= _MAX_SIDE and 0 < size.height <= _MAX_SIDE else None


def _system(fields: Mapping[str, str]) -> int | None:
    number = fields.get("system_ID", "")
    return int(number) if re.fullmatch(r"[0-9]{1,9}", number) else None


def _is_prophesee(fields: Mapping[str, str]) -> bool:
    return all(fields.get(key, _PROPHESEE).lower() == _PROPHESEE for key in _INTEGRATORS)
