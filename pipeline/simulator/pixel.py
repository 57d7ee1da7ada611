"""The pixels of a dynamic vision sensor: log light in, events out.

A pixel remembers the log light of its last event. When the light has moved from there by its threshold, it sends ON or OFF and
is blind for its refractory period, after which it remembers the light of that moment (Lichtsteiner et al. 2008, *A 128x128
120 dB 15 us latency asynchronous temporal contrast vision sensor*). Times are found by straight lines between pictures, as in
ESIM (Rebecq et al. 2018, *ESIM: an open event camera simulator*). Mismatch of thresholds, a photoreceptor that is slower in the
dark, leak, shot noise that is stronger in the dark, and hot pixels are those of v2e (Hu et al. 2021, *v2e: from video frames to
realistic DVS events*). Knows nothing of scenes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.schema.events import Events, SensorSize, make_events
from pipeline.simulator.readout import Readout
from pipeline.simulator.variation import EVERYTHING, Variation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows of the state of a pixel array: remembered log light, blind until (us), log light behind the low-pass filter.
_REFERENCE, _BLIND_UNTIL, _SEEN = 0, 1, 2
# Rows of the traits: ON threshold, OFF threshold (log units), refractory period (us), leak (log units per us).
_THETA_ON, _THETA_OFF, _REFRACTORY, _LEAK = 0, 1, 2, 3
# The last event of a pixel that never sent one.
_LONG_AGO_US = -(1 << 40)
# The buffers grow with the shortest refractory period; real cameras hardly go below this one.
_MIN_REFRACTORY_US = 50
_LEAST_THETA = 0.06
# Share of its bandwidth that a photoreceptor keeps in the dark: v2e lets it go down to about a tenth.
_DARK_BANDWIDTH = 0.1
# Change of log light that no threshold notices, for which no exponential is worth its time.
_STILL = 1e-5


@dataclass(frozen=True, slots=True)
class PixelTraits:
    """What each of N = H * W pixels is like, in row order.

    `theta_on`, `theta_off`: thresholds in natural log units, (N,). `refractory_us`: whole microseconds >= 50, (N,).
    `leak_hz`: ON events that still light yields, (N,). `noise_hz`: shot noise, both polarities together, (N,).
    `bandwidth_hz`: of the photoreceptor in full light (log light 0); 0 is an ideal one, which follows at once.
    `echo_share`, `double_share`: chances that the readout adds to an event, see `readout`.
    """

    theta_on: Floats
    theta_off: Floats
    refractory_us: Integers
    leak_hz: Floats
    noise_hz: Floats
    bandwidth_hz: float = 0.0
    echo_share: float = 0.0
    double_share: float = 0.0


def draw_traits(
    rng: np.random.Generator,
    sensor_size: SensorSize,
    brightness: npt.NDArray[np.float32],
    variation: Variation = EVERYTHING,
) -> PixelTraits:
    """Draw the pixels of one camera; `brightness` is 0..1 (H, W), and dark pixels are noisier.

    Without `noise` they are ideal.
    """
    n = sensor_size.width * sensor_size.height
    theta, asymmetry = rng.uniform(0.10, 0.21), rng.uniform(0.88, 1.15)
    mismatch = rng.uniform(0.015, 0.045)
    noise_hz = np.exp(rng.uniform(np.log(0.05), np.log(1.0)))
    noise = noise_hz * rng.gamma(2.0, 0.5, n) * (1.6 - np.minimum(brightness.reshape(n).astype(np.float64), 1.0))
    n_hot = int(rng.integers(0, 6))
    noise[rng.choice(n, n_hot, replace=False)] = rng.uniform(20.0, 150.0, n_hot)
    traits = PixelTraits(
        theta_on=np.clip(rng.normal(theta, mismatch, n), _LEAST_THETA, None),
        theta_off=np.clip(rng.normal(theta * asymmetry, mismatch, n), _LEAST_THETA, None),
        refractory_us=rng.integers(500, 1001, n),
        leak_hz=np.full(n, rng.uniform(0.03, 0.2)),
        noise_hz=noise,
        bandwidth_hz=rng.uniform(150.0, 500.0),
        # one camera in five adds nothing
        echo_share=max(0.0, rng.uniform(-0.1, 0.45)),
        double_share=max(0.0, rng.uniform(-0.05, 0.25)),
    )
    if variation.noise:
        return traits
    usual = np.full(n, 0.16)
    return PixelTraits(usual, usual.copy(), np.full(n, 750), np.zeros(n), np.zeros(n))


@njit(cache=True, nogil=True, error_model="numpy")
def _sense_pixel(traits: Floats, state: Floats, now_seen: float, span: tuple[float, float], hits: Floats) -> tuple[int, int]:
    """Let one pixel's photoreceptor go to `now_seen`; give the number of events and their polarity.

    `traits` (4,), `state` (3,) is updated; `span` is start and end in us; the times of the events are left in `hits`.
    """
    start_us, end_us = span
    seen = state[_SEEN]
    state[_SEEN] = now_seen
    if state[_BLIND_UNTIL] > end_us:
        return 0, 0
    leaked = traits[_LEAK] * (end_us - start_us)
    # Leak lowers the remembered light steadily; the same is the light rising steadily against a constant memory.
    slope = (now_seen - seen + leaked) / (end_us - start_us)
    time, value = start_us, seen
    if state[_BLIND_UNTIL] > start_us:
        time = state[_BLIND_UNTIL]
        value = seen + slope * (time - start_us)
        state[_REFERENCE] = value
    n_hits = 0
    polarity = 1 if slope > 0.0 else 0
    step = traits[_THETA_ON] if polarity == 1 else -traits[_THETA_OFF]
    while slope != 0.0:
        wait = max((state[_REFERENCE] + step - value) / slope, 0.0)
        if time + wait > end_us:
            break
        hits[n_hits] = time + wait
        n_hits += 1
        time = time + wait + traits[_REFRACTORY]
        state[_BLIND_UNTIL] = time
        if time > end_us:
            break
        value = seen + slope * (time - start_us)
        state[_REFERENCE] = value
    state[_REFERENCE] -= leaked
    return n_hits, polarity


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(seen: float, target: float, full_share: float) -> float:
    """Log light behind the photoreceptor, a first-order low-pass whose bandwidth grows with the light (v2e, section 4.2).

    `full_share` is duration over time constant in full light; infinite for an ideal photoreceptor.
    """
    change = target - seen
    if -_STILL < change < _STILL or full_share == np.inf:
        return target
    light = min(np.exp(target), 1.0)
    return float(seen + change * (1.0 - np.exp(-full_share * (_DARK_BANDWIDTH + (1.0 - _DARK_BANDWIDTH) * light))))


@njit(cache=True, nogil=True, error_model="numpy")
def _sense_picture(
    traits: Floats, state: Floats, picture: npt.NDArray[np.float32], span: tuple[float, float, float], out: Integers
) -> int:
    """Let all pixels see the next picture (N,); events go to the columns of `out` (3, capacity): time, pixel, polarity.

    `span` is start and end in us, and the duration in time constants of the photoreceptor.
    """
    n_events = 0
    hits = np.empty(out.shape[1] // picture.shape[0])
    start_us, end_us, full_share = span
    duration_us = end_us - start_us
    for pixel in range(picture.shape[0]):
        # Most pixels see too little change to send anything: the same arithmetic as below, without the search for times.
        seen = _follow(state[pixel, _SEEN], picture[pixel], full_share)
        leaked = traits[pixel, _LEAK] * duration_us
        moved = seen + leaked - state[pixel, _REFERENCE]
        is_calm = -traits[pixel, _THETA_OFF] < moved < traits[pixel, _THETA_ON]
        if is_calm and state[pixel, _BLIND_UNTIL] <= start_us:
            state[pixel, _SEEN] = seen
            state[pixel, _REFERENCE] -= leaked
            continue
        n_hits, polarity = _sense_pixel(traits[pixel], state[pixel], seen, (start_us, end_us), hits)
        for index in range(n_hits):
            out[0, n_events] = int(hits[index])
            out[1, n_events] = pixel
            out[2, n_events] = polarity
            n_events += 1
    return n_events


@njit(cache=True, nogil=True, error_model="numpy")
def _find_awake(events: Integers, refractory_us: Integers, last_us: Integers) -> npt.NDArray[np.bool_]:
    """Tell which events (3, n), sorted by time, come when their pixel is not blind; `last_us` (N,) is carried along."""
    is_awake = np.empty(events.shape[1], dtype=np.bool_)
    for index in range(events.shape[1]):
        time, pixel = events[0, index], events[1, index]
        is_awake[index] = time - last_us[pixel] >= refractory_us[pixel]
        if is_awake[index]:
            last_us[pixel] = time
    return is_awake


class PixelArray:
    """The pixels of one camera, with what they remember.

    `see` is called for each picture in turn, `take` whenever events are wanted. `settled` in 0..1 says how far apart pixels are
    in their memory at the start: 1 is a camera that has been looking for long, 0 one whose pixels all just sent an event.
    """

    def __init__(
        self,
        traits: PixelTraits,
        picture: npt.NDArray[np.float32],
        rng: np.random.Generator,
        *,
        start_us: int = 0,
        settled: float = 1.0,
    ) -> None:
        n = picture.size
        self._sensor_size = SensorSize(picture.shape[1], picture.shape[0])
        self._traits = traits
        self._rng = rng
        self._time_us = start_us
        self._taken_us = start_us
        leak = traits.theta_on * traits.leak_hz * 1e-6
        self._table = np.stack((traits.theta_on, traits.theta_off, traits.refractory_us.astype(np.float64), leak), axis=1)
        seen = picture.reshape(n).astype(np.float64)
        memory = seen - settled * rng.uniform(-0.95 * traits.theta_off, 0.95 * traits.theta_on)
        self._state = np.stack((memory, np.full(n, float(start_us)), seen), axis=1)
        self._noise_up_to_hz = np.cumsum(traits.noise_hz)
        self._last_us = np.full(n, _LONG_AGO_US, dtype=np.int64)
        self._readout = Readout(traits.echo_share, traits.double_share, rng)
        self._pending: list[Integers] = []
        self._buffer = np.empty((3, 0), dtype=np.int64)
        self._shortest_us = int(traits.refractory_us.min())
        assert self._shortest_us >= _MIN_REFRACTORY_US, "refractory periods size the buffers"

    def see(self, picture: npt.NDArray[np.float32], time_us: int) -> None:
        """Let the light go in straight lines to `picture`, log units (H, W), which is reached at `time_us`."""
        duration_us = time_us - self._time_us
        bandwidth_hz = self._traits.bandwidth_hz
        full_share = np.inf if bandwidth_hz <= 0.0 else 2.0 * np.pi * bandwidth_hz * duration_us * 1e-6
        n = picture.size
        capacity = n * (duration_us // self._shortest_us + 2)
        if self._buffer.shape[1] != capacity:
            self._buffer = np.empty((3, capacity), dtype=np.int64)
        span = (float(self._time_us), float(time_us), float(full_share))
        n_events = _sense_picture(self._table, self._state, picture.reshape(n), span, self._buffer)
        self._pending.append(self._buffer[:, :n_events].copy())
        self._time_us = time_us

    def take(self) -> Events:
        """Events since the last call, noise among them, sorted by time."""
        columns = np.concatenate((*self._pending, self._noise()), axis=1)
        self._pending = []
        self._taken_us = self._time_us
        columns = np.ascontiguousarray(columns[:, np.argsort(columns[0], kind="stable")])
        columns = columns[:, _find_awake(columns, self._traits.refractory_us, self._last_us)]
        columns = self._readout.pass_on(columns, self._time_us)
        width = self._sensor_size.width
        return make_events(columns[0], columns[1] % width, columns[1] // width, columns[2])

    def _noise(self) -> Integers:
        """Shot noise of the time since the last call, (3, n)."""
        duration_us = self._time_us - self._taken_us
        # One Poisson number for all pixels, then a pixel for each by its share: the same chances as a number for each pixel.
        n_events = self._rng.poisson(self._noise_up_to_hz[-1] * duration_us * 1e-6)
        drawn = self._rng.uniform(0.0, self._noise_up_to_hz[-1], n_events)
        # rounding may draw the very end, which no pixel's share reaches
        pixels = np.minimum(np.searchsorted(self._noise_up_to_hz, drawn, side="right"), len(self._noise_up_to_hz) - 1)
        times = self._rng.integers(self._taken_us, max(self._time_us, self._taken_us + 1), n_events)
        return np.stack((times, pixels, self._rng.integers(0, 2, n_events)))
