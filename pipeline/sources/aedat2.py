"""AEDAT 2.0, as jAER, v2e and the older data sets write it: text lines, then big-endian pairs of address and time.

Layout: `#` comment lines ended by CR LF, then 8-byte records {uint32 address, uint32 time in us}. The address is laid out as
the chip named in the `# AEChip:` line does it. Frame samples (APS), IMU words and special events are stepped over.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize
from pipeline.sources.base import SourceInfo
from pipeline.sources.chips import CHIPS, find_chip, require_chip
from pipeline.sources.file import BLOCK_BYTES, FileSource
from pipeline.sources.ordering import (
    FELL,
    HELD,
    IMPOSSIBLE,
    LEAP_US,
    NO_RESET,
    DecodeState,
    Turns,
    allocate,
    order,
    signed,
    unwrap,
)

MAGIC = b"#!AER-DAT2.0"
END_OF_HEADER = b"#End Of ASCII Header"
RECORD_BYTES = 8
_FIRST_ADDRESS_BEYOND_DVS128 = 1 << 16
# jAER dumps all preferences of a chip into the header: hundreds of kB, in lines of a few hundred bytes.
_MAX_LINE_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 25


class AddressLayout(NamedTuple):
    """Where an address word keeps its fields; words with a bit of `skip_mask` set are no pixel events.

    `p_flip` is 1 where a raw 0 means ON. Raw x counts from the right edge and raw y from the bottom in every layout.
    """

    x_shift: int
    x_mask: int
    y_shift: int
    y_mask: int
    p_shift: int
    p_flip: int
    skip_mask: int


# Bit 15 and everything above it mark special and synchronisation events.
DVS128 = AddressLayout(x_shift=1, x_mask=0x7F, y_shift=8, y_mask=0x7F, p_shift=0, p_flip=1, skip_mask=0xFFFF8000)
# Bit 31 marks APS samples and IMU words, bit 10 external inputs.
DAVIS = AddressLayout(x_shift=12, x_mask=0x3FF, y_shift=22, y_mask=0x1FF, p_shift=11, p_flip=0, skip_mask=0x80000400)


def layout_of(chip: str) -> AddressLayout:
    """Address layout of a chip of `CHIPS`."""
    return DVS128 if chip in ("dvs128", "tmpdiff128") else DAVIS


@njit(cache=True, nogil=True)
def _reverse(v: np.uint64) -> np.uint64:
    """A 64-bit word with its bytes reversed; written so that the compiler finds its one instruction for it."""
    low = (v << np.uint64(56)) | (v & np.uint64(0xFF00)) << np.uint64(40)
    low |= (v & np.uint64(0xFF0000)) << np.uint64(24) | (v & np.uint64(0xFF000000)) << np.uint64(8)
    high = (v >> np.uint64(8)) & np.uint64(0xFF000000) | (v >> np.uint64(24)) & np.uint64(0xFF0000)
    return low | high | (v >> np.uint64(40)) & np.uint64(0xFF00) | (v >> np.uint64(56))


@njit(cache=True, nogil=True)
def _decode(
    records: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint64],
    layout: AddressLayout,
    sensor_size: SensorSize,
    turns: Turns,
    state: DecodeState,
) -> tuple[int, Turns, DecodeState]:
    """Records, uint64 (n,) as a little-endian machine reads them, to events; gives how many were written to `out`."""
    last, shift, n_backward, n_jumps, n_outside, n_impossible = state
    turned, previous = turns
    right, top = sensor_size.width - 1, sensor_size.height - 1
    n = 0
    for record in records:
        word = _reverse(record)
        address = signed(word >> np.uint64(32))
        if address & layout.skip_mask:
            continue
        x = right - ((address >> layout.x_shift) & layout.x_mask)
        y = top - ((address >> layout.y_shift) & layout.y_mask)
        if (x | y) < 0:
            n_outside += 1
            continue
        raw = signed(word & np.uint64(0xFFFFFFFF))
        t = raw + turned + shift
        if last <= t <= last + LEAP_US:
            previous = raw + turned
        else:
            previous, turned = unwrap(raw, Turns(turned, previous))
            t, shift, verdict = order(previous, last, shift, NO_RESET)
            n_backward += verdict == HELD
            n_jumps += verdict == FELL
            n_impossible += verdict == IMPOSSIBLE
            if verdict == IMPOSSIBLE:
                continue
        last = t
        p = ((address >> layout.p_shift) & 1) ^ layout.p_flip
        out[n, 0] = x | (y << 16) | (p << 32)
        out[n, 1] = t
        n += 1
    return n, Turns(turned, previous), DecodeState(last, shift, n_backward, n_jumps, n_outside, n_impossible)


class Aedat2Source(FileSource):
    """An AEDAT 2.0 recording; `chip` overrules what the header says of the sensor."""

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, chip: str | None = None) -> None:
        lines, self._data_start = read_header(handle, path.stat().st_size)
        if not lines:
            raise InputError(f"{path}: the first line of this AEDAT 2.0 file is damaged; nothing can be read")
        chip = require_chip(chip) if chip else _chip_of(path, handle, lines, self._data_start)
        self._layout = layout_of(chip)
        super().__init__(path, SourceInfo(name, "AEDAT 2.0", chip.upper(), CHIPS[chip]), handle)

    def _decode(self) -> Iterator[Events]:
        self._handle.seek(self._data_start)
        turns = Turns()
        block = np.empty(BLOCK_BYTES, dtype=np.uint8)
        n_ragged = 0
        while n_read := self._read_into(block):
            n_ragged = n_read % RECORD_BYTES
            records = block[: n_read - n_ragged].view("<u8")
            events, out = allocate(records.size)
            n, turns, self._state = _decode(records, out, self._layout, self._info.sensor_size, turns, self._state)
            yield events[:n]
        if self.n_bytes - self._data_start < RECORD_BYTES:
            self._note_header_only()
        if n_ragged:
            self._note_cut(n_ragged, "the last record is cut off")


def read_header(handle: BufferedReader, n_bytes: int) -> tuple[list[bytes], int]:
    """Comment lines of an AEDAT 2.0 file of `n_bytes`, and the offset of the first record.

    Files without an end marker may begin their data with the byte of `#` (DAVIS rows 140 to 143): such a line is only taken for
    a comment if it is text, and taken back if whole records then fail to fill the file.
    """
    handle.seek(0)
    lines: list[bytes] = []
    start = 0
    while start < _MAX_HEADER_BYTES:
        line = handle.readline(_MAX_LINE_BYTES)
        if not _is_comment(line, lines[0] if lines else line):
            # a file that ends within a line of text was cut off in its header
            is_cut = bool(lines) and start + len(line) == n_bytes and _is_comment(line.rstrip(b"\r") + b"\r\n", b"\r\n")
            return lines, n_bytes if is_cut else _without_doubtful(lines, start, n_bytes)
        lines.append(line)
        start += len(line)
        if line.rstrip() == END_OF_HEADER:
            return lines, start
    return lines, start


def _without_doubtful(lines: list[bytes], start: int, n_bytes: int) -> int:
    """Where the data start when the last lines may be records: before them, if they leave no whole number of records."""
    while len(lines) > 1 and (n_bytes - start) % RECORD_BYTES and _is_doubtful(lines[-1]):
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
