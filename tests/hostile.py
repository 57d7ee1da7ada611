"""Damage for files: every truncation, and seeded mutations of the kinds that disks, cables and malice make."""

import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from pipeline.schema.errors import SaccadeError
from pipeline.sources.registry import open_recording

EXTREMES = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00", b"#!AE")
# Sizes that a forged length field would name, in both byte orders: nothing, one, negative, just too much, absurd.
LENGTHS = (0, 1, -1, 1 << 15, (1 << 16) - 1, 1 << 24, 1 << 28, (1 << 31) - 1, -(1 << 31))
HEADER_BYTES = 256
_NUMBER = re.compile(rb"\d+")
_CLEAR_PEAK = Path("/proc/self/clear_refs")


def truncations(data: bytes) -> Iterator[bytes]:
    """Every beginning of `data`, the empty one included, the whole excluded."""
    return (data[:n] for n in range(len(data)))


def mutations(data: bytes, n: int, *, seed: int = 0) -> Iterator[bytes]:
    """`n` damaged copies, each with one to three kinds of damage."""
    random = Random(seed)
    for _ in range(n):
        copy = bytearray(data)
        for _ in range(random.randint(1, 3)):
            random.choice(DAMAGE)(copy, random)
            if not copy:
                copy += b"\0"
        yield bytes(copy)


def _flip_bit(copy: bytearray, random: Random) -> None:
    copy[random.randrange(len(copy))] ^= 1 << random.randrange(8)


def _overwrite_word(copy: bytearray, random: Random) -> None:
    at = random.randrange(len(copy))
    copy[at : at + 4] = random.choice(EXTREMES)


def _overwrite_run(copy: bytearray, random: Random) -> None:
    at, length = random.randrange(len(copy)), random.randint(1, 64)
    copy[at : at + length] = random.choice((bytes(length), b"\xff" * length, random.randbytes(length)))


def _cut(copy: bytearray, random: Random) -> None:
    at = random.randrange(len(copy))
    del copy[at : at + random.randint(1, 16)]


def _cut_off_the_end(copy: bytearray, random: Random) -> None:
    del copy[random.randrange(len(copy)) :]


def _insert(copy: bytearray, random: Random) -> None:
    at = random.randrange(len(copy))
    copy[at:at] = random.randbytes(random.randint(1, 16))


def _double(copy: bytearray, random: Random) -> None:
    at = random.randrange(len(copy))
    copy[at:at] = copy[at : at + random.randint(1, 64)]


def _swap(copy: bytearray, random: Random) -> None:
    """Two pieces of equal length change places."""
    length = random.randint(1, max(1, min(32, len(copy) // 2)))
    a, b = random.randrange(len(copy)), random.randrange(len(copy))
    copy[a : a + length], copy[b : b + length] = copy[b : b + length], copy[a : a + length]


def _edit_header(copy: bytearray, random: Random) -> None:
    """A number written in the header becomes another, or a byte of it any other; the header is where most is decided."""
    numbers = list(_NUMBER.finditer(copy[:HEADER_BYTES]))
    if numbers and random.random() < 0.7:
        found = random.choice(numbers)
        copy[found.start() : found.end()] = str(random.choice((0, 1, -1, 7, 70000, 10**9, 10**30))).encode()
    else:
        copy[random.randrange(min(len(copy), HEADER_BYTES))] = random.randrange(256)


def _forge_length(copy: bytearray, random: Random) -> None:
    """A field of 2, 4 or 8 bytes, where fields use to lie, names another size."""
    width = random.choice((2, 4, 8))
    at = random.randrange(0, len(copy), 2)
    value = random.choice(LENGTHS) % (1 << 8 * width)
    copy[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))


DAMAGE: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip_bit, _overwrite_word, _overwrite_run, _cut, _cut_off_the_end, _insert, _double, _swap, _edit_header, _forge_length,
)  # fmt: skip


@contextmanager
def limited_memory(limit_bytes: int, what: str = "", *, is_traced: bool = True) -> Iterator[None]:
    """Fail, naming `what` was done, when the body fills more memory than this, or asks Python for more than this.

    Filled memory is known on Linux only, that of libraries in C included; asked-for memory only where `is_traced`.
    """
    resident = _resident_bytes("VmRSS") if _reset_resident_peak() else 0
    if is_traced:
        tracemalloc.start()
    try:
        yield
        asked = tracemalloc.get_traced_memory()[1] if is_traced else 0
    finally:
        tracemalloc.stop()
    assert asked <= limit_bytes, what
    if resident:
        assert _resident_bytes("VmHWM") - resident <= limit_bytes, what


def _reset_resident_peak() -> bool:
    try:
        _CLEAR_PEAK.write_text("5")
    except OSError:
        return False
    return True


def _resident_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return 0


def read_or_refuse(path: Path, data: bytes, **options: Any) -> int:
    """Read a damaged file as far as it goes, checking every event; gives how many there were."""
    # a new file each time: some file systems wait for the disk when an old one is overwritten
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    last, n = -(1 << 63), 0
    try:
        with open_recording(path, **options) as source:
            for events in source.packets():
                if events.size == 0:
                    continue
                assert events["x"].max() < source.info.sensor_size.width
                assert events["y"].max() < source.info.sensor_size.height
                assert events["p"].max() <= 1
                assert events["t"][0] >= last
                assert (np.diff(events["t"]) >= 0).all()
                last, n = events["t"][-1], n + events.size
            source.report()
            source.take_triggers()
    except SaccadeError:
        return n
    return n
