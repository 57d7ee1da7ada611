"""Pictures for people: event counts at (nearly) sensor resolution, at screen rate. The network never sees them."""

import numpy as np
import numpy.typing as npt

from pipeline.schema.events import Events, SensorSize

# Wider pictures than this are made smaller by a whole factor: a window shows no more, and the wire stays quiet.
MAX_WIDTH_PX = 320
# At most this many pictures a second of host time.
RATE_HZ = 30


class PreviewBuilder:
    """Sums events until a picture is taken. `size` is the picture's, in pixels."""

    def __init__(self, sensor_size: SensorSize) -> None:
        self._factor = -(-sensor_size.width // MAX_WIDTH_PX)
        self.size = SensorSize(-(-sensor_size.width // self._factor), -(-sensor_size.height // self._factor))
        self._counts = self._blank()

    def add(self, events: Events) -> None:
        """Count these events, (n,) inside the sensor."""
        if len(events) == 0:
            return
        width, height = self.size
        pixel = (events["p"].astype(np.intp) * height + events["y"] // self._factor) * width + events["x"] // self._factor
        self._counts += np.bincount(pixel, minlength=self._counts.size)

    def take(self) -> npt.NDArray[np.uint8]:
        """Give the counts since the last picture, uint8 (2, height, width), OFF first, saturating at 255, and start anew."""
        picture = np.minimum(self._counts, 255).astype(np.uint8).reshape(2, self.size.height, self.size.width)
        self._counts = self._blank()
        return picture

    def _blank(self) -> npt.NDArray[np.int64]:
        return np.zeros(2 * self.size.width * self.size.height, dtype=np.int64)
