"""Measured power of this machine, in watts, or "not available". Only this file knows its sensors; it never guesses."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.schema.clock import host_ns
from pipeline.service import Pulse

_POWERCAP = Path("/sys/class/powercap")
NOT_AVAILABLE = "not available"


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Mean power in watts since the last reading (None where nothing measures it) and the name of the sensor."""

    power_w: float | None
    sensor: str


class PowerMeter(Protocol):
    """A sensor of power: inference reads it a few times a second and closes it at the end."""

    def read(self) -> PowerReading:
        """Give the power now."""
        ...

    def close(self) -> None:
        """Release the sensor; may be called twice."""
        ...


class PacedMeter:
    """A meter read at most once a period, because a sensor answers slower than bins close; in between, the last reading."""

    def __init__(self, meter: PowerMeter, period_ns: int) -> None:
        self._meter, self._pulse = meter, Pulse(period_ns)
        self._reading = PowerReading(None, "")

    def read(self) -> PowerReading:
        """Give the power of the last period."""
        if self._pulse.is_due(host_ns()):
            self._reading = self._meter.read()
        return self._reading

    def close(self) -> None:
        """Release the sensor; may be called twice."""
        self._meter.close()


class NullMeter:
    """Stands where nothing measures power."""

    def read(self) -> PowerReading:
        """Say that there is no sensor."""
        return PowerReading(None, NOT_AVAILABLE)

    def close(self) -> None:
        """Do nothing."""


class RaplMeter:
    """Energy counters of the processor packages, in microjoules; they wrap at `max_energy_range_uj`."""

    def __init__(self, root: Path = _POWERCAP) -> None:
        # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that the package's counter holds already
        self._packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
        if not self._packages:
            raise OSError("no energy counters")
        self._ranges = [int((path / "max_energy_range_uj").read_text()) for path in self._packages]
        self._last_uj = self._read_counters()
        self._last_ns = host_ns()

    def read(self) -> PowerReading:
        """Give the mean power of all packages since the last reading; None when no time has passed or a counter vanished."""
        now_ns = host_ns()
        try:
            now_uj = self._read_counters()
        except (OSError, ValueError):
            return PowerReading(None, NOT_AVAILABLE)
        used_uj = sum(used_energy_uj(*values) for values in zip(self._last_uj, now_uj, self._ranges, strict=True))
        elapsed_ns = now_ns - self._last_ns
        self._last_uj, self._last_ns = now_uj, now_ns
        return PowerReading(used_uj * 1000 / elapsed_ns if elapsed_ns > 0 else None, "RAPL (processor)")

    def close(self) -> None:
        """Do nothing: the counters are files that are opened for each reading."""

    def _read_counters(self) -> list[int]:
        return [int((path / "energy_uj").read_text()) for path in self._packages]


class NvmlMeter:
    """Board power of one NVIDIA GPU. Raises ImportError or `pynvml.NVMLError` where there is none."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        # the first GPU that CUDA may use is the one that runs the network
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
        by_index = chosen.isdigit() or not chosen
        self._handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(chosen or 0)) if by_index else pynvml.nvmlDeviceGetHandleByUUID(chosen)
        )
        name = pynvml.nvmlDeviceGetName(self._handle)
        self._sensor = f"NVML ({name.decode() if isinstance(name, bytes) else name})"

    def read(self) -> PowerReading:
        """Give the board's power; None when the driver does not answer."""
        try:
            return PowerReading(self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000, self._sensor)
        except self._nvml.NVMLError:
            return PowerReading(None, NOT_AVAILABLE)

    def close(self) -> None:
        """Let the driver go."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


def used_energy_uj(before_uj: int, after_uj: int, range_uj: int) -> int:
    """Microjoules between two readings of a counter that starts again at zero after `range_uj`."""
    return after_uj - before_uj if after_uj >= before_uj else after_uj + range_uj + 1 - before_uj


def open_power_meter(device: str = "cpu") -> PowerMeter:
    """Open the sensor that belongs to where the network runs, `cpu` or `cuda`; a `NullMeter` where there is none to read."""
    if device.startswith("cuda"):
        try:
            return NvmlMeter()
        except Exception:  # noqa: BLE001 - pynvml raises its own errors, which exist only when it is installed
            return NullMeter()
    try:
        return RaplMeter()
    except (OSError, ValueError):  # absent, or readable by root only
        return NullMeter()
