"""Small seeded things that tests are made of: 32 x 24 pixels, 200 events."""

import numpy as np

from pipeline.schema.events import Events, SensorSize, make_events

SENSOR = SensorSize(32, 24)


def random_events(n: int = 200, *, seed: int = 0, sensor: SensorSize = SENSOR, duration_us: int = 100_000) -> Events:
    """`n` events with sorted times in `[0, duration_us)`, uniform over the sensor, polarities at random."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration_us, n))
    return make_events(t, rng.integers(0, sensor.width, n), rng.integers(0, sensor.height, n), rng.integers(0, 2, n))
