"""What this machine has, what it lacks, and the line that mends it. Looks only; changes nothing."""

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.qt_libraries import install_line, missing_packages

State = Literal["ok", "lacking", "broken"]

# Optional parts: extra, module that proves it, what it is for.
_EXTRAS = (
    ("gui", "PySide6", "the window"),
    ("inivation", "dv_processing", "live iniVation cameras"),
    ("prophesee", "neuromorphic_drivers", "live Prophesee cameras"),
    ("hdf5", "h5py", "HDF5 recordings"),
    ("video", "av", "rendering to video"),
    ("daemon", "sdnotify", "systemd readiness and metrics"),
)

# What `saccade daemon` publishes on unless told otherwise.
_DEFAULT_ADDRESS = "tcp://127.0.0.1:5556"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `lacking`: optional and absent, `broken`: needed and absent; `mend` is a line to type, or empty."""

    name: str
    state: State
    found: str
    mend: str = ""


def examine() -> Iterator[Finding]:
    """Every finding, in the order a newcomer needs them."""
    for check in (_python, _torch, _gpu, _checkpoint, _recording, _window, _folders, _bus, _power):
        yield from check()
    for extra, module, purpose in _EXTRAS:
        if importlib.util.find_spec(module) is None:
            yield Finding(f"extra {extra}", "lacking", f"not installed; {purpose}", f"pip install 'saccade[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", purpose)


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    state: State = "ok" if sys.version_info >= (3, 11) else "broken"
    yield Finding("Python", state, found, "" if state == "ok" else "install Python 3.11 or newer")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("torch", "broken", "not installed", "pip install torch")
        return
    import numba
    import torch

    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("numba", "ok", numba.__version__)


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("GPU", "ok", torch.cuda.get_device_name())
    else:
        yield Finding("GPU", "lacking", "none that torch can use; everything runs on the CPU")


def _checkpoint() -> Iterator[Finding]:
    from models.checkpoint import load_checkpoint
    from pipeline.schema.errors import SaccadeError

    try:
        _, info, name = load_checkpoint("default")
    except SaccadeError as error:
        yield Finding("recogniser", "broken", str(error), "reinstall Saccade")
        return
    yield Finding("recogniser", "ok", f"{name}, {len(info.classes)} classes, bins of {info.delta_t_us / 1000:g} ms")


def _recording() -> Iterator[Finding]:
    path = Path(__file__).parents[1] / "recordings" / "demo.aedat4"
    if path.is_file():
        yield Finding("demo recording", "ok", f"{path.stat().st_size / 1e6:.1f} MB")
    else:
        yield Finding("demo recording", "broken", f"{path} is missing", "reinstall Saccade")


def _window() -> Iterator[Finding]:
    if importlib.util.find_spec("PySide6") is None:
        yield Finding("window", "lacking", "PySide6 is not installed", "pip install 'saccade[gui]'")
        return
    packages = missing_packages()
    if packages:
        yield Finding("window", "lacking", "shared libraries or fonts are missing", install_line(packages))
    elif sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield Finding("window", "lacking", "no screen here (DISPLAY is not set); use --headless")
    else:
        yield Finding("window", "ok", "PySide6 with its libraries, and a screen")


def _folders() -> Iterator[Finding]:
    import platformdirs

    folders: tuple[tuple[str, Callable[[], str]], ...] = (
        ("user data", lambda: platformdirs.user_data_dir("saccade")),
        ("sockets", tempfile.gettempdir),
    )
    for name, find in folders:
        folder = Path(find())
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        writable = os.access(existing, os.W_OK)
        yield Finding(
            f"folder for {name}", "ok" if writable else "broken", str(folder), "" if writable else f"chmod u+w {existing}"
        )


def _bus() -> Iterator[Finding]:
    from pipeline.bus import Publisher
    from pipeline.schema.errors import SaccadeError

    try:
        Publisher(_DEFAULT_ADDRESS).close()
    except SaccadeError as error:
        yield Finding("bus", "lacking", str(error), "another daemon may be running; choose another address with [publish] url")
        return
    yield Finding("bus", "ok", f"{_DEFAULT_ADDRESS} is free")


def _power() -> Iterator[Finding]:
    from pipeline.power import NOT_AVAILABLE, open_power_meter

    meter = open_power_meter()
    reading = meter.read()
    meter.close()
    if reading.sensor == NOT_AVAILABLE:
        yield Finding("power sensor", "lacking", "none readable; measured power shows as not available")
    else:
        yield Finding("power sensor", "ok", reading.sensor)
