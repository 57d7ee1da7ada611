"""Names from the configuration to objects: which source, recogniser and sockets a process is made of.

Imports are late: capture never loads torch, and the owner of the processes loads neither torch nor numba.
"""

from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from app.jobs import CaptureJob, InferenceJob
from app.loading import load_beside, load_network, may_load_beside
from pipeline.bus import ControlClient, ControlServer, Overload, Publisher, Subscriber
from pipeline.codec import topic_of
from pipeline.publishing import Endpoint
from pipeline.schema.errors import SaccadeError
from pipeline.schema.events import SensorSize, empty_events
from pipeline.schema.messages import Wish
from pipeline.service import close_all

if TYPE_CHECKING:
    from pipeline.binning import TimeBinner
    from pipeline.capture import CaptureService
    from pipeline.inference import InferenceService
    from pipeline.sources.base import EventSource

# Frames that may wait between capture and inference: enough to even out the scheduler, few enough to answer a seek at once.
_FRAME_BOUND = 16
# Messages that may wait for one listener; beyond that it loses, and sees it by the sequence numbers.
_LISTENER_BOUND = 1000


def build_capture(job: CaptureJob, stop: Event) -> "CaptureService":
    """Open the source and the sockets of a capture process."""
    from pipeline.capture import CaptureService
    from pipeline.filters import parse_filters
    from pipeline.sinks.requested import allow_recordings

    chain = parse_filters(job.reading.filter or ())
    source = open_paced_source(job)
    opened: list[Publisher | ControlServer] = []
    try:
        chain.output_size(source.info.sensor_size)
        recordings = allow_recordings(job.record_to, source.info)
        control = ControlServer([job.places.address("capture")])
        opened.append(control)
        overload: Overload = "drop_oldest" if source.info.is_live else "wait"
        outlet = Publisher(job.places.address("frames"), overload=overload, bound=_FRAME_BOUND)
        opened.append(outlet)
        hellos = Subscriber(job.places.address("labels"), [topic_of("hello"), topic_of("wish")])
    except SaccadeError:
        close_all(opened)
        source.close()
        raise
    service = CaptureService(source, outlet, hellos, control, _make_binner, chain, recordings)

    def is_stopped() -> bool:
        control.poll(service.answer)
        return stop.is_set()

    outlet.is_stopped = is_stopped
    _warm_binner()
    return service


def open_paced_source(job: CaptureJob) -> "EventSource":
    """Open the source of a job: a camera as it is, a recording paced."""
    from pipeline.sources.registry import open_source
    from pipeline.sources.replay import ReplaySettings, ReplaySource, measure_span
    from pipeline.sources.stretch import find_first_us

    options = job.reading.options()
    first = open_source(job.uri, **options)
    if first.info.is_live:
        return first
    first_us, span = find_first_us(first), measure_span(first)
    settings = ReplaySettings(job.speed, job.is_looped, job.start_us, job.end_us)
    replay = ReplaySource(lambda: open_source(job.uri, **options), settings)
    replay.first_us, replay.duration_us = span or (first_us, 0)
    return replay


def build_inference(job: InferenceJob, stop: Event) -> "InferenceService":
    """Bind the sockets of an inference process first, so that listeners can connect while the network loads."""
    from pipeline.inference import InferenceService
    from pipeline.power import open_power_meter
    from pipeline.seat import Seat

    places, opened = job.places, []
    overload: Overload = "wait" if job.is_lossless else "drop_newest"
    try:
        opened.append(Publisher(places.address("labels"), overload=overload, bound=_LISTENER_BOUND, is_stopped=stop.is_set))
        controls = [places.address("control")]
        if job.publish:
            opened.append(Publisher(job.publish, bound=_LISTENER_BOUND))
            controls.append(_control_beside(opened[1].address))
        control = ControlServer(controls)
        first = load_network(job, job.network)
    except SaccadeError:
        close_all(opened)
        raise
    seat = Seat(first, partial(load_beside, job), is_beside=may_load_beside(job))
    inlet = Subscriber(places.address("frames"), [], bound=_FRAME_BOUND)
    endpoints = [Endpoint(outlet, address) for outlet, address in zip(opened, control.addresses, strict=True)]
    power = open_power_meter(str(getattr(first.recogniser, "device", "cpu")))
    capture = ControlClient(places.address("capture"))
    return InferenceService(seat, inlet, endpoints, control, capture, power)


def _control_beside(address: str) -> str:
    return f"{address}.control" if address.startswith("ipc://") else f"{address.rpartition(':')[0]}:0"


def _make_binner(sensor_size: SensorSize, wanted: Wish) -> "TimeBinner":
    from pipeline.binning import TimeBinner

    return TimeBinner(sensor_size, SensorSize(wanted.frame_width, wanted.frame_height), wanted.delta_t_us)


def _warm_binner() -> None:
    """Compile the binner's loop while inference loads its network, not when the first event waits."""
    from pipeline.binning import TimeBinner

    size = SensorSize(1, 1)
    list(TimeBinner(size, size, 1).push(empty_events(1)))
