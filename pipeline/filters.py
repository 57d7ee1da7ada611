"""Filters of events: flips of orientation, region of interest, polarity. Pure functions that never invent an event."""

from dataclasses import dataclass

from pipeline.schema.errors import UsageError
from pipeline.schema.events import Events, SensorSize


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of pixels: `x`, `y` its top-left corner, `width` and `height` in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What to do with events before they are binned, in this order: transpose, flip x, flip y, region, polarity.

    `polarity` 0 or 1 keeps that polarity only, None keeps both. The default changes nothing.
    """

    is_transposed: bool = False
    is_flipped_x: bool = False
    is_flipped_y: bool = False
    region: Region | None = None
    polarity: int | None = None


def flip_x(events: Events, sensor_size: SensorSize) -> Events:
    """Mirror left and right: x becomes width - 1 - x. Gives a new array (n,)."""
    flipped = events.copy()
    flipped["x"] = sensor_size.width - 1 - events["x"]
    return flipped


def flip_y(events: Events, sensor_size: SensorSize) -> Events:
    """Mirror top and bottom: y becomes height - 1 - y. Gives a new array (n,)."""
    flipped = events.copy()
    flipped["y"] = sensor_size.height - 1 - events["y"]
    return flipped


def transpose(events: Events) -> Events:
    """Exchange x and y, and with them width and height of the sensor. Gives a new array (n,)."""
    exchanged = events.copy()
    exchanged["x"], exchanged["y"] = events["y"], events["x"]
    return exchanged


def keep_region(events: Events, region: Region) -> Events:
    """Keep the events inside the region and count pixels from its corner, as if it were the sensor. (n,) to (m,), m <= n."""
    x, y = events["x"], events["y"]
    inside = (x >= region.x) & (x < region.x + region.width) & (y >= region.y) & (y < region.y + region.height)
    kept: Events = events[inside]
    kept["x"] -= region.x
    kept["y"] -= region.y
    return kept


def keep_polarity(events: Events, polarity: int) -> Events:
    """Keep the events of this polarity, 0 or 1. (n,) to (m,), m <= n."""
    kept: Events = events[events["p"] == polarity]
    return kept


def filtered_size(sensor_size: SensorSize, settings: FilterSettings) -> SensorSize:
    """Size of the pixel array after the filters; UsageError when the region is not inside the sensor."""
    size = SensorSize(sensor_size.height, sensor_size.width) if settings.is_transposed else sensor_size
    region = settings.region
    if region is None:
        return size
    fits = region.x >= 0 and region.y >= 0 and region.width > 0 and region.height > 0
    if not fits or region.x + region.width > size.width or region.y + region.height > size.height:
        raise UsageError(
            f"region {region.x},{region.y} of {region.width} x {region.height} pixels is not inside the sensor of "
            f"{size.width} x {size.height}"
        )
    return SensorSize(region.width, region.height)


def apply_filters(events: Events, sensor_size: SensorSize, settings: FilterSettings) -> Events:
    """Run all filters over one packet (n,); `sensor_size` is that of the packet. An empty packet stays empty."""
    if settings.is_transposed:
        events = transpose(events)
        sensor_size = SensorSize(sensor_size.height, sensor_size.width)
    if settings.is_flipped_x:
        events = flip_x(events, sensor_size)
    if settings.is_flipped_y:
        events = flip_y(events, sensor_size)
    if settings.region is not None:
        events = keep_region(events, settings.region)
    if settings.polarity is not None:
        events = keep_polarity(events, settings.polarity)
    return events
