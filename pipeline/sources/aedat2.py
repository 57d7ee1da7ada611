"""AEDAT 2.0, as jAER, v2e and the older data sets write it: text lines, then big-endian pairs of address and time.

Layout: `#` comment lines ended by CR LF, then 8-byte records {uint32 address, uint32 time in us}. The address is laid out as
the chip named in the `# AEChip:` line does it (see `aer`). Frame samples (APS) and IMU words are stepped over.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events
from pipeline.sources.aer import Clock, decode, layout_of
from pipeline.sources.base import SourceInfo
from pipeline.sources.chips import CHIPS, find_chip, require_chip
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import Turns, allocate, triggers_from

MAGIC = b"#!AER-DAT2.0"
END_OF_HEADER = b"#End Of ASCII Header"
RECORD_BYTES = 8
_FIRST_ADDRESS_BEYOND_DVS128 = 1 << 16
# jAER dumps all preferences of a chip into the header: hundreds of kB, in lines of a few hundred bytes.
_MAX_LINE_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 25


class AddressSource(FileSource):
    """A recording of address words after `data_start`, of the chip named and read as `orientation` says (jAER otherwise)."""

    record_bytes = RECORD_BYTES
    format_name = "AEDAT 2.0"

    def __init__(
        self, path: Path, handle: BufferedReader, *, name: str, chip: str, orientation: str | None, data_start: int
    ) -> None:
        self._layout = layout_of(chip, orientation)
        self._data_start = data_start
        super().__init__(path, SourceInfo(name, self.format_name, chip.upper(), CHIPS[chip]), handle)
        self._variant = orientation or ""

    def _decode(self) -> Iterator[Events]:
        begin = self._begin
        position = begin.position if begin else self._data_start
        clock = Clock(Turns(*begin.state[:2]), *begin.state[2:]) if begin else Clock()
        self._handle.seek(position)
        block = np.empty(BLOCK_BYTES // self.record_bytes * self.record_bytes, dtype=np.uint8)
        # written to only where there are triggers, so that its memory is hardly ever touched
        met = np.empty((block.size // self.record_bytes, 2), dtype=np.uint64)
        view = (self._layout, self._info.sensor_size)
        n_ragged = 0
        while n_read := self._read_into(block):
            n_ragged = n_read % self.record_bytes
            records = self._records(block[: n_read - n_ragged])
            events, out = allocate(records.size)
            n, n_met, clock, self._state = decode(records, out.reshape(-1), met, view, clock, self._state)
            if n_met:
                self._keep_triggers(triggers_from(met[:n_met]))
            yield events[:n]
            position += n_read - n_ragged
            self._mark(position, *clock.turns, clock.last_trigger_us)
        if self.n_bytes - self._data_start < self.record_bytes:
            self._note_header_only()
        if n_ragged:
            self._note_cut(n_ragged, "the last record is cut off")

    def _records(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
        """Records as `decode` takes them, of whole ones as they lie in the file."""
        return data.view("<u8")


class Aedat2Source(AddressSource):
    """An AEDAT 2.0 recording; `chip` overrules what the header says of the sensor."""

    def __init__(
        self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None, orientation: str | None = None
    ) -> None:
        lines, data_start = read_header(path, handle, RECORD_BYTES)
        chip = require_chip(chip) if chip else _chip_of(path, handle, lines, data_start)
        super().__init__(path, handle, name=name, chip=chip, orientation=orientation, data_start=data_start)


def read_header(path: Path, handle: BufferedReader, record_bytes: int) -> tuple[list[bytes], int]:
    """Comment lines of an AEDAT 1 or 2 file, and the offset of the first record of `record_bytes`; InputError without any.

    Files without an end marker may begin their data with the byte of `#` (DAVIS rows 140 to 143): such a line is only taken for
    a comment if it is text, and taken back if whole records then fail to fill the file.
    """
    handle.seek(0)
    n_bytes = path.stat().st_size
    lines: list[bytes] = []
    start = 0
    while start < _MAX_HEADER_BYTES:
        line = handle.readline(_MAX_LINE_BYTES)
        if not _is_comment(line, lines[0] if lines else line):
            if not lines:
                raise InputError(f"{path}: the first line of this AEDAT file is damaged; nothing can be read")
            # a file that ends within a line of text was cut off in its header
            is_cut = start + len(line) == n_bytes and _is_comment(line.rstrip(b"\r") + b"\r\n", b"\r\n")
            return lines, n_bytes if is_cut else _without_doubtful(lines, start, n_bytes, record_bytes)
        lines.append(line)
        start += len(line)
        if line.rstrip() == END_OF_HEADER:
            return lines, start
    return lines, start


def _without_doubtful(lines: list[bytes], start: int, n_bytes: int, record_bytes: int) -> int:
    """Where the data start when the last lines may be records: before them, if they leave no whole number of records."""
    while len(lines) > 1 and (n_bytes - start) % record_bytes and _is_doubtful(lines[-1]):
        start -= len(lines.pop())
    return start


def _is_comment(line: bytes, first: bytes) -> bool:
    """Whether a line is a `#` line of text that ends as the first one does; jAER writes user names in any encoding."""
    end = b"\r\n" if first.endswith(b"\r\n") else b"\n"
    return line.startswith(b"#") and line.endswith(end) and all(byte >= 0x20 or byte == 0x09 for byte in line.removesuffix(end))


def _is_doubtful(line: bytes) -> bool:
    return not line.isascii() or line[1:2] not in b" <!\tSE\r"


def _chip_of(path: Path, handle: BufferedReader, lines: list[bytes], data_start: int) -> str:
    """Chip named in the header, or DVS128 when all addresses of the first block are as small as its own."""
    for line in lines:
        if line.startswith(b"# AEChip:"):
            named = line.partition(b":")[2].decode("latin-1").strip()
            chip = find_chip(named.rsplit(".", 1)[-1])
            if chip is None:
                raise InputError(f"{path} is from the chip {named!r}, whose layout is not known; try --chip with one like it")
            return chip
    handle.seek(data_start)
    block = handle.read(BLOCK_BYTES)
    addresses = np.frombuffer(block, dtype=">u4", count=2 * (len(block) // RECORD_BYTES))[::2]
    if addresses.size and int(addresses.max()) >= _FIRST_ADDRESS_BEYOND_DVS128:
        raise InputError(
            f"{path} names no chip, and its addresses are not a DVS128's; name it with --chip (davis240, davis346…)"
        )
    return "dvs128"
