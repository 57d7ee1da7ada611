"""The command that makes pictures of recordings: render. Deliver what can be read, then say what was lost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from app.reading import AS_IT_IS, WHOLE, Reading, find_first_event_us, open_part, open_stretch
from app.source_options import ReadingFlags, SpanFlags
from app.targets import check_target, end_with, removed_on_error
from app.terminal import progress_bar
from pipeline.schema.clock import US_PER_S
from pipeline.schema.durations import parse_duration_us
from pipeline.schema.errors import InputError, UsageError

if TYPE_CHECKING:
    from pipeline.rendering.pictures import RenderSettings
    from pipeline.schema.events import SensorSize
    from pipeline.sources.base import ReadReport, RecordedSource

_DEFAULT_FPS = {".mp4": 30.0, ".gif": 20.0, ".png": 30.0}
_MAX_FPS = 240
_SHEET_TILE_PX = 320
# What lies further back than this fades to less than a step of brightness (exp(-6) < 1/255) …
_N_TAUS_BACK = 6
# … and is forgotten by the filters that look at neighbours in time.
_WARM_UP_US = 1_000_000
_NOTHING = "there is no event to show"


@dataclass(frozen=True)
class Looks:
    """How pictures look.

    Parameters
    ----------
    style
        accumulate (counts since the last picture), decay (counts that fade), or time-surface (age of the latest event).
    fps
        Pictures a second: 30 in MP4, 20 in GIF.
    delta_t
        Sensor time from picture to picture (1ms, 33ms); else what fps and speed make it.
    speed
        Seconds of the recording in one second of film; 0.1 is slow motion.
    tau
        Time in which the fading styles lose 63 %; else twice the sensor time from picture to picture.
    scale
        Picture pixels a sensor pixel is wide; else as large as fits into 720.
    colours
        dark, light (for paper) or grey (ON white, OFF black).
    """

    style: Literal["accumulate", "decay", "time-surface"] = "accumulate"
    fps: float | None = None
    delta_t: str | None = None
    speed: float | None = None
    tau: str | None = None
    scale: int | None = None
    colours: Literal["dark", "light", "grey"] = "dark"


@dataclass(frozen=True)
class Captions:
    """What is written under the pictures.

    Parameters
    ----------
    labels
        Labels to write: lines of `saccade replay --json`, or the labels CSV of DVS128 Gesture.
    network
        Checkpoint, by path or name, whose labels to write.
    """

    labels: Path | None = None
    network: str | None = None


_LOOKS = Looks()
_CAPTIONS = Captions()


def render(  # noqa: PLR0913 # each is one flag of the command, or a set of them
    source: Path,
    target: Path,
    *,
    reading: ReadingFlags = AS_IT_IS,
    span: SpanFlags = WHOLE,
    looks: Annotated[Looks, Parameter(name="*")] = _LOOKS,
    captions: Annotated[Captions, Parameter(name="*")] = _CAPTIONS,
    at: str | None = None,
    force: bool = False,
) -> int:
    """Make a film (mp4, gif) or a picture (png) of a recording; a png without --at is a sheet of twelve moments.

    Parameters
    ----------
    source
        The recording to read.
    target
        The mp4, gif or png to write.
    at
        The moment of a png, after the first event.
    force
        Overwrite the target.
    """
    ending = target.suffix.lower()
    if ending not in _DEFAULT_FPS:
        raise UsageError(f"{target} does not end in .mp4, .gif or .png; these are what render writes")
    _check(ending, captions, at)
    check_target(target, [source], force=force)
    if at is not None:
        return _render_still(source, target, reading, looks, parse_duration_us(at))
    with open_part(source, reading, span) as recording:
        render_all = _render_sheet if ending == ".png" else _render_film
        render_all(recording, target, looks, captions)
        end_with(str(source), recording.report())
    return 0


def _check(ending: str, captions: Captions, at: str | None) -> None:
    if captions.labels is not None and captions.network is not None:
        raise UsageError("--labels and --network both say what to write under the pictures; choose one of them")
    if at is not None and ending != ".png":
        raise UsageError("--at chooses the moment of a png; for a part of a film there are --start and --end")
    if at is not None and captions != _CAPTIONS:
        raise UsageError("a picture of one moment has no labels under it; leave --at out, or --labels and --network")


def _settings(looks: Looks, fps: float, sensor_size: "SensorSize", *, sheet_us: int | None = None) -> "RenderSettings":
    """The settings of these flags, for a sheet where it has a duration; UsageError names the flag that cannot be meant."""
    from fractions import Fraction

    from pipeline.rendering.canvas import choose_scale
    from pipeline.rendering.palette import choose_palette
    from pipeline.rendering.pictures import N_SHEET_PICTURES, RenderSettings
    from pipeline.rendering.rhythm import step_of
    from pipeline.sources.replay import check_speed

    if not 0 < fps <= _MAX_FPS:
        raise UsageError(f"--fps {fps:g} is out of range; pictures a second are above 0 and at most {_MAX_FPS}")
    if looks.delta_t is not None and looks.speed is not None:
        raise UsageError("--delta-t and --speed both say how much sensor time lies between two pictures; choose one of them")
    step_us = step_of(fps, check_speed(looks.speed if looks.speed is not None else 1.0))
    if looks.delta_t is not None:
        step_us = Fraction(parse_duration_us(looks.delta_t))
    elif sheet_us is not None and looks.speed is None and looks.fps is None:
        # a short recording still has twelve moments
        step_us = min(step_us, max(Fraction(1), Fraction(sheet_us, N_SHEET_PICTURES)))
    tau_us = float(parse_duration_us(looks.tau) if looks.tau is not None else 2 * step_us)
    if step_us < 1 or tau_us <= 0:
        raise UsageError("there must be at least 1 us between two pictures, and time to fade; take a longer --delta-t or --tau")
    scale = choose_scale(sensor_size, looks.scale, *([] if sheet_us is None else [_SHEET_TILE_PX]))
    return RenderSettings(looks.style, choose_palette(looks.colours), scale, step_us, tau_us)


def _render_film(recording: "RecordedSource", target: Path, looks: Looks, captions: Captions) -> None:
    from app.captions import choose_captioner
    from pipeline.rendering.films import Film
    from pipeline.rendering.pictures import film
    from pipeline.sources.stretch import find_first_us

    fps = _fps(looks, target)
    settings = _settings(looks, fps, recording.info.sensor_size)
    if find_first_us(recording) is None:
        raise _nothing_to_show(recording.report())
    captioner = choose_captioner(captions.labels, captions.network, recording.info.sensor_size)
    n_pictures = 0
    reel = Film(target, fps, settings.palette)
    with removed_on_error(target), reel, progress_bar(f"rendering {target.name}") as progress:
        for _, picture in film(recording.packets(), recording.info.sensor_size, settings, captioner):
            reel.write(picture)
            n_pictures += 1
            progress(recording.n_bytes_read, recording.n_bytes)
    print(f"{target}: {n_pictures} pictures, {n_pictures / fps:.1f} s")


def _render_sheet(recording: "RecordedSource", target: Path, looks: Looks, captions: Captions) -> None:
    from app.captions import TimeOnly, choose_captioner
    from pipeline.recording import summarise_source
    from pipeline.rendering.films import write_png
    from pipeline.rendering.pictures import choose_moments, film, join_sheet

    with progress_bar("measuring") as progress:
        summary, report = summarise_source(recording, str(target), progress)
    if summary.events == 0:
        raise _nothing_to_show(report)
    settings = _settings(looks, _fps(looks, target), recording.info.sensor_size, sheet_us=summary.duration_us)
    moments = choose_moments(int(summary.duration_us / settings.step_us) + 1)
    captioner = choose_captioner(captions.labels, captions.network, recording.info.sensor_size) or TimeOnly()
    with progress_bar(f"rendering {target.name}") as progress:
        pictures = []
        for _t_us, picture in film(recording.packets(), recording.info.sensor_size, settings, captioner, moments.__contains__):
            pictures.append(picture)
            progress(recording.n_bytes_read, recording.n_bytes)
    with removed_on_error(target):
        write_png(target, join_sheet(pictures, settings.palette))
    print(f"{target}: {len(pictures)} moments of {summary.duration_us / US_PER_S:.1f} s")


def _render_still(source: Path, target: Path, reading: Reading, looks: Looks, at_us: int) -> int:
    from pipeline.rendering.films import write_png
    from pipeline.rendering.pictures import still

    first_us = find_first_event_us(source, reading)
    if first_us is None:
        raise InputError(f"{source}: {_NOTHING}")
    with open_part(source, reading) as recording:
        settings = _settings(looks, _fps(looks, target), recording.info.sensor_size)
    reach_us = max(round(settings.step_us), round(_N_TAUS_BACK * settings.tau_us), _WARM_UP_US)
    with open_stretch(source, reading, max(0, at_us - reach_us), at_us) as recording:
        picture = still(recording.packets(), recording.info.sensor_size, settings, first_us + at_us)
        with removed_on_error(target):
            write_png(target, picture)
        print(f"{target}: the moment {at_us / US_PER_S:g} s after the first event")
        end_with(str(source), recording.report())
    return 0


def _fps(looks: Looks, target: Path) -> float:
    return looks.fps if looks.fps is not None else _DEFAULT_FPS[target.suffix.lower()]


def _nothing_to_show(report: "ReadReport") -> InputError:
    return InputError(f"{_NOTHING} ({'; '.join(report.warnings) or 'the recording is empty'})")
