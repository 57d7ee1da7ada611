"""Frames that lie about their size."""

import lz4.frame
import pytest
import zstandard

from pipeline.schema.errors import InputError
from pipeline.sources.compression import Method, pack, unpack


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
