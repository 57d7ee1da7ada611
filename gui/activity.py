"""What the meters said, kept for a few seconds: raster, firing rates, work, energy, stages of latency.

Knows neither Qt, nor sockets, nor a clock.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gui.history import NumberRing, RasterRing, frozen
from gui.snapshot import Cost, LayerRate, Raster
from pipeline.schema.messages import Meter, StageLatency

# Bins that raster and curves remember: 4 s at 10 ms bins, and about one column a pixel.
N_HISTORY_BINS = 400
# More rows than pixels would hide spikes; neurons are a sample anyway, so each layer shows fewer of them.
MAX_RASTER_ROWS = 160
# Weight of the newest bin in a layer's shown firing rate: an average over about half a second at 10 ms bins.
_RATE_WEIGHT = 0.02

# Bins that a shown number is the mean of: half a second at 10 ms bins.
_N_MEAN_BINS = 50


class Activity:
    """What the meters said: raster, firing rates, work, energy, stages of latency."""

    def __init__(self) -> None:
        self._raster = RasterRing(N_HISTORY_BINS)
        self._layers: tuple[LayerRate, ...] = ()
        self._sops, self._energy, self._power = (NumberRing(N_HISTORY_BINS) for _ in range(3))
        self._last: Meter | None = None
        self._n_meters = 0
        self._shown_raster: Raster | None = None
        self._shown_cost: Cost | None = None

    def add(self, meter: Meter, spikes: npt.NDArray[np.uint8]) -> None:
        """Take one meter with its raster, uint8 (R,)."""
        n_lost = meter.seq - self._last.seq - 1 if self._last else 0
        if n_lost > 0:
            self._raster.append_gap(n_lost)
            for ring in (self._sops, self._energy, self._power):
                ring.append_missing(n_lost)
        chosen, rows_of_layers = _choose_rows(tuple(layer.n_rows for layer in meter.layers))
        self._raster.append(spikes[chosen], rows_of_layers)
        self._layers = _smooth_rates(self._layers, meter, rows_of_layers)
        self._sops.append(meter.sops)
        self._energy.append(meter.energy_uj)
        self._power.append(np.nan if meter.power_w is None else meter.power_w)
        self._last = meter
        self._n_meters += 1

    def raster(self) -> Raster | None:
        """Raster to show, None before the first meter."""
        if self._last is None:
            return None
        if self._shown_raster is None or self._shown_raster.revision != self._n_meters:
            image = frozen(self._raster.image())
            self._shown_raster = Raster(image, self._layers, _span_us(self._last), self._n_meters)
        return self._shown_raster

    def cost(self) -> Cost | None:
        """Work and energy to show, None before the first meter."""
        if self._last is None:
            return None
        if self._shown_cost is None or self._shown_cost.revision != self._n_meters:
            sensor = self._last.power_sensor if self._last.power_w is not None else ""
            sops, energy_uj, power_w = (frozen(ring.values()) for ring in (self._sops, self._energy, self._power))
            self._shown_cost = Cost(sops, energy_uj, power_w, sensor, _span_us(self._last), self._n_meters)
        return self._shown_cost

    def means(self) -> tuple[float, float, float]:
        """Operations, estimated microjoules and measured watts a bin: means of the last bins, NaN where none is known."""
        sops, energy_uj, power_w = (_mean_of_last(ring.values()) for ring in (self._sops, self._energy, self._power))
        return sops, energy_uj, power_w

    def stages(self) -> str:
        """Where the last bin's time went, stage by stage, in words."""
        return "" if self._last is None else _describe_stages(self._last.latency_ms)


def _mean_of_last(values: npt.NDArray[np.float64]) -> float:
    recent = values[-_N_MEAN_BINS:]
    known = recent[np.isfinite(recent)]
    return float(known.mean()) if len(known) else float("nan")


def _span_us(meter: Meter) -> int:
    return N_HISTORY_BINS * (meter.end_us - meter.start_us)


@lru_cache(maxsize=16)
def _choose_rows(rows_of_layers: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], tuple[int, ...]]:
    """The first rows of each layer, as many as `MAX_RASTER_ROWS` allows in all (one at least): their places, and how many."""
    limit = max(MAX_RASTER_ROWS // max(len(rows_of_layers), 1), 1)
    kept = tuple(min(n_rows, limit) for n_rows in rows_of_layers)
    starts = np.cumsum((0, *rows_of_layers))
    places = [start + np.arange(n_kept) for start, n_kept in zip(starts, kept, strict=False)]
    return np.concatenate(places) if places else np.zeros(0, dtype=np.intp), kept


def _smooth_rates(before: tuple[LayerRate, ...], meter: Meter, rows_of_layers: tuple[int, ...]) -> tuple[LayerRate, ...]:
    is_same = [layer.name for layer in before] == [layer.name for layer in meter.layers]
    rates = [layer.firing_rate for layer in before] if is_same else [layer.firing_rate for layer in meter.layers]
    return tuple(
        LayerRate(layer.name, n_rows, layer.n_neurons, rate + _RATE_WEIGHT * (layer.firing_rate - rate))
        for layer, rate, n_rows in zip(meter.layers, rates, rows_of_layers, strict=True)
    )


def _describe_stages(stages: StageLatency) -> str:
    words = (("send", stages.send), ("transfer", stages.transfer), ("infer", stages.infer), ("publish", stages.publish))
    return ", ".join(f"{name} {value:.2f} ms" for name, value in words)
