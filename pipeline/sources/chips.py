"""Sensors by the names that recordings carry, and how wide and high each is. Knows no file format."""

import re

from pipeline.schema.errors import UsageError
from pipeline.schema.events import SensorSize

# Pixels of the sensors that wrote AEDAT files, by the part of the device or class name that tells them apart.
CHIPS = {
    "dvs128": SensorSize(128, 128),
    "tmpdiff128": SensorSize(128, 128),
    "davis128": SensorSize(128, 128),
    "davis208": SensorSize(208, 192),
    "davis240": SensorSize(240, 180),
    "davis346": SensorSize(346, 260),
    "davis640": SensorSize(640, 480),
    "davishet640": SensorSize(640, 480),
    "dvs640": SensorSize(640, 480),
    "dvxplorer": SensorSize(640, 480),
}
# Prophesee's sensors, by the names of its documentation without blanks and dots.
GEN3, GEN4, GENX320 = SensorSize(640, 480), SensorSize(1280, 720), SensorSize(320, 320)
SENSORS = {"gen3": GEN3, "gen31": GEN3, "gen4": GEN4, "gen41": GEN4, "imx636": GEN4, "genx320": GENX320}
# Coordinates have 16 bits.
_WIDEST = 1 << 16


def find_chip(text: str) -> str | None:
    """Name of the chip that a device name or class name speaks of; None if it is none of ours."""
    lower = text.lower()
    return next((name for name in CHIPS if name in lower), None)


def require_chip(text: str) -> str:
    """Name of the chip that a user asked for; UsageError with all names if there is none like it."""
    name = find_chip(text)
    if name is None:
        raise UsageError(f"unknown chip {text!r}; --chip takes one of {', '.join(CHIPS)}")
    return name


def size_of(text: str) -> SensorSize:
    """Size of the sensor that a user described, by the name of its chip or as WIDTHxHEIGHT; UsageError for anything else."""
    pixels = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if pixels is None:
        named = SENSORS.get(re.sub(r"[^a-z0-9]", "", text.lower()))
        chip = find_chip(text)
        if named is None and chip is None:
            raise UsageError(f"unknown sensor {text!r}; --chip takes one of {', '.join([*CHIPS, *SENSORS])}, or WIDTHxHEIGHT")
        return named or CHIPS[chip or ""]
    width, height = int(pixels[1]), int(pixels[2])
    if not (0 < width <= _WIDEST and 0 < height <= _WIDEST):
        raise UsageError(f"a sensor of {text} pixels cannot be; width and height lie between 1 and {_WIDEST}")
    return SensorSize(width, height)
