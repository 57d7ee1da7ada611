"""Guards the HDF5 library against damaged heaps of strings, over which it would loop for ever (seen in HDF5 2.0).

A global heap collection: `GCOL`, version, 3 bytes, its size (uint64), then objects, each with an index and a count (uint16),
4 bytes and a size (uint64). Index 0 is the free rest, whose size counts its own header; others are padded to 8 bytes.
"""

import struct
from io import BufferedReader
from pathlib import Path

from pipeline.schema.errors import InputError

# With version and reserved bytes: four letters alone turn up by chance in every sixtieth long recording of packed events.
_SIGNATURE = b"GCOL\1\0\0\0"
_HEADER_BYTES = _OBJECT_BYTES = 16
# Heaps of attributes lie where a file begins or ends; between those, files are too long to be searched.
_SEARCHED_BYTES = 1 << 25
# What the smallest collections occupy; larger ones are read no further than this.
_MAX_HEAP_BYTES = 1 << 20


def check_heaps(path: Path, handle: BufferedReader, n_bytes: int) -> None:
    """Raise InputError where an object claims more than its heap has, or nothing at all."""
    for start in {0, max(0, n_bytes - _SEARCHED_BYTES)}:
        handle.seek(start)
        data = handle.read(_SEARCHED_BYTES)
        at = data.find(_SIGNATURE)
        while at >= 0:
            if not _is_sane(data[at : at + _MAX_HEAP_BYTES]):
                raise InputError(f"{path}: this HDF5 file is damaged: the heap of strings at byte {start + at} makes no sense")
            at = data.find(_SIGNATURE, at + 1)


def _is_sane(heap: bytes) -> bool:
    """Whether walking over the objects of a heap comes to an end; a size that cannot be read is left to the library."""
    if len(heap) < _HEADER_BYTES:
        return True
    (size,) = struct.unpack_from("<Q", heap, 8)
    at, end = _HEADER_BYTES, min(size, len(heap))
    while at + _OBJECT_BYTES <= end:
        index, _, _, n_bytes = struct.unpack_from("<HHIQ", heap, at)
        step = n_bytes if index == 0 else _OBJECT_BYTES + (n_bytes + 7 & ~7)
        if step < _OBJECT_BYTES or at + step > size:
            return False
        at += step
    return True
