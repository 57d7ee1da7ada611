"""What a file is, judged by its first bytes and never by its name; also names what we cannot read. Opens nothing."""

import re
from typing import Literal, NamedTuple

Reader = Literal["aedat1", "aedat2", "aedat3", "aedat4", "npz", "raw", "dat", "es", "hdf5", "text", "bin40", "ros"]

# Bytes wanted by `identify`; the keys of a Prophesee header lie within.
HEAD_BYTES = 4096


class Signature(NamedTuple):
    """`reader` is None where we cannot read it; `found` says what it is and `way_out` what can be done about it.

    `is_unknown`: the bytes tell nothing, so that a format without a signature may be asked whether they are its own.
    """

    reader: Reader | None
    found: str
    way_out: str = ""
    is_unknown: bool = False


_NOT_YET = (
    "this version reads AEDAT 1.0, 2.0, 3.x and 4.0, Prophesee RAW and DAT, HDF5, Event Stream, text, N-MNIST .bin, npz and "
    "ROS bags; convert it with the program that wrote it"
)
_NO_RECORDING = "this is no event recording"

_READABLE: dict[bytes, tuple[Reader, str]] = {
    b"#!AER-DAT1.0": ("aedat1", "AEDAT 1.0"),
    b"#!AER-DAT2.0": ("aedat2", "AEDAT 2.0"),
    b"#!AER-DAT3.0": ("aedat3", "AEDAT 3.0"),
    b"#!AER-DAT3.1": ("aedat3", "AEDAT 3.1"),
    b"#!AER-DAT4.0\r\n": ("aedat4", "AEDAT 4.0"),
    b"PK\x03\x04": ("npz", "npz"),
    b"Event Stream": ("es", "Event Stream (.es)"),
    b"\x89HDF\r\n\x1a\n": ("hdf5", "HDF5"),
    b"#ROSBAG V2.0\n": ("ros", "a ROS 1 bag"),
    b"\x89MCAP0\r\n": ("ros", "MCAP (a ROS 2 bag)"),
    b"SQLite format 3\0": ("ros", "an SQLite database (perhaps a ROS 2 bag)"),
}
_FOREIGN = (
    (
        b"#!AER-DAT4.0",
        "a damaged AEDAT 4 file (its first line does not end in CR LF)",
        "it was changed by a text-mode transfer",
    ),
    (b"#!AER-DAT", "an AEDAT file of an unknown version", _NOT_YET),
    (b"#ROSBAG V", "a ROS bag of an old version", "convert it with rosbag migration (rosbag fix)"),
    (b"\x93NUMPY", "a single numpy array (.npy)", "save t, x, y and p together with numpy.savez"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", _NO_RECORDING),
    (b"\xff\xd8\xff", "a JPEG picture", _NO_RECORDING),
    (b"GIF8", "a GIF picture", _NO_RECORDING),
    (b"RIFF", "RIFF (an AVI film or a sound)", _NO_RECORDING),
    (b"\x1aE\xdf\xa3", "Matroska or WebM (a film)", _NO_RECORDING),
    (b"%PDF", "a PDF document", _NO_RECORDING),
    (b"\x7fELF", "a program", _NO_RECORDING),
    (b"\x1f\x8b", "gzip", "unpack it with gunzip first"),
    (b"BZh", "bzip2", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ\0", "xz", "unpack it with unxz first"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unpack it with zstd -d first"),
    (b"\x04\x22\x4d\x18", "LZ4", "unpack it with lz4 -d first"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with git lfs pull"),
)
_PROPHESEE_KEYS = (b"evt", b"format", b"geometry", b"system_ID", b"integrator_name", b"camera_integrator_name", b"plugin_name")
_RAW_FORMATS = (b"EVT2", b"EVT21", b"EVT3", b"EVT4")
_RAW_VERSIONS = (b"2.0", b"2.1", b"3.0", b"4.0")
_RAW_WAY_OUT = "of the encodings of Prophesee RAW, this version reads EVT2, EVT2.1, EVT3 and EVT4"
_DAT_KEYS = (b"Version", b"Height", b"Width", b"Data file containing")


def identify(head: bytes) -> Signature:
    """What a file is, from its first `HEAD_BYTES` bytes (fewer if it is shorter)."""
    if not head:
        return Signature(None, "an empty file", "nothing was recorded, or the copy failed")
    for magic, (reader, name) in _READABLE.items():
        if head.startswith(magic):
            return Signature(reader, name)
    for magic, found, way_out in _FOREIGN:
        if head.startswith(magic):
            return Signature(None, found, way_out)
    if len(head) < len(b"#!AER-DAT4.0") and b"#!AER-DAT4.0".startswith(head[:9]):
        return Signature(None, f"the first {len(head)} bytes of an AEDAT file", "it was cut off within its first line")
    if head.startswith(b"%"):
        return _prophesee(head)
    if head[4:8] == b"ftyp":
        return Signature(None, "MPEG-4 or QuickTime (a film)", _NO_RECORDING)
    return _text_or_bytes(head)


def _prophesee(head: bytes) -> Signature:
    lines = [line[1:].strip() for line in head.split(b"\n") if line.startswith(b"%")]
    keys = [line.partition(b" ") for line in lines]
    named = {key: value.partition(b";")[0] for key, _, value in reversed(keys) if key in (b"format", b"evt")}
    for key, readable, prefix in ((b"format", _RAW_FORMATS, ""), (b"evt", _RAW_VERSIONS, "EVT")):
        if key in named:
            found = f"Prophesee RAW ({prefix}{_plain(named[key]).removesuffix('.0')})"
            return Signature("raw", found) if named[key] in readable else Signature(None, found, _RAW_WAY_OUT)
    if any(line.startswith(_DAT_KEYS) for line in lines):
        return Signature("dat", "Prophesee DAT")
    if any(key in _PROPHESEE_KEYS for key, _, _ in keys):
        return Signature("raw", "Prophesee RAW")
    return _text_or_bytes(head)


def _plain(text: bytes) -> str:
    return re.sub(r"[^\x21-\x7e]", "", text.decode("latin-1"))[:20]


def _text_or_bytes(head: bytes) -> Signature:
    if not head.strip(b"\0"):
        return Signature(None, "nothing but zero bytes", "the recording was never written to the disk")
    if all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head):
        first = head.lstrip().split(b"\n")[0].decode("utf-8", errors="replace").strip()[:40]
        return Signature("text", f"text that begins {first!r}")
    return Signature(None, f"unknown content that begins with the bytes {head[:8].hex(' ')}", _NOT_YET, is_unknown=True)
