"""Layouts of labelled data: who is seen, which portions there are, and how a stream is cut."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import random_events

from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.events import Events, SensorSize
from pipeline.simulator import GESTURES, Variation
from pipeline.sinks.registry import open_sink
from training.cache import ClipCache
from training.data import Binning, load_clips
from training.layouts import cut_stream, layout_of, open_plainly, subject_of

SENSOR = SensorSize(128, 128)
BINNING = Binning(delta_t_us=10_000, size=(16, 16), n_time_bins=4)


def _write(path: Path, events: Events) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_sink(path, SENSOR) as sink:
        sink.write(events)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("user01_fluorescent_led", "user01"),
        ("User-3", "User-3"),
        ("subject12b", "subject12"),
        ("userland", ""),
        ("clap_user01", ""),
    ],
)
def test_a_subject_is_what_the_name_begins_with(name: str, subject: str) -> None:
    assert subject_of(name) == subject


def test_folders_per_label_may_hold_folders_per_subject(tmp_path: Path) -> None:
    for name in ("clap/anna/1.aedat4", "clap/ben/1.aedat4", "wave/user07_day.aedat4", "wave/2.aedat4"):
        _write(tmp_path / name, random_events(50, sensor=SENSOR))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("beside the labels")
    clips = load_clips(str(tmp_path), BINNING)
    assert clips.groups == ["anna", "ben", "wave/2.aedat4", "user07"]
    assert clips.recordings == ["clap/anna/1.aedat4", "clap/ben/1.aedat4", "wave/2.aedat4", "wave/user07_day.aedat4"]
    assert clips.classes == ("clap", "wave")


def test_the_gesture_set_as_it_is_published_becomes_clips(tmp_path: Path) -> None:
    """AEDAT 3.1, a title line, overlapping intervals, a class that comes twice, Windows line ends, lists of both sides."""
    events = random_events(4000, sensor=SENSOR, duration_us=400_000)
    for name in ("user01_fluorescent_led", "user24_lab"):
        _write(tmp_path / f"{name}.aedat", events)
        rows = ("class,startTime_usec,endTime_usec", "9,0,150000", "10,100000,250000", "9,260000,300000", "11,300000,400000")
        (tmp_path / f"{name}_labels.csv").write_bytes("\r\n".join(rows).encode() + b"\r\n")
    (tmp_path / "trials_to_train.txt").write_text("user01_fluorescent_led.aedat\n")
    (tmp_path / "trials_to_test.txt").write_text("user24_lab.aedat\r\n\r\n")
    (tmp_path / "gesture_mapping.csv").write_text("Action,Label\nhand_clapping,1\n")
    assert (tmp_path / "user24_lab.aedat").read_bytes().startswith(b"#!AER-DAT3.1")
    clips = load_clips(str(tmp_path), BINNING)
    assert [clips.classes[label] for label in clips.labels[:4]] == ["air_drums", "air_guitar", "air_drums", "other_gestures"]
    t = events["t"]
    wanted = [((t >= start) & (t < end)).sum() for start, end in ((0, 150_000), (100_000, 250_000), (260_000, 300_000))]
    assert [int(counts.sum()) for counts in clips.counts[:3]] == wanted
    assert clips.groups == ["user01"] * 4 + ["user24"] * 4
    assert clips.recordings[4] == "user24_lab.aedat"
    assert "label files" in clips.origin


def test_a_stream_is_cut_alike_however_it_comes_in_packets() -> None:
    events = random_events(900, duration_us=105_000)
    whole = [piece["t"].tolist() for piece in cut_stream([events], 40_000)]
    in_packets = [piece["t"].tolist() for piece in cut_stream(np.array_split(events, 37), 40_000)]
    assert whole == in_packets
    assert len(whole) == 3
    assert list(cut_stream([], 40_000)) == list(cut_stream([events[:0]], None)) == []


def test_a_cut_goes_over_a_silence_and_leaves_a_short_end_out() -> None:
    events = random_events(6)
    events["t"] = [0, 5, 10**15 + 1, 10**15 + 9, 10**15 + 10, 10**15 + 11]
    pieces = [piece["t"].tolist() for piece in cut_stream([events], 10)]
    assert pieces == [[0, 5], [10**15 + 1, 10**15 + 9]]


def test_people_of_the_simulator_stand_in_portions_that_a_longer_range_has_too() -> None:
    short = layout_of(f"synthetic:gestures?clips={40 * len(GESTURES)}&seed=10", open_plainly, None)
    long = layout_of(f"synthetic:gestures?clips={80 * len(GESTURES)}&seed=10", open_plainly, None)
    assert [portion.n_clips // len(GESTURES) for portion in short.portions] == [22, 18]
    assert [portion.n_clips // len(GESTURES) for portion in long.portions] == [22, 32, 26]
    assert short.portions[0] == long.portions[0]
    assert short.portions[1] != long.portions[1]


def _make_clips(gestures: Sequence[str], seeds: Iterable[int], **_: Any) -> Iterator[tuple[int, int, Events]]:
    """A false simulator: as many events as the seed says, and the number of the gesture."""
    for seed in seeds:
        for index in range(len(gestures)):
            yield index, seed, random_events(10 * seed + index, seed=seed, sensor=SENSOR)


def test_simulated_clips_come_from_the_cache_and_only_missing_people_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len(GESTURES)
    made, steps = list[int](), list[tuple[int, int]]()

    def make(gestures: Sequence[str], seeds: Iterable[int], **options: Any) -> Iterator[tuple[int, int, Events]]:
        people = list(seeds)
        made.extend(people)
        return _make_clips(gestures, people, **options)

    monkeypatch.setattr("pipeline.simulator.make_clips", make)
    few = load_clips(f"synthetic:gestures?clips={2 * n}&seed=30", BINNING, cache=ClipCache(tmp_path))
    more = load_clips(
        f"synthetic:gestures?clips={4 * n}&seed=30", BINNING, lambda *step: steps.append(step), ClipCache(tmp_path)
    )
    assert made == [30, 31, 32, 33]
    assert few.groups == ["person 30"] * n + ["person 31"] * n
    assert [int(counts.sum()) for counts in more.counts] == [10 * seed + i for seed in range(30, 34) for i in range(n)]
    assert steps[0] == (2 * n + 1, 4 * n)
    assert steps[-1] == (4 * n, 4 * n)
    assert more.recordings[0] == f"person 30/{GESTURES[0]}"


def test_parts_of_the_variation_left_out_reach_the_simulator_and_make_other_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()

    def make(gestures: Sequence[str], seeds: Iterable[int], **options: Any) -> Iterator[tuple[int, int, Events]]:
        asked.append(options["variation"])
        return _make_clips(gestures, seeds)

    monkeypatch.setattr("pipeline.simulator.make_clips", make)
    layouts = [layout_of(f"synthetic:gestures?clips=1{query}", open_plainly, None) for query in ("", "&without=noise,texture")]
    for layout in layouts:
        next(layout.read([0]))
    assert asked == [Variation(), Variation(noise=False, texture=False)]
    assert layouts[0].portions != layouts[1].portions
    with pytest.raises(UsageError, match="'hats'"):
        layout_of("synthetic:gestures?without=hats", open_plainly, None)


def test_clips_of_nothing_are_a_class_of_their_own_after_the_gestures(monkeypatch: pytest.MonkeyPatch) -> None:
    n = len(GESTURES)

    def make_nothing(seeds: Iterable[int], **_: Any) -> Iterator[tuple[int, Events]]:
        yield from ((seed, random_events(seed, seed=seed, sensor=SENSOR)) for seed in seeds)

    monkeypatch.setattr("pipeline.simulator.make_clips", _make_clips)
    monkeypatch.setattr("pipeline.simulator.make_nothing", make_nothing)
    with_nothing = f"synthetic:gestures?clips={n}&seed=30&nothing=3"
    clips = load_clips(with_nothing, BINNING)
    assert clips.classes == (*GESTURES, "nothing")
    assert clips.labels.tolist() == [*range(n), n, n, n]
    assert clips.groups[n:] == ["scene 30", "scene 31", "scene 32"]
    assert [int(counts.sum()) for counts in clips.counts[n:]] == [30, 31, 32]
    without = layout_of(f"synthetic:gestures?clips={n}&seed=30", open_plainly, None)
    assert layout_of(with_nothing, open_plainly, None).portions[:1] == without.portions  # what was cached serves both


def test_more_clips_of_other_gestures_are_of_further_people(monkeypatch: pytest.MonkeyPatch) -> None:
    n, other = len(GESTURES), GESTURES.index("other_gestures")
    monkeypatch.setattr("pipeline.simulator.make_clips", _make_clips)
    asked = f"synthetic:gestures?clips={2 * n}&seed=30&other=3"
    clips = load_clips(asked, BINNING)
    assert clips.classes == GESTURES
    assert clips.labels[2 * n :].tolist() == [other] * 3
    assert clips.recordings[2 * n :] == [f"person {seed}/other_gestures" for seed in (32, 33, 34)]
    without = layout_of(f"synthetic:gestures?clips={2 * n}&seed=30", open_plainly, None)
    portions = layout_of(asked, open_plainly, None).portions
    assert portions[: len(without.portions)] == without.portions  # what was cached serves both
    assert sum(portion.n_clips for portion in portions) == 2 * n + 3


@pytest.mark.parametrize("word", ["synthetic:gestures?clips=many", "synthetic:gestures?people=3", "synthetic:"])
def test_a_simulation_that_there_is_not_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="synthetic:gestures"):
        layout_of(word, open_plainly, None)


def test_a_recording_cut_short_gives_what_it_holds_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clap" / "1.aedat"
    _write(path, random_events(5000, sensor=SENSOR))
    path.write_bytes(path.read_bytes()[:-1001])
    clips = load_clips(str(tmp_path), BINNING)
    assert 0 < int(clips.counts[0].sum()) < 5000
    assert "1.aedat: only what could be read is used" in caplog.text
    assert [text.partition(": ")[0] for text in clips.damage] == [str(path)]


def test_the_cache_says_again_what_was_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data"
    for name, n_bytes in (("whole", None), ("short", -1001), ("stump", 400)):
        path = folder / "clap" / f"{name}.aedat"
        _write(path, random_events(5000, sensor=SENSOR))
        path.write_bytes(path.read_bytes()[:n_bytes])
    told = list[str]()
    for _ in range(2):
        caplog.clear()
        clips = load_clips(str(folder), BINNING, cache=ClipCache(tmp_path / "cache"))
        told.append(caplog.text)
        assert [Path(text.partition(": ")[0]).stem for text in clips.damage] == ["short", "stump"]
        assert all(f"{name}.aedat: only what could be read is used" in caplog.text for name in ("short", "stump"))
        assert clips.take([0]).with_classes(["clap"]).damage == clips.damage
    assert told[0] == told[1]


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "clap").mkdir()
    with pytest.raises(InputError, match="one folder per label"):
        layout_of(str(tmp_path), open_plainly, None)
