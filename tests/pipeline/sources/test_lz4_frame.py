"""Frames unpacked by our own code against the library that packed them, and frames that lie."""

from contextlib import suppress

import lz4.frame
import numpy as np
import pytest
from builders import random_events
from hostile import mutations

from pipeline.sources.aedat4_tables import write_events
from pipeline.sources.lz4_frame import DAMAGED, NOT_PLAIN, SLACK_BYTES, bound, unpack_frame

CANARY = 0xA5
SIZES = (
    lz4.frame.BLOCKSIZE_MAX64KB,
    lz4.frame.BLOCKSIZE_MAX256KB,
    lz4.frame.BLOCKSIZE_MAX1MB,
    lz4.frame.BLOCKSIZE_MAX4MB,
)


def unpack(frame: bytes) -> bytes | int:
    """The content, or what `bound` or `unpack_frame` say instead; nothing behind the room may be written to."""
    data = np.frombuffer(frame, dtype=np.uint8)
    n_bytes = bound(data, 0, data.size)
    if n_bytes < 0:
        return n_bytes
    out = np.full(n_bytes + SLACK_BYTES + 64, CANARY, dtype=np.uint8)
    n = unpack_frame(data, 0, out[: n_bytes + SLACK_BYTES])
    assert (out[n_bytes + SLACK_BYTES :] == CANARY).all()
    assert n <= n_bytes
    return out[:n].tobytes() if n >= 0 else n


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    words = [rng.bytes(int(n)) for n in rng.integers(1, 40, 50)]
    steps = np.cumsum(rng.integers(0, 20, 20_000)).astype("<i8")
    columns = np.column_stack([steps, rng.integers(0, 1 << 20, 20_000)]).astype("<i8")
    return {
        "nothing": b"",
        "a byte": b"x",
        "zeros": b"\0" * 300_000,
        "noise": rng.bytes(200_000),
        "text of repeated words": b"".join(words[i] for i in rng.integers(0, 50, 20_000)),
        "short distances": b"".join(bytes([i % 7]) * (i % 23) + b"ab" * (i % 9) for i in range(9000)),
        "rows of events": columns.tobytes(),
        "noise, then zeros, then the noise again": (noise := rng.bytes(30_000)) + b"\0" * 70_000 + noise,
    }


CONTENTS = contents()


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("is_linked", [True, False])
def test_content_of_every_plain_frame_comes_back(name: str, is_linked: bool) -> None:
    for size in SIZES:
        for level in (0, 9):
            frame = lz4.frame.compress(
                CONTENTS[name], compression_level=level, block_size=size, block_linked=is_linked, store_size=False
            )
            assert unpack(frame) == CONTENTS[name]


@pytest.mark.parametrize(
    "options",
    [{"store_size": True}, {"store_size": False, "content_checksum": True}, {"store_size": False, "block_checksum": True}],
)
def test_frames_with_checksums_or_a_size_are_left_to_the_library(options: dict[str, bool]) -> None:
    assert unpack(lz4.frame.compress(CONTENTS["zeros"], **options)) == NOT_PLAIN


def test_other_bytes_and_damaged_heads_are_not_plain() -> None:
    frame = bytearray(lz4.frame.compress(b"events", store_size=False))
    frame[6] ^= 1  # checksum of the head
    for damaged in (bytes(frame), b"", b"\x04\x22\x4d\x18", b"no frame at all"):
        assert unpack(damaged) == NOT_PLAIN


def test_every_cut_is_damage() -> None:
    frame = lz4.frame.compress(CONTENTS["short distances"][:3000], store_size=False)
    for cut in range(11, len(frame)):
        assert unpack(frame[:cut]) == DAMAGED


@pytest.mark.parametrize("block", [
    b"\x10a\x00\x00\x00",  # a match 0 bytes back
    b"\x10a\x02\x00\x00",  # a match before the content
    b"\x10a\x01\x00",  # ends in a match
    b"\xf0\xff",  # a length that goes on behind the end
    b"\x20a",  # fewer literals than said
    b"\x10a\x01",  # ends within the distance
])  # fmt: skip
def test_blocks_that_point_outside_are_damaged(block: bytes) -> None:
    head = lz4.frame.compress(b"", store_size=False)[:7]
    assert unpack(head + len(block).to_bytes(4, "little") + block + bytes(4)) == DAMAGED


def test_block_that_unpacks_to_more_than_its_frame_allows_is_damaged() -> None:
    # 1 literal, then a match of 19 + 400 * 255 bytes: beyond the 64 KiB of a block
    block = b"\x1fa\x01\x00" + b"\xff" * 400 + b"\x00\x50abcde"
    head = lz4.frame.compress(b"", block_size=lz4.frame.BLOCKSIZE_MAX64KB, store_size=False)[:7]
    assert unpack(head + len(block).to_bytes(4, "little") + block + bytes(4)) == DAMAGED


def test_mutated_frames_never_write_outside_their_room_and_agree_with_the_library() -> None:
    frame = lz4.frame.compress(write_events(random_events(300)), store_size=False)
    n_damaged = n_unpacked = 0
    for damaged in mutations(frame, 1500, seed=5):
        ours = unpack(damaged)
        n_damaged += ours == DAMAGED
        if isinstance(ours, bytes):
            # the library asks for five literals at the end, so that it refuses a little more
            with suppress(RuntimeError, EOFError):
                assert ours == lz4.frame.LZ4FrameDecompressor().decompress(damaged)
                n_unpacked += 1
    assert n_damaged > 100
    assert n_unpacked > 50
