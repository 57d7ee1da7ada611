"""Unpacking and packing of one LZ4 or Zstandard frame, with a bound on what comes out. Knows no recording format."""

from typing import Literal

import lz4.frame
import zstandard

from pipeline.schema.errors import InputError

Method = Literal["none", "lz4", "zstd"]

# Larger than any packet that cameras or writers make (1 MiB and below), small enough that a forged one, of which pieces and
# whole may exist at once, costs no more than 64 MB.
MAX_UNPACKED_BYTES = 1 << 25
_STEP_BYTES = 1 << 20
_LZ4_LEVEL = 0
_ZSTD_LEVEL = 3


def unpack(payload: bytes, method: Method, limit: int = MAX_UNPACKED_BYTES) -> bytes:
    """The content of one whole compressed frame; InputError if it is damaged, cut off, or larger than `limit` bytes."""
    if method == "none":
        return payload
    try:
        return _unpack_lz4(payload, limit) if method == "lz4" else _unpack_zstd(payload, limit)
    except (RuntimeError, ValueError, EOFError, MemoryError, zstandard.ZstdError) as error:
        raise InputError(f"a {method} packet of {len(payload)} bytes is damaged: {error}") from None


def pack(content: bytes, method: Method) -> bytes:
    """One compressed frame."""
    if method == "lz4":
        return bytes(lz4.frame.compress(content, compression_level=_LZ4_LEVEL, store_size=False))
    if method == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)
    return content


class ZstdUnpacker:
    """Unpacks Zstandard frames that tell their size, with what the library set up for the first; not for several threads."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_UNPACKED_BYTES)

    def size_of(self, payload: memoryview) -> int:
        """Bytes that a frame says it unpacks to; 0 if it does not say, InputError if that is beyond all bounds."""
        try:
            claimed: int = zstandard.frame_content_size(payload)
        except zstandard.ZstdError as error:
            raise InputError(f"a zstd packet of {len(payload)} bytes is damaged: {error}") from None
        if claimed > MAX_UNPACKED_BYTES:
            raise InputError(f"a packet claims to unpack to {claimed} bytes; it is damaged")
        return max(claimed, 0)

    def unpack_into(self, payload: memoryview, room: memoryview) -> int:
        """Unpack a frame to the beginning of `room`, one byte more than it claims; InputError if it is not so many."""
        try:
            with self._decompressor.stream_reader(payload) as reader:
                n: int = reader.readinto(room)
        except zstandard.ZstdError as error:
            raise InputError(f"a zstd packet of {len(payload)} bytes is damaged: {error}") from None
        if n != len(room) - 1:
            raise InputError(f"a packet claims to unpack to {len(room) - 1} bytes, but {n} came out; it is damaged")
        return n


def _unpack_lz4(payload: bytes, limit: int) -> bytes:
    """In steps, because the library allocates what it is told to, and frames may lie about their size."""
    with lz4.frame.LZ4FrameDecompressor() as decompressor:
        first: bytes = decompressor.decompress(payload, max_length=_STEP_BYTES)
        pieces, size = [first], len(first)
        while not decompressor.eof and pieces[-1]:
            pieces.append(decompressor.decompress(b"", max_length=_STEP_BYTES))
            size += len(pieces[-1])
            if size > limit:
                raise InputError(f"a packet unpacks to more than {limit} bytes; it is damaged")
        if not decompressor.eof:
            raise EOFError("it ends too early")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unpack_zstd(payload: bytes, limit: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=limit)
    claimed = zstandard.frame_content_size(payload)
    if claimed > limit:
        raise InputError(f"a packet claims to unpack to {claimed} bytes; it is damaged")
    if claimed >= 0:
        return decompressor.decompress(payload)
    with decompressor.stream_reader(payload) as reader:
        content = reader.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"a packet unpacks to more than {limit} bytes; it is damaged")
    return content
