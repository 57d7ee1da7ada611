"""One run from source to labels: makes the jobs of a plan, starts the workers, follows the bus until the end."""

import logging
import signal
from collections.abc import Callable
from contextlib import closing
from threading import Event

import msgspec

from app.config import Settings, global_options, reading_of
from app.jobs import CaptureJob, InferenceJob, Job, Places, WindowJob
from app.launcher import Workers, private_folder
from app.printer import LabelPrinter
from app.terminal import silence_stdout
from pipeline.bus import Subscriber
from pipeline.codec import Message, topic_of, unpack
from pipeline.schema.errors import SaccadeError, UsageError, WireError
from pipeline.schema.messages import Status
from pipeline.service import signals_set
from pipeline.sources.replay import check_speed

_LOG = logging.getLogger(__name__)
INTERRUPTED = 130
# Asked to end by the system, or the terminal was closed.
_ENDINGS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_RECEIVE_MS = 100
_TEXT_TOPICS = [topic_of(kind) for kind in ("label", "gap", "status", "hello")]
# In a window's run the owner only watches over health; labels are the window's.
_HEALTH_TOPICS = [topic_of("status")]


class Plan(msgspec.Struct, frozen=True):
    """What to run: the settings, and whether a window shows it."""

    settings: Settings
    is_windowed: bool = False
    title: str = "Saccade"


def parse_speed(speed: float | str) -> float:
    """Give the factor of a speed such as `1`, `0.5`, `2x` or `max` (which is 0)."""
    text = str(speed).strip().lower()
    if text == "max":
        return 0.0
    try:
        # zero means "as fast as possible" inside, but nobody who types 0 means that
        return check_speed(float(text.removesuffix("x")) or -1.0)
    except (ValueError, UsageError):
        raise UsageError(f"speed {speed!r} is no factor; use a number from 0.001 to 1000, or max") from None


def make_settings(tree: dict[str, dict[str, object]]) -> Settings:
    """Check a tree of sections and give the settings; UsageError with the key that is wrong."""
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{error}; see saccade replay --help") from None


def make_jobs(plan: Plan, folder: str) -> dict[str, Job]:
    """Give the job of each worker, by role, in the order in which to start them (the slowest first)."""
    from pipeline.schema.durations import parse_duration_us

    source, recogniser = plan.settings.source, plan.settings.recogniser
    places, options = Places(folder), global_options()
    capture = CaptureJob(
        places=places,
        uri=source.uri,
        speed=parse_speed(source.speed),
        is_looped=source.loop,
        start_us=parse_duration_us(source.start) if source.start else 0,
        end_us=parse_duration_us(source.end) if source.end else None,
        reading=reading_of(source),
        record_to=plan.settings.record.to,
    )
    inference = InferenceJob(
        places=places,
        network=recogniser.network,
        readout=recogniser.readout,
        threshold=recogniser.threshold,
        hold_us=parse_duration_us(recogniser.hold),
        is_lossless=not plan.is_windowed,
        publish=plan.settings.publish.url,
        device=recogniser.device,
        filters=reading_of(source).filter or (),
    )
    jobs = {"inference": Job(options, inference=inference), "capture": Job(options, capture=capture)}
    if plan.is_windowed:
        jobs["window"] = Job(options, window=WindowJob(places.address("labels"), plan.title))
    return jobs


class Run:
    """One run of a plan. `interrupted` and `terminated` are set by signals; `on_round` is called many times a second."""

    def __init__(self, plan: Plan, printer: LabelPrinter, on_round: Callable[[], None] = lambda: None) -> None:
        self.interrupted = Event()
        self.terminated = Event()
        self._has_run = False
        self._plan, self._printer, self._on_round = plan, printer, on_round

    def go(self) -> int:
        """Run to the end and give the exit code; errors of the workers are raised here."""
        with (
            signals_set(self.interrupted, signal.SIGINT),
            signals_set(self.terminated, *_ENDINGS),
            private_folder() as folder,
            Workers() as workers,
            closing(self._printer),
        ):
            for role, job in make_jobs(self._plan, folder).items():
                workers.start(role, job)
            topics = _HEALTH_TOPICS if self._plan.is_windowed else _TEXT_TOPICS
            with closing(Subscriber(Places(folder).address("labels"), topics)) as inlet:
                try:
                    return self._follow(inlet, workers)
                except BrokenPipeError:
                    silence_stdout()
                    return 0
                except SaccadeError as error:
                    if not self._has_run or "window" not in workers:
                        raise
                    return self._leave_window(workers, error)

    def _follow(self, inlet: Subscriber, workers: Workers) -> int:
        while not (self.interrupted.is_set() or self.terminated.is_set()):
            parts = inlet.receive(_RECEIVE_MS)
            self._on_round()
            self._printer.check()
            ended = workers.check() if parts is None else {}
            if "window" in ended:
                return 0
            message = _read(parts) if parts is not None else None
            if message is None:
                continue
            self._has_run = self._has_run or (isinstance(message, Status) and message.state == "running")
            if not self._plan.is_windowed:
                self._printer.take(message)
            if isinstance(message, Status) and is_end(message) and not self._plan.is_windowed:
                return code_of_end(message)
        if self.terminated.is_set():
            self._printer.say("told to end by the system; ending")
        return INTERRUPTED

    def _leave_window(self, workers: Workers, error: SaccadeError) -> int:
        """Let the window show what happened until it is closed."""
        self._printer.say(str(error))
        workers.stop(keep="window")
        workers.wait_for("window")
        return error.exit_code


def is_end(status: Status) -> bool:
    """Whether this is the last word of a stream: all labels were published, or none will come any more."""
    return status.process == "inference" and status.state in ("ended", "failed")


def code_of_end(status: Status) -> int:
    """Give the exit code of a stream that ended; the error of one that failed is raised."""
    if status.state != "failed":
        return status.exit_code
    error = SaccadeError(status.text)
    error.exit_code = status.exit_code or 1
    raise error


def _read(parts: list[bytes]) -> Message | None:
    try:
        return unpack(parts)[0]
    except WireError as error:
        _LOG.warning("message refused: %s", error)
        return None
