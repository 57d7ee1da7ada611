"""Filters by place and polarity: orientation, regions, masks, ON and OFF. They remember nothing."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from pipeline.filters.base import Filter, FilterState
from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize


@dataclass(frozen=True, slots=True)
class Orientation(Filter):
    """Turn or mirror the picture: first exchange x and y, then mirror left and right, then top and bottom."""

    name: ClassVar[str] = "orientation"
    is_dropping: ClassVar[bool] = False
    is_transposed: bool = False
    is_flipped_x: bool = False
    is_flipped_y: bool = False

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Width and height exchanged where x and y are."""
        return SensorSize(sensor_size.height, sensor_size.width) if self.is_transposed else sensor_size

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import orient

        width, height = self.output_size(state.sensor_size)
        turned = np.empty_like(events)
        orient(events, turned, (self.is_transposed, self.is_flipped_x, self.is_flipped_y), (width - 1, height - 1))
        return turned


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of pixels: `x`, `y` its top-left corner, `width` and `height` in pixels."""

    x: int
    y: int
    width: int
    height: int

    def check_inside(self, sensor_size: SensorSize) -> None:
        """Raise UsageError when the region is not inside the sensor."""
        fits = self.x >= 0 and self.y >= 0 and self.width > 0 and self.height > 0
        if not fits or self.x + self.width > sensor_size.width or self.y + self.height > sensor_size.height:
            raise UsageError(
                f"region {self.x},{self.y} of {self.width} x {self.height} pixels is not inside the sensor of "
                f"{sensor_size.width} x {sensor_size.height}"
            )


@dataclass(frozen=True, slots=True)
class KeepRegion(Filter):
    """Keep the events inside a region and count pixels from its corner, as if it were the sensor.

    `is_in_place` keeps coordinates and sensor as they were instead.
    """

    name: ClassVar[str] = "roi"
    region: Region
    is_in_place: bool = False

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the region, unless events stay in place; UsageError when it is not inside the sensor."""
        self.region.check_inside(sensor_size)
        return sensor_size if self.is_in_place else SensorSize(self.region.width, self.region.height)

    def _keep(self, events: Events, state: FilterState) -> Events:  # noqa: ARG002 # the same for every sensor
        from pipeline.filters.kernels import keep_region

        region = self.region
        shift = (0, 0) if self.is_in_place else (region.x, region.y)
        kept = np.empty_like(events)
        return kept[: keep_region(events, kept, (region.x, region.y, region.width, region.height), shift)]


@dataclass(frozen=True, slots=True)
class DropRegion(Filter):
    """Drop the events inside a region of no interest; coordinates and sensor stay as they were."""

    name: ClassVar[str] = "roni"
    region: Region

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the sensor; UsageError when the region is not inside it."""
        self.region.check_inside(sensor_size)
        return sensor_size

    def _keep(self, events: Events, state: FilterState) -> Events:  # noqa: ARG002 # the same for every sensor
        from pipeline.filters.kernels import drop_region

        region = self.region
        kept = np.empty_like(events)
        return kept[: drop_region(events, kept, (region.x, region.y, region.width, region.height))]


@dataclass(frozen=True, slots=True)
class DropPixels(Filter):
    """Drop the events of named pixels; `pixels` are (x, y)."""

    name: ClassVar[str] = "mask"
    pixels: tuple[tuple[int, int], ...]

    def output_size(self, sensor_size: SensorSize) -> SensorSize:
        """Size of the sensor; UsageError when a pixel is not inside it."""
        for x, y in self.pixels:
            if not (0 <= x < sensor_size.width and 0 <= y < sensor_size.height):
                raise UsageError(f"masked pixel {x}:{y} is not inside the sensor of {sensor_size.width} x {sensor_size.height}")
        return sensor_size

    def _remember(self, sensor_size: SensorSize) -> tuple[npt.NDArray[Any], ...]:
        is_masked = np.zeros((sensor_size.height, sensor_size.width), dtype=np.bool_)
        for x, y in self.pixels:
            is_masked[y, x] = True
        return (is_masked,)

    def _keep(self, events: Events, state: FilterState) -> Events:
        from pipeline.filters.kernels import drop_pixels

        kept = np.empty_like(events)
        return kept[: drop_pixels(events, kept, state.memory[0])]


@dataclass(frozen=True, slots=True)
class KeepPolarity(Filter):
    """Keep the events of one polarity, 0 OFF or 1 ON."""

    name: ClassVar[str] = "polarity"
    polarity: Literal[0, 1]

    def _keep(self, events: Events, state: FilterState) -> Events:  # noqa: ARG002 # the same for every sensor
        from pipeline.filters.kernels import keep_polarity

        kept = np.empty_like(events)
        return kept[: keep_polarity(events, kept, self.polarity)]


@dataclass(frozen=True, slots=True)
class ChangePolarity(Filter):
    """Exchange ON and OFF, or make every event ON (`is_merged`)."""

    name: ClassVar[str] = "polarity"
    is_dropping: ClassVar[bool] = False
    is_merged: bool = False

    def _keep(self, events: Events, state: FilterState) -> Events:  # noqa: ARG002 # the same for every sensor
        from pipeline.filters.kernels import change_polarity

        changed = np.empty_like(events)
        change_polarity(events, changed, self.is_merged)
        return changed
