"""render from the outside: pictures of a recording, captions under them, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recording_bytes import AEDAT3_HEADER, aedat2, aedat4, dvs128_address

from app.commands.rendering import Captions, Looks, render
from app.reading import Reading, Span
from pipeline.rendering.footer import footer_height
from pipeline.schema.errors import SaccadeError, UsageError

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra video)")

# a dot that walks through the first row, one pixel a millisecond, ON and OFF in turn
RECORDS = [(dvs128_address(i, 0, i % 2), 7_000_000 + 1000 * i) for i in range(100)]
GROUND = (10, 13, 18)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2(RECORDS))
    return path


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def lit_columns(picture: np.ndarray, scale: int = 1) -> list[int]:
    row = picture[scale // 2, scale // 2 :: scale]
    return np.flatnonzero((np.abs(row.astype(int) - GROUND) > 40).any(axis=1)).tolist()


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_film_shows_each_stretch_of_time_as_a_picture(recording: Path, ending: str) -> None:
    target = recording.with_name(f"a.{ending}")
    assert render(recording, target, looks=Looks(delta_t="10ms", scale=4)) == 0
    found = pictures(target)
    assert [lit_columns(picture, 4) for picture in found] == [list(range(10 * i, 10 * i + 10)) for i in range(10)]
    assert found[0].shape == (512, 512, 3)


def test_speed_and_rate_choose_how_many_pictures_there_are(recording: Path) -> None:
    target = recording.with_name("a.gif")
    # 99 ms at a tenth of the speed are 990 ms of film
    assert render(recording, target, looks=Looks(speed=0.1, fps=10, scale=1)) == 0
    assert len(pictures(target)) == 10


def test_parts_and_filters_are_rendered_as_they_are_read(recording: Path) -> None:
    target = recording.with_name("a.gif")
    reading = Reading(filter=("polarity=on",))
    assert render(recording, target, reading=reading, span=Span("20ms", "40ms"), looks=Looks(delta_t="10ms", scale=1)) == 0
    assert [lit_columns(picture) for picture in pictures(target)] == [[21, 23, 25, 27, 29], [31, 33, 35, 37, 39]]


@pytest.mark.parametrize("style", ["accumulate", "decay", "time-surface"])
def test_a_png_of_a_moment_is_the_picture_of_the_film(recording: Path, style: str) -> None:
    looks = Looks(style=style, delta_t="10ms", scale=1)  # type: ignore[arg-type] # one of the three
    assert render(recording, recording.with_name("a.gif"), looks=looks) == 0
    assert render(recording, recording.with_name("a.png"), looks=looks, at="40ms") == 0
    with Image.open(recording.with_name("a.png")) as image:
        still = np.asarray(image).astype(int)
    # a GIF has 14 steps of each strength
    assert np.abs(still - pictures(recording.with_name("a.gif"))[3]).max() <= 255 / 13
    assert still.shape == (128, 128, 3)
    assert (still[0, 30:40] - GROUND).max(axis=1).min() > 40


def test_a_png_without_a_moment_is_a_sheet_of_twelve(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = recording.with_name("a.png")
    assert render(recording, target, looks=Looks(delta_t="1ms", scale=2)) == 0
    assert "12 moments" in capsys.readouterr().out
    with Image.open(target) as image:
        assert image.size == (8 + 4 * (256 + 8), 8 + 3 * (256 + footer_height(256) + 8))


def test_labels_of_a_file_and_of_a_network_stand_under_the_pictures(recording: Path) -> None:
    labels = recording.with_name("labels.jsonl")
    line = {"type": "label", "start_us": 7_000_000, "end_us": 7_050_000, "label": "wave", "confidence": 0.5, "stable": True}
    labels.write_text(json.dumps(line) + "\n")
    looks = Looks(delta_t="10ms", scale=2)
    for captions in (Captions(labels=labels), Captions(network="canned")):
        target = recording.with_name("a.mp4")
        assert render(recording, target, looks=looks, captions=captions, force=True) == 0
        found = pictures(target)
        assert found[0].shape == (256 + footer_height(256), 256, 3)
        # the line of confidence, green, appears when the label is known: after 50 ms, or when the network is sure
        greens = [int(picture[257, 10, 1]) for picture in found]
        assert max(greens[:4]) < 80 < greens[9]


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("a.avi", {}, "mp4, .gif or .png"),
        ("a.mp4", {"at": "1ms"}, "--at"),
        ("a.png", {"at": "1ms", "captions": Captions(network="canned")}, "no labels"),
        ("a.png", {"at": "5s"}, "holds no event"),
        ("a.mp4", {"captions": Captions(Path("x"), "canned")}, "choose one"),
        ("a.mp4", {"looks": Looks(delta_t="1ms", speed=2.0)}, "choose one"),
        ("a.mp4", {"looks": Looks(fps=0)}, "--fps"),
        ("a.mp4", {"looks": Looks(fps=1000)}, "--fps"),
        ("a.gif", {"looks": Looks(fps=100)}, "GIF"),
        ("a.mp4", {"looks": Looks(speed=-1)}, "speed"),
        ("a.mp4", {"looks": Looks(delta_t="0us")}, "1 us"),
        ("a.mp4", {"looks": Looks(tau="0us")}, "fade"),
        ("a.mp4", {"looks": Looks(scale=100)}, "scale"),
        ("a.mp4", {"span": Span("5s")}, "holds no event"),
        ("a.aedat", {}, "mp4"),
        ("old.mp4", {}, "--force"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_no_file(
    recording: Path, name: str, options: dict[str, object], match: str
) -> None:
    recording.with_name("old.mp4").write_bytes(b"precious")
    before = sorted(recording.parent.iterdir())
    with pytest.raises(UsageError, match=match):
        render(recording, recording.with_name(name), **options)  # type: ignore[arg-type] # as parametrised
    assert sorted(recording.parent.iterdir()) == before
    assert recording.with_name("old.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["old.mp4", "old.gif", "old.png"])
def test_a_refusal_spares_the_file_that_would_have_been_overwritten(recording: Path, name: str) -> None:
    recording.with_name(name).write_bytes(b"precious")
    with pytest.raises(UsageError, match="--fps"):
        render(recording, recording.with_name(name), looks=Looks(fps=0), force=True)
    assert recording.with_name(name).read_bytes() == b"precious"


def test_a_short_recording_has_twelve_moments_too(tmp_path: Path) -> None:
    (tmp_path / "a.aedat").write_bytes(aedat2(RECORDS[:13]))
    assert render(tmp_path / "a.aedat", tmp_path / "a.png", looks=Looks(scale=1)) == 0
    with Image.open(tmp_path / "a.png") as image:
        # thirteen pictures of 1 ms, the middle one left out
        sheet, tile = np.asarray(image), 128 + footer_height(128) + 8
        assert [lit_columns(sheet[8 + tile * (i // 4) :, 8 + 136 * (i % 4) :][:, :128]) for i in range(12)] == [
            [i] for i in range(13) if i != 6
        ]


def code_of(call: Callable[[], int]) -> int:
    try:
        return call()
    except SaccadeError as error:
        return error.exit_code


@pytest.mark.parametrize(
    ("name", "code"),
    [("a.aedat", 0), ("cut", 4), ("header", 3), ("no_events", 3), ("empty", 3), ("foreign", 3), ("missing", 3), (".", 3)],
)
def test_exit_codes_and_nothing_half_written(recording: Path, name: str, code: int) -> None:
    folder = recording.parent
    (folder / "cut").write_bytes(recording.read_bytes()[:-3])
    (folder / "header").write_bytes(AEDAT3_HEADER)
    (folder / "no_events").write_bytes(aedat4([]))
    (folder / "empty").write_bytes(b"")
    (folder / "foreign").write_bytes(b"\x89PNG\r\n\x1a\n")
    looks = Looks(delta_t="20ms", scale=1)
    for target in ("1.gif", "1.png"):
        assert code_of(lambda target=target: render(folder / name, folder / target, looks=looks)) == code  # type: ignore[misc]
        assert (folder / target).exists() == (code != 3)
    expected = 0 if name in ("a.aedat", "cut") else 3  # the moment lies before the damage
    assert code_of(lambda: render(folder / name, folder / "2.png", looks=looks, at="20ms")) == expected
