"""Damage for files: every truncation, and seeded mutations of the kinds that disks, cables and malice make."""

from collections.abc import Iterator

import numpy as np

EXTREMES = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00", b"#!AE")


def truncations(data: bytes) -> Iterator[bytes]:
    """Every beginning of `data`, the empty one included, the whole excluded."""
    return (data[:n] for n in range(len(data)))


def mutations(data: bytes, n: int, *, seed: int = 0) -> Iterator[bytes]:
    """`n` damaged copies: flipped bits, overwritten words, pieces cut out, doubled, or swapped with noise."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        copy = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(0, len(copy)))
            length = int(rng.integers(1, 17))
            match int(rng.integers(0, 5)):
                case 0:
                    copy[at] ^= 1 << int(rng.integers(0, 8))
                case 1:
                    copy[at : at + 4] = EXTREMES[int(rng.integers(0, len(EXTREMES)))]
                case 2:
                    del copy[at : at + length]
                    copy = copy or bytearray(b"\0")
                case 3:
                    copy[at:at] = copy[at : at + length]
                case _:
                    copy[at : at + length] = rng.bytes(length)
        yield bytes(copy)
