"""One small whole recording of every format that can be read, built byte by byte, to be damaged by the tests."""

import io
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import recording_bytes as layout
import ros_bytes as ros

ROWS = [(1000 * i, i % 32, i % 24, i % 2) for i in range(40)]
T, X, Y, P = np.array(ROWS).T
# Four messages of ten events.
_FOUR = [ROWS[i : i + 10] for i in range(0, 40, 10)]


class Small(NamedTuple):
    """A whole recording of `n_events`; `ending` and `options` are what it cannot be opened without.

    `is_streamed`: a beginning of the file holds a beginning of its events. `stride`: of the beginnings every so manieth is
    tried, where a page of the container is much longer than what it holds.
    """

    data: bytes
    n_events: int = len(ROWS)
    ending: str = ""
    options: dict[str, Any] = {}  # noqa: RUF012 # never changed
    is_streamed: bool = True
    stride: int = 1


def _aedat1(header: bytes) -> Small:
    records = b"".join(struct.pack(">HI", layout.dvs128_address(x, y, p), t) for t, x, y, p in ROWS)
    return Small(header + records, options={} if header else {"format": "aedat1"})


def _aedat2() -> Small:
    return Small(layout.aedat2([(layout.dvs128_address(x, y, p), t) for t, x, y, p in ROWS]))


def _aedat2_davis() -> Small:
    """Pixel samples and words of the inertial sensor stand between the events."""
    records = [(layout.davis240_address(x, y, p), t) for t, x, y, p in ROWS]
    for at in (30, 20, 10):
        records[at:at] = [(1 << 31 | 77, records[at][1]), (0x80000C00 | 1 << 28, records[at][1])]
    return Small(layout.aedat2(records, chip=layout.DAVIS240_CHIP))


def _aedat3() -> Small:
    return Small(
        layout.AEDAT3_HEADER
        + layout.packet3([layout.special(0, 1)], kind=0)
        + layout.packet3([layout.polarity(t, x, y, p) for t, x, y, p in ROWS[:20]])
        + layout.packet3([b"\7" * 50], kind=2)
        + layout.packet3([layout.polarity(t, x, y, p) for t, x, y, p in ROWS[20:]], overflow=1)
    )


def _aedat4_triggers() -> Small:
    xml = layout.info_node({0: "EVTS", 1: "TRIG"})
    triggers = layout.packet4(layout.triggers4([(10, 1), (20_500, 2), (30_000, 8)]), stream=1)
    packets = [layout.packet4(layout.events4(ROWS[:20])), triggers, layout.packet4(layout.events4(ROWS[20:]))]
    return Small(layout.aedat4(packets, xml=xml))


def _aedat4(compression: int, *, table: bool = True) -> Small:
    packets = [layout.packet4(layout.events4(rows), compression=compression) for rows in (ROWS[:20], ROWS[20:])]
    return Small(layout.aedat4(packets, compression=compression, table=table))


def _evt2() -> Small:
    words = []
    for t, x, y, p in ROWS:
        words += [0x8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y]
    words[30:30] = [0xA << 28 | 1, 0xE << 28 | 0x14, 0xF << 28 | 5, 0xD << 28]
    return Small(b"% evt 2.0\n% format EVT2;height=24;width=32\n% end\n" + struct.pack(f"<{len(words)}I", *words))


def _evt21(order: str) -> Small:
    words = []
    for t, x, y, p in ROWS:
        words += [(0x8 << 28 | t >> 6, 0), (p << 28 | (t & 63) << 22 | x << 11 | y, 1)]
    halves = [half for word in words for half in (reversed(word) if order == "little" else word)]
    header = f"% evt 2.1\n% format EVT21;height=24;width=64;endianness={order}\n% end\n".encode()
    return Small(header + struct.pack(f"<{len(halves)}I", *halves))


def _evt3() -> Small:
    """Single pixels, and behind them a whole group of vectors, monitor words, a trigger and padding."""
    words = []
    for t, x, y, p in ROWS[:28]:
        words += [0x8000 | t >> 12, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x]
    words += [0xE014, 0xF123, 0xF456, 0x7001, 0xA601, 0x9999, 0x3000, 0x4249, 0x4249, 0x5049]
    words += [0x3800, 0x4001]
    return Small(
        b"% evt 3.0\n% format EVT3;height=24;width=32\n% end\n" + struct.pack(f"<{len(words)}H", *words), n_events=28 + 11 + 1
    )


def _evt4() -> Small:
    """Single events, vectors, a trigger, monitor words and padding."""
    words = []
    for t, x, y, p in ROWS:
        kind, place = 0xA + p, (t & 63) << 22 | x << 11 | y
        words += [0xE << 28 | t >> 6, *([kind << 28 | place] if x % 2 else [kind + 2 << 28 | place, 1])]
    words += [0x9 << 28 | 1, 0x6 << 28 | 0x14, 0x7 << 28 | 5, 0xFFFFFFFF]
    return Small(b"% format EVT4;height=24;width=32\n% end\n" + struct.pack(f"<{len(words)}I", *words))


def _dat(kind: int) -> Small:
    records = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in ROWS)
    return Small(b"% Version 2\n% Height 24\n% Width 32\n% end\n" + bytes([kind, 8]) + records)


def _aedat30() -> Small:
    events = [struct.pack("<Ii", x << 18 | (127 - y) << 4 | p << 1 | 1, t) for t, x, y, p in ROWS]
    header = b"#!AER-DAT3.0\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    return Small(header + layout.packet3(events[:25]) + layout.packet3(events[25:], capacity=20))


def _dat_triggers() -> Small:
    records = b"".join(struct.pack("<II", t, 6 << 26 | p) for t, _, _, p in ROWS)
    return Small(b"% Version 2\n% Height 24\n% Width 32\n% end\n" + bytes([14, 8]) + records, n_events=0)


def _dat_flow() -> Small:
    records = b"".join(struct.pack("<IIffffI", t, p << 28 | y << 14 | x, 1.0, -1.0, 3.0, 4.0, t) for t, x, y, p in ROWS)
    return Small(b"% Version 2\n% Height 24\n% Width 32\n% end\n" + bytes([40, 28]) + records)


def _kaer() -> Small:
    return Small(b"".join(struct.pack("<II", t, p << 17 | y << 9 | x) for t, x, y, p in ROWS), options={"format": "dat"})


def _es() -> Small:
    body = b""
    for _, x, y, p in ROWS:
        body += b"\xff" * 7 + bytes([111 << 1 | p]) + struct.pack("<HH", x, 23 - y)
    return Small(b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", 32, 24) + body)


def _bin40() -> Small:
    return Small(b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in ROWS), ending=".bin")


def _text() -> Small:
    return Small("".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in ROWS).encode())


def _table() -> Small:
    return Small(b"t,x,y,p\n" + b"".join(b"%d,%d,%d,%d\n" % row for row in ROWS))


def _npz(save: Callable[..., None]) -> Small:
    buffer = io.BytesIO()
    save(buffer, t=T, x=X, y=Y, p=P, width=32, height=24)
    return Small(buffer.getvalue(), is_streamed=False)


def _hdf5(write: Callable[[Any], None], *, version: str = "earliest", stride: int = 1) -> Small:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=version) as file:
        write(file)
    return Small(buffer.getvalue(), is_streamed=False, stride=stride)


def _write_plain(file: Any) -> None:
    for name, column in (("t", T), ("x", X.astype(np.uint16)), ("y", Y.astype(np.uint16)), ("p", P.astype(np.uint8))):
        file.create_dataset(f"events/{name}", data=column, chunks=(20,), compression="gzip")


def _write_dsec(file: Any) -> None:
    for name, column in (
        ("t", T.astype(np.uint32)),
        ("x", X.astype(np.uint16)),
        ("y", Y.astype(np.uint16)),
        ("p", P.astype(np.uint8)),
    ):
        file[f"events/{name}"] = column
    file["t_offset"] = 1_000_000
    file["ms_to_idx"] = np.arange(41, dtype=np.uint64)


def _ecf_chunk(rows: list[tuple[int, int, int, int]]) -> bytes:
    """Events whose times are 1 ms apart (a long step of three bytes), coded one by one."""
    times = b"\x01" + bytes((0xF8, 0xFE, 0x31)) * (len(rows) - 1)
    y = b"".join(struct.pack("<H", y << 5 | 1) for _, _, y, _ in rows)
    x = b"".join(struct.pack("<H", x << 5) for _, x, _, _ in rows)
    return struct.pack("<IQ", len(rows) << 2, rows[0][0]) + times + y + x + bytes(p << 7 | 1 for *_, p in rows)


def _write_ecf(file: Any, geometry: str | bytes = np.bytes_(b"32x24")) -> None:
    """A geometry of type str lies in a heap of its own, one of type bytes does not."""
    import h5py

    file.attrs["geometry"] = geometry
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((16,))
    creation.set_filter(36559, h5py.h5z.FLAG_OPTIONAL)
    fields = {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16}
    space = h5py.h5s.create_simple((len(ROWS),), (h5py.h5s.UNLIMITED,))
    group = file.create_group("CD")
    dataset = h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(np.dtype(fields)), space, creation)
    for at in range(0, len(ROWS), 16):
        dataset.write_direct_chunk((at,), _ecf_chunk(ROWS[at : at + 16]), 0)


# Builders, for some need packages that may be absent.
SMALL: dict[str, Callable[[], Small]] = {
    "aedat1": lambda: _aedat1(b"#!AER-DAT1.0\r\n# a line\r\n"),
    "aedat1-headerless": lambda: _aedat1(b""),
    "aedat2": _aedat2,
    "aedat2-davis": _aedat2_davis,
    "aedat3": _aedat3,
    "aedat30": _aedat30,
    "aedat4-none": lambda: _aedat4(0),
    "aedat4-lz4": lambda: _aedat4(1),
    "aedat4-zstd": lambda: _aedat4(3),
    "aedat4-triggers": _aedat4_triggers,
    "aedat4-crashed": lambda: _aedat4(0, table=False),
    "evt2": _evt2,
    "evt21-little": lambda: _evt21("little"),
    "evt21-legacy": lambda: _evt21("legacy"),
    "evt3": _evt3,
    "evt4": _evt4,
    "dat": lambda: _dat(12),
    "dat-2d": lambda: _dat(0),
    "dat-triggers": _dat_triggers,
    "dat-flow": _dat_flow,
    "dat-kaer": _kaer,
    "es": _es,
    "bin40": _bin40,
    "text": _text,
    "text-table": _table,
    "npz": lambda: _npz(np.savez),
    "npz-packed": lambda: _npz(np.savez_compressed),
    "hdf5-plain": lambda: _hdf5(_write_plain, version="latest"),
    "hdf5-dsec": lambda: _hdf5(_write_dsec),
    "hdf5-ecf": lambda: _hdf5(_write_ecf),
    "hdf5-heap": lambda: _hdf5(lambda file: _write_ecf(file, "32x24"), stride=5),
    "ros-bag": lambda: Small(ros.bag1([ros.packet_ros1(part, seq=i) for i, part in enumerate(_FOUR)])),
    "ros-bag-packed": lambda: Small(ros.bag1([ros.packet_ros1(part, seq=i) for i, part in enumerate(_FOUR)], is_packed=True)),
    "ros-mcap": lambda: Small(ros.mcap([ros.packet_cdr(part, seq=i) for i, part in enumerate(_FOUR)])),
    "ros-mcap-packed": lambda: Small(ros.mcap([ros.packet_cdr(part, seq=i) for i, part in enumerate(_FOUR)], is_packed=True)),
    "ros-sqlite": lambda: Small(
        ros.db3([ros.packet_cdr(part, seq=i) for i, part in enumerate(_FOUR)]), is_streamed=False, stride=8
    ),
}
