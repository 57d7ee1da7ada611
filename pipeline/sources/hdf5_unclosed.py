"""HDF5 files whose writer was killed or is still at work, shown to the HDF5 library as if they had been closed.

Its own way of reading such files tries damaged parts again after ever longer waits, for years in the end (HDF5 2.0), and takes
any size for true. Such a writer leaves a whole file, but for a mark in the superblock and the end of the file written there.
Superblock, version 3: signature (8 bytes), version, two sizes, marks (1 byte each), base, extension, end, root (8 bytes each),
checksum over all these.
"""

import io
import os
import struct
from io import BufferedReader

_SUPERBLOCK = struct.Struct("<8s4B4Q")
_CHECKSUM = struct.Struct("<I")
_SUPERBLOCK_BYTES = _SUPERBLOCK.size + _CHECKSUM.size
_VERSION = 3
_OPEN_FOR_WRITING = 1
_WORD = 0xFFFFFFFF
# Of Bob Jenkins' hash lookup3: how far words are turned in each step of its rounds and of its end.
_START = 0xDEADBEEF
_MIX_TURNS = (4, 6, 8, 16, 19, 4)
_END_TURNS = (14, 11, 25, 16, 4, 14, 24)


def view_unclosed(handle: BufferedReader) -> "UnclosedFile | None":
    """The file as if it had been closed; None where its superblock is damaged or does not say that it is open for writing."""
    head = os.pread(handle.fileno(), _SUPERBLOCK_BYTES, 0)
    if len(head) < _SUPERBLOCK_BYTES:
        return None
    signature, version, *sizes, marks, base, extension, _, root = _SUPERBLOCK.unpack_from(head)
    (checksum,) = _CHECKSUM.unpack_from(head, _SUPERBLOCK.size)
    if version != _VERSION or not marks & _OPEN_FOR_WRITING or checksum != hash_words(head[: _SUPERBLOCK.size]):
        return None
    n_bytes = os.fstat(handle.fileno()).st_size
    closed = _SUPERBLOCK.pack(signature, version, *sizes, 0, base, extension, n_bytes, root)
    return UnclosedFile(handle, closed + _CHECKSUM.pack(hash_words(closed)), n_bytes)


class UnclosedFile(io.RawIOBase):
    """The bytes of `handle` with another beginning; it stays the owner's to close."""

    def __init__(self, handle: BufferedReader, head: bytes, n_bytes: int) -> None:
        self._handle = handle
        self._head = head
        self._n_bytes = n_bytes
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; gives it."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._n_bytes}[whence]
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override] # what the library gives
        """Fill `buffer` from here on; how many bytes there were."""
        data = os.pread(self._handle.fileno(), len(buffer), self._at)
        if self._at < len(self._head):
            data = self._head[self._at : self._at + len(data)] + data[max(0, len(self._head) - self._at) :]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def hash_words(data: bytes) -> int:
    """Bob Jenkins' lookup3 of at least one byte, as HDF5 uses it for checksums; the last 1 to 12 bytes end it."""
    a = b = c = (_START + len(data)) & _WORD
    n_whole = (len(data) - 1) // 12
    words: tuple[int, ...] = struct.unpack(f"<{3 * n_whole + 3}I", data.ljust(12 * n_whole + 12, b"\0"))
    for at in range(0, 3 * n_whole, 3):
        a, b, c = (x + y & _WORD for x, y in zip((a, b, c), words[at : at + 3], strict=True))
        for turn in _MIX_TURNS:
            # each step changes the first by the last, then the last by the second, and the names move on by one
            a = (a - c & _WORD) ^ _turned(c, turn)
            a, b, c = b, c + b & _WORD, a
    a, b, c = (x + y & _WORD for x, y in zip((a, b, c), words[3 * n_whole :], strict=True))
    for turn in _END_TURNS:
        c = (c ^ b) - _turned(b, turn) & _WORD
        a, b, c = b, c, a
    # seven steps: the names have moved on by one more than they came round
    return b


def _turned(word: int, n_bits: int) -> int:
    return (word << n_bits | word >> 32 - n_bits) & _WORD
