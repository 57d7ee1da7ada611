"""Logs read back by parsers of their own, and the picture of the curves."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pipeline.schema.errors import InputError
from training.curves import draw_curves, means, write_curves
from training.logs import crc32c, event_file, log_lines, read_lines


def _line(step: int, loss: float = 0.5) -> dict[str, float]:
    return {"epoch": 0, "step": step, "n_steps": 9, "loss": loss, "accuracy": 0.25, "rate": 1e-3, "seconds": 1.0}


def test_lines_are_json_and_a_resumed_log_forgets_the_steps_that_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "log.jsonl"
    write = log_lines(path)
    for step in (1, 2, 3, 4):
        write(_line(step))
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # killed in the middle of a line
    write = log_lines(path, n_steps_kept=2)
    write(_line(3, loss=0.125))
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert [line["loss"] for line in read_lines(path)] == [0.5, 0.5, 0.125]
    log_lines(path)
    assert path.read_text() == ""


def test_a_line_in_the_middle_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 2"):
        list(read_lines(path))


def test_checksum_is_castagnolis() -> None:
    # RFC 3720, B.4, and the check value of the CRC catalogue
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif wire == 2:
            size, at = _varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        else:
            size = 8 if wire == 1 else 4
            yield key >> 3, struct.unpack("<d" if wire == 1 else "<f", data[at : at + size])[0]
            at += size


def _events(path: Path) -> Iterator[dict[int, int | float | bytes]]:
    data = path.read_bytes()
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        yield dict(_fields(data[12 : 12 + size]))
        data = data[12 + size + 4 :]


def test_event_file_holds_a_version_a_start_and_the_scalars_of_each_step(tmp_path: Path) -> None:
    write = event_file(tmp_path / "board")
    write(_line(300, loss=0.75))
    (path,) = (tmp_path / "board").glob("events.out.tfevents.*")
    version, start, scalars = _events(path)
    assert version[3] == b"brain.Event:2"
    assert (start[2], start[7]) == (1, b"\x08\x01")
    assert scalars[2] == 300
    assert isinstance(scalars[5], bytes)
    values = [dict(_fields(value)) for _, value in _fields(scalars[5]) if isinstance(value, bytes)]
    assert {value[1]: value[2] for value in values} == {
        b"train/loss": 0.75,
        b"train/accuracy": 0.25,
        b"train/rate": pytest.approx(1e-3),
    }


def test_a_resumed_training_begins_another_event_file_at_its_step(tmp_path: Path) -> None:
    event_file(tmp_path)(_line(1))
    event_file(tmp_path, n_steps_kept=40)(_line(41))
    files = sorted(tmp_path.glob("events.out.tfevents.*"), key=lambda path: path.suffix)
    assert len(files) == 2
    assert [next(event[2] for event in _events(path) if 7 in event) for path in files] == [1, 41]


def test_curves_are_a_picture_of_what_the_log_says(tmp_path: Path) -> None:
    log, picture = tmp_path / "log.jsonl", tmp_path / "log.svg"
    log.write_text("".join(json.dumps(_line(step, 1.0 / step)) + "\n" for step in range(1, 1001)))
    assert write_curves(log, picture)
    root = ET.fromstring(picture.read_text())
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    texts = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert len(lines) == 3
    assert {"loss", "accuracy of the batch", "learning rate", "step 1,000"} <= set(texts)
    points = [point.split(",") for point in lines[0].get("points", "").split()]
    assert len(points) == 200
    heights = [float(y) for _, y in points]
    assert heights == sorted(heights)  # a falling loss goes down, where y grows


def test_points_of_a_curve_are_means_of_neighbours() -> None:
    points = [(float(step), float(step % 2)) for step in range(400)]
    assert means(points)[:2] == [(0.5, 0.5), (2.5, 0.5)]
    assert means(points[:3]) == points[:3]


def test_an_empty_log_has_no_curves(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    assert not write_curves(tmp_path / "log.jsonl", tmp_path / "log.svg")
    assert not (tmp_path / "log.svg").exists()


def test_a_log_of_one_step_is_drawn() -> None:
    assert "polyline" in draw_curves([_line(1)])


def test_a_curve_leaves_out_the_steps_that_lack_its_value() -> None:
    lines = [_line(1), {**_line(2), "gradient": 2.5}, _line(3)]
    picture = draw_curves(lines)
    assert picture.count("<polyline") == 4
    assert picture.count(">2.5<") == 1
    assert draw_curves([_line(1)]).count("<polyline") == 3
