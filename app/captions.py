"""Where the captions of rendered pictures come from: a file of labels, or a recogniser that looks along."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.decision import DecisionSettings, DecisionState, decide, make_decision_settings
from pipeline.rendering.track import Caption, CaptionTrack
from pipeline.schema.errors import InputError
from pipeline.schema.events import Events, SensorSize
from pipeline.schema.frames import SpikeFrame
from pipeline.schema.messages import NOTHING
from pipeline.schema.recognition import Recogniser

if TYPE_CHECKING:
    from pipeline.rendering.pictures import Captioner

# One line of `saccade replay --json` is far shorter, whatever the classes are called.
_MAX_LINE_BYTES = 1 << 20


class _Line(msgspec.Struct):
    """What a caption needs of one line of `saccade replay --json`; the other types of lines lack all but the first."""

    type: str
    start_us: int = 0
    end_us: int = 0
    label: str = NOTHING
    confidence: float = 0.0
    stable: bool = True


class FileCaptions:
    """Captions from a file of labels; a `Captioner`."""

    def __init__(self, path: Path) -> None:
        self._track = CaptionTrack(read_captions(path))

    def take(self, events: Events) -> None:
        """Need no events: the file knows."""

    def at(self, t_us: int) -> Caption | None:
        """What the file says of this time."""
        return self._track.at(t_us)


class TimeOnly:
    """Captions without text, so that only the time stands under a picture; a `Captioner`."""

    def take(self, events: Events) -> None:
        """Need no events."""

    def at(self, t_us: int) -> Caption:
        """Give an empty caption."""
        return Caption(t_us, t_us + 1, "")


class NetworkCaptions:
    """Captions from a recogniser that sees the events as they are rendered, shown from when it knows; a `Captioner`."""

    def __init__(self, recogniser: Recogniser, sensor_size: SensorSize, settings: DecisionSettings) -> None:
        from pipeline.binning import TimeBinner

        info = recogniser.info
        self._recogniser, self._settings = recogniser, settings
        self._binner = TimeBinner(sensor_size, info.frame_size, info.delta_t_us)
        self._state = DecisionState()
        self._caption: Caption | None = None

    def take(self, events: Events) -> None:
        """Recognise the bins that these events close."""
        for frame in self._binner.push(events):
            self._judge(frame)

    def at(self, t_us: int) -> Caption | None:
        """Give the stable label of the last bin that ended by then."""
        for frame in self._binner.advance(t_us):
            self._judge(frame)
        return self._caption

    def _judge(self, frame: SpikeFrame) -> None:
        prediction = self._recogniser.step(frame)
        decision, self._state = decide(self._state, prediction, frame.n_events, self._settings)
        label = self._recogniser.info.classes[decision.index] if decision.index >= 0 else NOTHING
        line = _Line("label", frame.start_us, frame.end_us, label, decision.confidence, decision.is_stable)
        self._caption = _follow(self._caption, line)


def choose_captioner(labels: Path | None, network: str | None, sensor_size: SensorSize) -> "Captioner | None":
    """The captioner of a file of labels, or of a checkpoint; None when there is neither."""
    if labels is not None:
        return FileCaptions(labels)
    if network is None:
        return None
    from app.config import RecogniserSection
    from app.loading import load_named_recogniser
    from pipeline.schema.durations import parse_duration_us

    defaults = RecogniserSection()
    recogniser = load_named_recogniser(network, defaults.readout)
    settings = make_decision_settings(recogniser.info, defaults.threshold, parse_duration_us(defaults.hold))
    return NetworkCaptions(recogniser, sensor_size, settings)


def read_captions(path: Path) -> Iterator[Caption]:
    """Captions of a file, ordered by start: lines of `saccade replay --json`, or the CSV of DVS128 Gesture.

    Lines are read as they are needed. InputError names the first line that is neither.
    """
    try:
        with path.open("rb") as stream:
            is_json = stream.read(1) == b"{"
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; check the path") from None
    return _read_lines(path) if is_json else _read_gestures(path)


def _read_lines(path: Path) -> Iterator[Caption]:
    """What was known when: a label of the bin [start, end) is shown from its end on, for as long as a bin lasts."""
    caption: Caption | None = None
    reached_us: int | None = None
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as stream:
        for number, text in enumerate(iter(lambda: stream.readline(_MAX_LINE_BYTES), b""), start=1):
            try:
                line = decoder.decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise InputError(f"{path}, line {number}: no label; give what saccade replay --json printed") from None
            if line.type != "label":
                continue
            if reached_us is not None and line.end_us < reached_us:
                raise InputError(f"{path}, line {number}: time goes back; give the labels of one pass through the recording")
            reached_us = line.end_us
            caption = _follow(caption, line)
            if caption is not None:
                yield caption


def _follow(before: Caption | None, line: _Line) -> Caption | None:
    """The caption after a label: a new text once that is stable, its newest confidence meanwhile, None for nothing."""
    end_us = 2 * line.end_us - line.start_us
    if line.stable:
        return None if line.label == NOTHING else Caption(line.end_us, end_us, line.label, line.confidence)
    if before is None:
        return None
    confidence = line.confidence if line.label == before.text else before.confidence
    return Caption(line.end_us, end_us, before.text, confidence)


def _read_gestures(path: Path) -> Iterator[Caption]:
    from pipeline.sources.gesture_labels import read_gesture_labels

    intervals = sorted(read_gesture_labels(path), key=lambda interval: interval.start_us)
    return (Caption(interval.start_us, interval.end_us, interval.label) for interval in intervals)
