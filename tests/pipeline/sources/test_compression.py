"""Frames that lie about their size."""

import lz4.frame
import pytest
import zstandard

from pipeline.schema.errors import InputError
from pipeline.sources.compression import Method, ZstdUnpacker, pack, unpack


@pytest.mark.parametrize("method", ["none", "lz4", "zstd"])
def test_content_comes_back(method: Method) -> None:
    for content in (b"", b"events", b"events" * 1_000_000):
        assert unpack(pack(content, method), method) == content


@pytest.mark.parametrize("method", ["lz4", "zstd"])
def test_more_than_the_limit_is_refused(method: Method) -> None:
    with pytest.raises(InputError, match="damaged"):
        unpack(pack(b"\0" * 10_000_000, method), method, limit=9_999_999)


def test_zstd_frame_without_a_size_is_bounded_too() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * 1000)
    assert unpack(frame, "zstd") == b"\0" * 1000
    with pytest.raises(InputError, match="damaged"):
        unpack(frame, "zstd", limit=999)


@pytest.mark.parametrize("method", ["lz4", "zstd"])
def test_cut_or_foreign_frames_are_refused(method: Method) -> None:
    frame = pack(bytes(range(256)) * 40, method)
    for damaged in (b"", frame[:3], frame[:-1], b"no frame at all"):
        with pytest.raises(InputError):
            unpack(damaged, method)


def test_lz4_frame_with_dependent_blocks_and_checksums_is_read() -> None:
    content = bytes(range(256)) * 4096
    frame = lz4.frame.compress(content, block_linked=True, content_checksum=True, block_checksum=True)
    assert unpack(frame, "lz4") == content


def test_zstd_frames_are_unpacked_one_after_the_other_into_one_room() -> None:
    unpacker = ZstdUnpacker()
    room = bytearray(1 << 12)
    for content in (b"one" * 500, b"two"):
        frame = memoryview(pack(content, "zstd"))
        assert unpacker.size_of(frame) == len(content)
        n = unpacker.unpack_into(frame, memoryview(room)[: len(content) + 1])
        assert bytes(room[:n]) == content


def test_zstd_frame_that_ends_early_is_refused_and_the_next_one_is_read() -> None:
    unpacker = ZstdUnpacker()
    frame = memoryview(pack(bytes(range(256)) * 8, "zstd"))
    room = memoryview(bytearray(2049))
    with pytest.raises(InputError):
        unpacker.unpack_into(frame[:-3], room)
    with pytest.raises(InputError, match="claims to unpack to 99 bytes"):
        unpacker.unpack_into(frame, room[:100])
    assert unpacker.unpack_into(frame, room) == 2048
