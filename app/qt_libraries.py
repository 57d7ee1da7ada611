"""Finds the shared libraries that Qt needs and this machine lacks; installs them where it may, else names the line to type.

Run by `make`; `saccade doctor` uses the same finding. Imports neither Qt nor anything heavy.
"""

import ctypes
import os
import shutil
import subprocess
import sys

# Shared library that PySide6-Essentials links to or loads, and the Debian/Ubuntu package that carries it.
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libOpenGL.so.0": "libopengl0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
}
_FONT_PACKAGE = "fonts-dejavu-core"


def missing_packages() -> list[str]:
    """Debian packages whose libraries (or any font at all) are missing here; empty on other systems than Linux."""
    if not sys.platform.startswith("linux"):
        return []
    packages = [package for library, package in _PACKAGES.items() if not _loads(library)]
    if not _has_font():
        packages.append(_FONT_PACKAGE)
    return packages


def install_line(packages: list[str]) -> str:
    """The one line to type for `packages`."""
    return f"sudo apt-get install -y --no-install-recommends {' '.join(packages)}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_font() -> bool:
    listing = shutil.which("fc-list")
    if listing is None:
        return any(os.path.isdir(folder) and any(os.scandir(folder)) for folder in ("/usr/share/fonts/truetype",))  # noqa: PTH112
    return bool(subprocess.run([listing], capture_output=True, check=False).stdout.strip())


def _run(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def main() -> int:
    """Install what is missing when this may be done silently (root on Debian or Ubuntu), else say the line; never fails."""
    packages = missing_packages()
    if not packages:
        return 0
    apt = shutil.which("apt-get")
    if apt is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print(f"Qt lacks shared libraries here; the window needs: {install_line(packages)}", file=sys.stderr)
        return 0
    print(f"installing shared libraries for Qt: {' '.join(packages)}", file=sys.stderr)
    _run([apt, "update"])
    _run([apt, "install", "-y", "--no-install-recommends", *packages])
    still = missing_packages()
    if still:
        print(f"could not install them; the window needs: {install_line(still)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
