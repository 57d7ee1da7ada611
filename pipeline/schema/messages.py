"""What travels on the bus, as frozen, versioned types. The JSON schema in docs/messages.md is generated from here.

A message on the wire is a list of parts: topic (`kind/source`), head, and raw arrays. Heads of `label`, `gap`, `status` and
`meter` are JSON, so that ten lines of pyzmq can read them; heads of `frame`, `events` and `preview` are msgpack.
"""

from typing import Literal

import msgspec

SCHEMA_VERSION = 1

# Answer of the decision layer when the scene is quiet or the network unsure; it stands for no class.
NOTHING = "nothing"
NOTHING_INDEX = -1


class LabelLatency(msgspec.Struct, frozen=True):
    """Milliseconds of host time: bin closed to received, inference alone, bin closed to published."""

    queue: float
    infer: float
    total: float


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for one time bin."""

    v: int = SCHEMA_VERSION
    type: Literal["label"] = "label"
    seq: int
    source: str
    start_us: int
    end_us: int
    host_ns: int
    label: str
    index: int
    confidence: float
    top: list[tuple[str, float]]
    stable: bool
    latency_ms: LabelLatency
    n_events: int
    n_dropped: int
    sops: int
    energy_uj: float
    network: str


class Gap(msgspec.Struct, frozen=True):
    """Messages that never arrived: `n_lost` of them between `after_seq` and the next one received."""

    source: str
    topic: str
    after_seq: int
    n_lost: int
    host_ns: int
    v: int = SCHEMA_VERSION
    type: Literal["gap"] = "gap"


class RecordingReport(msgspec.Struct, frozen=True):
    """A recording that was asked for with `record`: `path` is below the folder that the owner allowed.

    `first_us` and `last_us` are sensor time, None before the first event. `text` says why it `failed`, or why it `ended` before
    its time; what was received until then is in the file.
    """

    path: str
    state: Literal["running", "ended", "failed"]
    n_events: int = 0
    first_us: int | None = None
    last_us: int | None = None
    text: str = ""


class Status(msgspec.Struct, frozen=True):
    """Health of one process, sent at least once a second and at every change of state.

    `n_dropped_events` counts events that no frame holds, `n_dropped_frames` frames thrown away under overload,
    `n_gaps` frames that never arrived, `n_bad_messages` messages refused. `sensor_t_us` is the sensor time reached;
    `first_us` and `duration_us` those of the whole recording, as far as known before it was read (0: unknown).
    `recording` is the last one that somebody asked capture for.
    """

    source: str
    process: str
    state: Literal["starting", "running", "paused", "ended", "failed"]
    host_ns: int
    text: str = ""
    n_frames: int = 0
    n_events: int = 0
    n_dropped_events: int = 0
    n_dropped_frames: int = 0
    n_gaps: int = 0
    n_bad_messages: int = 0
    event_rate_hz: float = 0.0
    sensor_t_us: int = 0
    speed: float = 1.0
    exit_code: int = 0
    first_us: int = 0
    duration_us: int = 0
    is_live: bool = False
    is_looped: bool = False
    recording: RecordingReport | None = None
    v: int = SCHEMA_VERSION
    type: Literal["status"] = "status"


class StageLatency(msgspec.Struct, frozen=True):
    """Milliseconds of host time spent in each stage between a bin's closing and its label's publication."""

    send: float
    transfer: float
    infer: float
    publish: float
    total: float


class RasterLayer(msgspec.Struct, frozen=True):
    """Rows of the spike raster that belong to one layer: `n_rows` sampled neurons of `n_neurons`, and its firing rate."""

    name: str
    n_rows: int
    n_neurons: int
    firing_rate: float


class Meter(msgspec.Struct, frozen=True):
    """Activity and cost of one time bin.

    Its raw part is the spike raster: uint8 (sum of n_rows,), 0 or 1, layers one after another.
    `power_w` is measured (None where there is no sensor); `energy_uj` is estimated from `sops` and `macs`.
    """

    source: str
    seq: int
    start_us: int
    end_us: int
    host_ns: int
    n_events: int
    event_rate_hz: float
    sops: int
    macs: int
    energy_uj: float
    latency_ms: StageLatency
    layers: list[RasterLayer]
    power_w: float | None = None
    power_sensor: str = ""
    v: int = SCHEMA_VERSION
    type: Literal["meter"] = "meter"


class FrameHead(msgspec.Struct, frozen=True):
    """Head of a `SpikeFrame`; its raw part is uint8 (2, height, width), OFF first. `closed_ns`, `sent_ns`: host time."""

    source: str
    seq: int
    start_us: int
    end_us: int
    n_events: int
    n_dropped: int
    width: int
    height: int
    closed_ns: int
    sent_ns: int
    v: int = SCHEMA_VERSION
    type: Literal["frame"] = "frame"


class EventsHead(msgspec.Struct, frozen=True):
    """Head of an event packet; its raw part is `EVENT_DTYPE` (n,), sensor of width x height pixels."""

    source: str
    seq: int
    n: int
    width: int
    height: int
    v: int = SCHEMA_VERSION
    type: Literal["events"] = "events"


class PreviewHead(msgspec.Struct, frozen=True):
    """Head of a picture for people: uint8 (2, height, width) event counts, OFF first, of `[start_us, end_us)`.

    Width and height are the sensor's, or smaller by a whole factor when the sensor is large.
    """

    source: str
    seq: int
    start_us: int
    end_us: int
    width: int
    height: int
    sensor_width: int
    sensor_height: int
    v: int = SCHEMA_VERSION
    type: Literal["preview"] = "preview"


class Request(msgspec.Struct, frozen=True):
    """A command on the control socket: pause, resume, seek (us), speed (factor, 0 = as fast as possible), loop, reset, stop.

    `teach`: the next `value` seconds of the stream are an example of `name`. `forget` drops the taught class `name`, `rename`
    calls it `new_name`, `lessons` asks for a `LessonReport`.

    `record`: write the next `value` seconds, as the camera sends them, to `path` below the folder that the owner allowed (no
    ending: AEDAT 4); with a label in `name`, to the next clip of that label in the folder `path`. The reply gives the path of
    the recording as its `text`, `recording` in capture's status tells how far it is; `value` 0 ends it. Nothing is overwritten.

    `network`: go on with the checkpoint `name`, a name or a path where Saccade runs, from rest. It is loaded beside the stream,
    which the old one judges meanwhile; the reply comes once it has taken over (seconds), or says why the old one stays.
    """

    command: Literal[
        "pause", "resume", "seek", "speed", "loop", "reset", "stop", "describe",
        "teach", "forget", "rename", "lessons", "record", "network",
    ]  # fmt: skip
    value: float | None = None
    name: str = ""
    new_name: str = ""
    path: str = ""
    v: int = SCHEMA_VERSION
    type: Literal["request"] = "request"


class Wish(msgspec.Struct, frozen=True):
    """What frames inference wants of capture from now on, where the network that is to come wants others.

    Capture answers in line, with a hello that says the same: every frame after that one is as wished.
    """

    source: str
    delta_t_us: int
    frame_width: int
    frame_height: int
    v: int = SCHEMA_VERSION
    type: Literal["wish"] = "wish"


class Reply(msgspec.Struct, frozen=True):
    """Answer to a `Request`; `text` says what was done or why not."""

    ok: bool
    text: str = ""
    v: int = SCHEMA_VERSION
    type: Literal["reply"] = "reply"


class TaughtClass(msgspec.Struct, frozen=True):
    """A class that was taught, and how often it was shown."""

    name: str
    n_examples: int


class Lesson(msgspec.Struct, frozen=True):
    """An example being shown: `n_bins_seen` of its `n_bins` time bins have passed."""

    name: str
    n_bins_seen: int
    n_bins: int


class LessonReport(msgspec.Struct, frozen=True):
    """What a recogniser was taught, as the `text` of the reply to `lessons` has it (JSON).

    `lesson` is what is being shown now; `note` says why the last example was not learnt, if it was not; `home` is the file in
    which lessons are kept, empty for none.
    """

    taught: list[TaughtClass]
    lesson: Lesson | None = None
    note: str = ""
    home: str = ""


class Hello(msgspec.Struct, frozen=True):
    """First message to every new subscriber: what this bus carries and where to send requests.

    It comes again when more is known; 0 and empty stand for "not known yet". `frame_width`, `frame_height` are the network's.
    """

    source: str
    network: str
    classes: list[str]
    delta_t_us: int
    n_time_bins: int
    control: str
    sensor_width: int = 0
    sensor_height: int = 0
    frame_width: int = 0
    frame_height: int = 0
    v: int = SCHEMA_VERSION
    type: Literal["hello"] = "hello"
