"""The command that teaches a trained network new classes from a few examples: teach. torch is imported inside."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from app.reading import AS_IT_IS, Reading, open_part
from app.requests import ask, find_control
from app.source_options import ReadingFlags
from app.terminal import complain, print_json, print_table, progress_bar
from pipeline.schema.errors import InputError, UsageError
from pipeline.schema.messages import LessonReport, Request

if TYPE_CHECKING:
    from models.prototypes import Vectors
    from models.pupil import Pupil
    from pipeline.bus import ControlClient

# A recording of a person doing other things: what taught classes are told from where nothing else was shown.
_BACKGROUND = Path(__file__).parents[2] / "recordings" / "demo.aedat4"
_ASK_S = 0.1


@dataclass(frozen=True)
class Showing:
    """What is shown, and where lessons are kept.

    Parameters
    ----------
    from_
        Recordings, each one example of NAME, or folders of them.
    background
        Recordings of none of the taught classes; the demo where there is none.
    to
        File of taught classes to make or to add to.
    network
        Checkpoint to teach, by path or name, where that file is new.
    only_taught
        Leave the network's own classes out from now on.
    """

    from_: Annotated[tuple[Path, ...], Parameter(name="--from", consume_multiple=True)] = ()
    background: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    to: Path = Path("my.taught")
    network: str = "default"
    only_taught: bool = False


@dataclass(frozen=True)
class LiveShowing:
    """Teaching a running Saccade.

    Parameters
    ----------
    live
        Show the examples to a running Saccade.
    at
        Address on which it publishes.
    clips
        Examples in a row.
    seconds
        Length of each.
    pause
        Seconds to get ready before each.
    """

    live: bool = False
    at: str = "tcp://127.0.0.1:5556"
    clips: int = 3
    seconds: float = 2.0
    pause: float = 1.5


_SHOWING = Showing()
_LIVE_SHOWING = LiveShowing()


def teach(  # noqa: PLR0913 # each is a flag of the command, or a set of them
    name: str | None = None,
    *,
    showing: Annotated[Showing, Parameter(name="*")] = _SHOWING,
    live: Annotated[LiveShowing, Parameter(name="*")] = _LIVE_SHOWING,
    show: Annotated[bool, Parameter(name="--list")] = False,
    remove: str | None = None,
    rename: Annotated[tuple[str, str] | None, Parameter(name="--rename")] = None,
    own: str | None = None,
    reading: ReadingFlags = AS_IT_IS,
    json: bool = False,
) -> int:
    """Teach a trained network a new class from 3 to 10 examples, in seconds.

    Parameters
    ----------
    name
        What the examples show.
    show
        List what was taught.
    remove
        Forget this class.
    rename
        OLD NEW: call a taught class otherwise.
    own
        Labelled data (as for train) of the classes that --network knows itself: windows of them are kept beside it, so that
        lessons cost these classes less.
    json
        Print the result as one JSON object.
    """
    if sum((name is not None, show, remove is not None, rename is not None, own is not None)) != 1:
        raise UsageError("say one of: NAME with --from or --live, --list, --remove NAME, --rename OLD NEW, --own DATA")
    if own is not None:
        _show_own(own, showing.network, json)
        return 0
    request = _change(remove, rename)
    report = _teach_live(name, request, live) if live.live else _teach_from_files(name, request, showing, reading)
    if json:
        print_json(report)
    else:
        _print(report)
    return 0


def _change(remove: str | None, rename: tuple[str, str] | None) -> Request | None:
    if remove is not None:
        return Request("forget", name=remove)
    return None if rename is None else Request("rename", name=rename[0], new_name=rename[1])


def _teach_from_files(name: str | None, request: Request | None, showing: Showing, reading: Reading) -> LessonReport:
    from models.pupil import load_pupil
    from models.taught import save_taught

    files = list(_files(showing.from_))
    if name is not None and not files:
        raise UsageError("no examples; give recordings with --from FILE…, or --live for a running Saccade")
    if not showing.to.exists() and name is None:
        raise InputError(f"{showing.to} does not exist; teach NAME --from FILE… --to {showing.to} makes it")
    pupil = load_pupil(str(showing.to) if showing.to.exists() else showing.network)
    if request is not None and request.command == "forget":
        pupil.forget(request.name)
    elif request is not None:
        pupil.rename(request.name, request.new_name)
    if name is not None:
        _show_background(pupil, showing, reading)
        with progress_bar(f"showing {name}") as progress:
            for done, path in enumerate(files):
                _show(pupil, name, path, reading)
                progress(done + 1, len(files))
        if showing.only_taught:
            pupil.leave_own_out()
    if name is not None or request is not None:
        save_taught(showing.to, pupil.taught)
    return msgspec.structs.replace(pupil.lessons, home=str(showing.to))


def _show_own(data: str, checkpoint: str, json: bool) -> None:
    """Keep windows of the network's own classes beside its checkpoint."""
    from app.labelled_data import CacheOptions, load
    from models.checkpoint import load_checkpoint
    from models.own import keep_own
    from training.data import Binning

    _, info, _ = load_checkpoint(checkpoint)
    clips = load(data, Binning(info.delta_t_us, info.size, info.n_time_bins), CacheOptions())
    labels = (clips.classes[label] for label in clips.labels)
    path = keep_own(checkpoint, zip(clips.counts, labels, strict=True))
    if json:
        print_json({"own": str(path)})
    else:
        print(f"windows of {checkpoint}'s own classes are kept in {path}")


def _show_background(pupil: "Pupil", showing: Showing, reading: Reading) -> None:
    """What none of the classes looks like, shown once, or whenever it is given."""
    files = list(_files(showing.background)) or ([] if pupil.taught.background.size else [_BACKGROUND])
    if not showing.background and files and not _BACKGROUND.is_file():
        return
    vectors = []
    for path in files:
        pupil.reset()
        vectors += _features(pupil, path, reading if showing.background else AS_IT_IS)
    if vectors:
        pupil.show_background(vectors)


def _show(pupil: "Pupil", name: str, path: Path, reading: Reading) -> None:
    pupil.show_example(name, _features(pupil, path, reading), str(path))


def _features(pupil: "Pupil", path: Path, reading: Reading) -> "list[Vectors]":
    """Features of the windows of a recording, from rest."""
    from pipeline.binning import TimeBinner

    pupil.reset()
    found: list[Vectors] = []
    with open_part(path, reading) as source:
        binner = TimeBinner(source.info.sensor_size, pupil.info.frame_size, pupil.info.delta_t_us)
        for events in source.packets():
            found += [vector for frame in binner.push(events) if (vector := pupil.look(frame)) is not None]
        found += [vector for frame in binner.flush() if (vector := pupil.look(frame)) is not None]
    return found


def _files(given: tuple[Path, ...]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(inside for inside in path.iterdir() if inside.is_file() and not inside.name.startswith("."))
        else:
            yield path


def _teach_live(name: str | None, request: Request | None, live: LiveShowing) -> LessonReport:
    from pipeline.bus import ControlClient

    if live.clips < 1:
        raise UsageError(f"--clips {live.clips}: show at least one example")
    with closing(ControlClient(find_control(live.at))) as control:
        if request is not None:
            ask(control, request)
        for i in range(live.clips if name is not None else 0):
            complain(f"{name}, example {i + 1} of {live.clips}: get ready")
            sleep(max(0.0, live.pause))
            complain(ask(control, Request("teach", live.seconds, name=name or "")))
            _wait_for_end(control)
        return _report(control)


def _wait_for_end(control: "ControlClient") -> None:
    while True:
        report = _report(control)
        if report.lesson is None:
            if report.note:
                complain(report.note)
            return
        if sys.stderr.isatty():
            print(f"\r{report.lesson.n_bins_seen}/{report.lesson.n_bins} bins ", end="", file=sys.stderr, flush=True)
        sleep(_ASK_S)


def _report(control: "ControlClient") -> LessonReport:
    return msgspec.json.decode(ask(control, Request("lessons")), type=LessonReport)


def _print(report: LessonReport) -> None:
    if report.taught:
        print_table(("taught", "examples*"), [(known.name, known.n_examples) for known in report.taught])
    else:
        print("nothing was taught yet")
    if report.home:
        print(f"kept in {report.home}; use it with --network {report.home}")
