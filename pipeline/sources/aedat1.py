"""AEDAT 1.0 of jAER: text lines or none, then big-endian 6-byte records {uint16 address, uint32 time in us}.

16 bits leave room for the DVS128 only, with its address word of AEDAT 2.0. Files without the first line
`#!AER-DAT1.0` cannot be told from anything else, so that they are only read when the user says what they are.
"""

from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.sources.aedat2 import AddressSource, read_header

MAGIC = b"#!AER-DAT1.0"
RECORD_BYTES = 6


class Aedat1Source(AddressSource):
    """An AEDAT 1.0 recording of a DVS128, with or without header lines."""

    record_bytes = RECORD_BYTES
    format_name = "AEDAT 1.0"

    def __init__(self, path: Path, handle: BufferedReader, *, name: str, orientation: str | None = None) -> None:
        handle.seek(0)
        has_header = handle.read(len(MAGIC)) == MAGIC
        data_start = read_header(path, handle, RECORD_BYTES)[1] if has_header else 0
        super().__init__(path, handle, name=name, chip="dvs128", orientation=orientation, data_start=data_start)

    def _records(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
        wide = np.zeros((data.size // RECORD_BYTES, 8), dtype=np.uint8)
        wide[:, 8 - RECORD_BYTES :] = data.reshape(-1, RECORD_BYTES)
        return wide.view("<u8").reshape(-1)
