"""LZ4 frames unpacked by compiled code of our own, straight into memory that is there already.

Event packets compress into matches of a few bytes, for which the library's loop is not made, and its Python binding copies
what it unpacked twice. Only plain frames are read here (no checksums, no content size, no dictionary), as event files have
them; anything else is `NOT_PLAIN` and the library's business. Every length and offset is checked before use. Knows no recording
format.
"""

import lz4.frame
import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.sources.little_endian import load8, load16, load32, load64, store64

NOT_PLAIN, DAMAGED = -1, -2
# Bytes behind the end of the content that unpacking may overwrite.
SLACK_BYTES = 16

_HEAD_BYTES = 7
# A compressed byte stands for at most this many: it lengthens a match by as much.
_MAX_RATIO = 255
_RAW_BLOCK = 1 << 31
# Short sequences of literals and match are moved as two words of 8 bytes; this far from the ends of a block that is safe.
_MARGIN = 16
_MOST_LITERALS = 7
_LENGTH_GOES_ON = 15
_MIN_MATCH = 4


def _plain_heads() -> npt.NDArray[np.uint64]:
    """Head of every plain frame, bytes 0 to 6 as a number, uint64 (8,): linked blocks first, each in four block sizes.

    The head ends in a checksum of itself, so that the library is asked for the eight that there are.
    """
    sizes = (lz4.frame.BLOCKSIZE_MAX64KB, lz4.frame.BLOCKSIZE_MAX256KB, lz4.frame.BLOCKSIZE_MAX1MB, lz4.frame.BLOCKSIZE_MAX4MB)
    heads = []
    for is_linked in (True, False):
        for size in sizes:
            context = lz4.frame.create_compression_context()
            head = lz4.frame.compress_begin(context, block_size=size, block_linked=is_linked, auto_flush=True)
            heads.append(int.from_bytes(head[:_HEAD_BYTES], "little"))
    return np.array(heads, dtype=np.uint64)


_PLAIN_HEADS = _plain_heads()
_N_LINKED = 4


@njit(cache=True, nogil=True)
def _head_of(data: npt.NDArray[np.uint8], start: int) -> int:
    """Which of `_PLAIN_HEADS` begins at `start`, where at least 8 bytes follow; `NOT_PLAIN` if none does."""
    head = load64(data, start) & np.uint64(0xFFFFFFFFFFFFFF)
    for i in range(_PLAIN_HEADS.size):
        if _PLAIN_HEADS[i] == head:
            return i
    return NOT_PLAIN


@njit(cache=True, nogil=True)
def _block_limit(head: int) -> int:
    """Most bytes that a block of this frame unpacks to."""
    return 1 << (16 + 2 * (head % _N_LINKED))


@njit(cache=True, nogil=True)
def bound(data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Bytes that the frame in `[start, end)` can unpack to at most, or `NOT_PLAIN`, or `DAMAGED`."""
    if start + _HEAD_BYTES + 4 > end:
        return NOT_PLAIN
    head = _head_of(data, start)
    if head == NOT_PLAIN:
        return NOT_PLAIN
    limit = _block_limit(head)
    total = 0
    i = start + _HEAD_BYTES
    while i + 4 <= end:
        size = load32(data, i)
        if size == 0:
            return total
        n = size & (_RAW_BLOCK - 1)
        i += 4 + n
        if n > limit or i > end:
            return DAMAGED
        total += n if size & _RAW_BLOCK else min(limit, n * _MAX_RATIO)
    return DAMAGED


@njit(cache=True, nogil=True)
def unpack_frame(data: npt.NDArray[np.uint8], start: int, out: npt.NDArray[np.uint8]) -> int:
    """Unpack the frame at `start`, whose `bound` was asked and fits into `out` with `SLACK_BYTES` to spare.

    Gives the number of bytes, or `DAMAGED`.
    """
    head = _head_of(data, start)
    limit = _block_limit(head)
    i, o = start + _HEAD_BYTES, 0
    while True:
        size = load32(data, i)
        i += 4
        if size == 0:
            return o
        n = size & (_RAW_BLOCK - 1)
        if size & _RAW_BLOCK:
            _copy(data, i, out, o, n, data.size)
            o += n
        else:
            # linked blocks may refer to all that was unpacked before
            o = _unpack_block(data, (i, i + n), out, o, (0 if head < _N_LINKED else o, o + limit))
            if o < 0:
                return DAMAGED
        i += n


@njit(cache=True, nogil=True)
def _unpack_block(
    data: npt.NDArray[np.uint8], span: tuple[int, int], out: npt.NDArray[np.uint8], o: int, room: tuple[int, int]
) -> int:
    """Unpack the block in `span` of `data` to byte `o` of `out`; gives the byte behind its content, or `DAMAGED`.

    `room`: the first byte that a match may refer to, and the end of what may be written.
    """
    i, end = span
    first, limit = room[0], min(room[1], out.size - SLACK_BYTES)
    while True:
        i, o = _run(data, i, end - _MARGIN, out, o, (first, limit - _MARGIN))
        token = load8(data, i)
        i, n = _length(data, i + 1, end, token >> 4)
        if n > end - i or n > limit - o:
            return DAMAGED
        _copy(data, i, out, o, n, end)
        i, o = i + n, o + n
        if i == end:
            return o
        if i + 2 > end:
            return DAMAGED
        at = o - load16(data, i)
        i, n = _length(data, i + 2, end, token & 15)
        n += _MIN_MATCH
        # a block ends in literals
        if i >= end or not first <= at < o or n > limit - o:
            return DAMAGED
        _repeat(out, at, o, n)
        o += n


@njit(cache=True, nogil=True)
def _run(
    data: npt.NDArray[np.uint8], i: int, last: int, out: npt.NDArray[np.uint8], o: int, room: tuple[int, int]
) -> tuple[int, int]:
    """Short sequences for as long as there are such: up to 7 literals and a match, together up to 16 bytes.

    Literals and match become one word: what the match refers to, overlaid with the literals. That way loads mostly ask for just
    what one store before wrote, which the processor can hand over without waiting for its cache.
    """
    first, safe = room
    while i <= last and o <= safe:
        token = load8(data, i)
        n = token >> 4
        total = n + (token & 15) + _MIN_MATCH
        offset = load16(data, i + 1 + n)
        at = o - offset
        if (total > _MARGIN) | (n > _MOST_LITERALS) | (offset < _MARGIN) | (at < first):
            break
        of_match = np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(8 * n)
        word = (load64(out, at) & of_match) | (load64(data, i + 1) & ~of_match)
        second = load64(out, at + 8)
        store64(out, o, word)
        store64(out, o + 8, second)
        i += n + 3
        o += total
    return i, o


@njit(cache=True, nogil=True)
def _length(data: npt.NDArray[np.uint8], i: int, end: int, n: int) -> tuple[int, int]:
    """The next byte to read and a length, whose first 4 bits are `n`; too long for anything where it runs past `end`."""
    if n < _LENGTH_GOES_ON:
        return i, n
    while i < end:
        more = load8(data, i)
        i += 1
        n += more
        if more != _MAX_RATIO:
            return i, n
    return i, _RAW_BLOCK


@njit(cache=True, nogil=True)
def _copy(data: npt.NDArray[np.uint8], i: int, out: npt.NDArray[np.uint8], o: int, n: int, end: int) -> None:
    """`n` literals, in words of 8 bytes as long as `data` has them before `end`; `out` has room for the excess."""
    k = 0
    while k < n and i + k + 8 <= end:
        store64(out, o + k, load64(data, i + k))
        k += 8
    while k < n:
        out[np.uint64(o + k)] = data[np.uint64(i + k)]
        k += 1


@njit(cache=True, nogil=True)
def _repeat(out: npt.NDArray[np.uint8], at: int, o: int, n: int) -> None:
    """`n` bytes from `at` on again at `o`, where both may overlap; there is room for an excess of 7 bytes."""
    k = 0
    if o - at >= 8:
        while k < n:
            store64(out, o + k, load64(out, at + k))
            k += 8
    while k < n:
        out[np.uint64(o + k)] = out[np.uint64(at + k)]
        k += 1
