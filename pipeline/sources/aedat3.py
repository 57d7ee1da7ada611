"""AEDAT 3.1 and 3.0, as cAER and libcaer write them: text lines, then little-endian packets.

Layout: `#` lines up to `#!END-HEADER` (3.0 has no such line), then packets, which `aedat3_packets` knows.
"""

import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.aedat3_packets import (
    ANY_SOURCE,
    EVENT_BYTES,
    LAYOUT_3_0,
    LAYOUT_3_1,
    PACKET_HEADER_BYTES,
    Packet,
    decode,
    restore,
)
from pipeline.sources.base import SourceInfo
from pipeline.sources.chips import CHIPS, find_chip, require_chip
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import allocate, triggers_from

MAGICS = {b"#!AER-DAT3.0": "AEDAT 3.0", b"#!AER-DAT3.1": "AEDAT 3.1"}
_MAGIC_BYTES = 12
END_OF_HEADER = b"#!END-HEADER"
_MAX_LINE_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 22


class Aedat3Source(FileSource):
    """An AEDAT 3.1 or 3.0 recording; `chip` overrules the device named in the header, `stream` chooses a source by its id."""

    def __init__(
        self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None, stream: int | None = None
    ) -> None:
        format_name, lines, self._data_start = read_header(path, handle)
        self._layout = LAYOUT_3_0 if format_name == "AEDAT 3.0" else LAYOUT_3_1
        self._wanted = ANY_SOURCE if stream is None else stream
        sensor_size = CHIPS[require_chip(chip)] if chip else _sensor_size(path, lines)
        super().__init__(path, SourceInfo(name, format_name, "RAW", sensor_size), handle)
        self._variant = "" if stream is None else str(stream)

    def _decode(self) -> Iterator[Events]:
        begin = self._begin
        position = begin.position if begin else self._data_start
        packet = restore(begin.state) if begin else Packet(wanted=self._wanted)
        self._handle.seek(position)
        view = (self._layout, self._info.sensor_size)
        block = np.empty(BLOCK_BYTES, dtype=np.uint8)
        # written to only where there are triggers, so that its memory is hardly ever touched
        met = np.empty((BLOCK_BYTES // EVENT_BYTES, 2), dtype=np.uint64)
        n_kept = 0
        while not packet.is_damaged and (n_read := self._read_into(block[n_kept:])):
            n_bytes = n_kept + n_read
            events, out = allocate(n_bytes // EVENT_BYTES)
            n, n_met, n_used, packet, self._state = decode(block[:n_bytes], out.reshape(-1), met, view, packet, self._state)
            position += n_used
            n_kept = n_bytes - n_used
            block[:n_kept] = block[n_used:n_bytes].copy()
            if n_met:
                self._keep_triggers(triggers_from(met[:n_met]))
            yield events[:n]
            self._mark(position, *packet)
        self._note_end(packet, position)

    def _note_end(self, packet: Packet, position: int) -> None:
        if packet.n_other:
            self._note(f"{packet.n_other} events of other sources than {packet.wanted} left out; choose one with --stream")
        if packet.is_damaged:
            where = position - PACKET_HEADER_BYTES
            self._note_cut(self.n_bytes - where, f"the packet header at byte {where} is damaged")
        elif position < self.n_bytes or packet.bytes_left:
            self._note_cut(self.n_bytes - position, "the last packet is cut off")
        elif self.n_bytes == self._data_start:
            self._note_header_only()


def read_header(path: Path, handle: BufferedReader) -> tuple[str, list[bytes], int]:
    """Name of the format, header lines, and the offset of the first packet; InputError if the header has no end."""
    handle.seek(0)
    lines = [handle.readline(_MAX_LINE_BYTES).rstrip()]
    format_name = MAGICS[lines[0][:_MAGIC_BYTES]]
    start = handle.tell()
    while start < _MAX_HEADER_BYTES:
        line = handle.readline(_MAX_LINE_BYTES)
        if not line.startswith(b"#"):
            break
        start += len(line)
        lines.append(line.rstrip())
        if lines[-1] == END_OF_HEADER:
            break
    if format_name == "AEDAT 3.1" and lines[-1] != END_OF_HEADER:
        raise InputError(f"{path}: the header of this AEDAT 3.1 file has no #!END-HEADER line; it is cut off or damaged")
    for line in lines:
        if line.startswith(b"#Format:") and line.partition(b":")[2].strip().upper() != b"RAW":
            encoding = line.partition(b":")[2].strip().decode("latin-1")
            raise InputError(f"{path}: {format_name} with the encoding {encoding!r} is not read, only RAW; export it as RAW")
    return format_name, lines, start


def _sensor_size(path: Path, lines: list[bytes]) -> SensorSize:
    """Size of the first known device in the `#Source` lines, which may also say WIDTHxHEIGHT."""
    sources = [line.partition(b":")[2].decode("latin-1").strip() for line in lines if re.match(rb"#Source\b", line)]
    for source in sources:
        size = re.search(r"\b(\d{1,5})x(\d{1,5})\b", source)
        if size:
            return SensorSize(int(size[1]), int(size[2]))
        chip = find_chip(source)
        if chip:
            return CHIPS[chip]
    named = ", ".join(repr(source) for source in sources) or "no device"
    raise InputError(f"{path} names {named}, whose sensor size is not known; say which chip it was with --chip")
