"""Addresses of the bus: which are allowed, what they look like, and whether one is taken. Knows no ZeroMQ.

Every address is local (ipc, inproc, loopback): keys do not exist yet, so anything else is refused.
"""

import contextlib
import ipaddress
import re
import socket
import stat
from pathlib import Path

from pipeline.schema.errors import AddressRefusedError, BusError

# sun_path of a Unix socket holds 108 bytes with its final zero; macOS has 104.
_MAX_IPC_PATH_BYTES = 103
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\[\]]+):(?P<port>\d{1,5}|\*)")


def check_address(address: str) -> str:
    """Give the address in the form that sockets take; AddressRefusedError when others could reach it, or when it is none."""
    if address.startswith("inproc://") and len(address) > len("inproc://"):
        return address
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        n_bytes = len(address.removeprefix("ipc://").encode())
        if n_bytes > _MAX_IPC_PATH_BYTES:
            raise BusError(f"{address}: the path has {n_bytes} bytes; a socket path has at most {_MAX_IPC_PATH_BYTES}")
        return address
    match = _TCP.fullmatch(address)
    if match is None or (match["port"] != "*" and int(match["port"]) > 65535):
        raise AddressRefusedError(f"{address!r} is no address of the bus; use ipc://PATH or tcp://127.0.0.1:PORT")
    host = "127.0.0.1" if match["host"] == "localhost" else match["host"]
    if not _is_loopback(host):
        raise AddressRefusedError(
            f"{address} is refused: other machines could reach it, and this version has no keys to guard it; "
            "use tcp://127.0.0.1:PORT or ipc://PATH, and an ssh tunnel from elsewhere"
        )
    return f"tcp://{host}:{match['port']}"


def control_address(bus_url: str, announced: str) -> str:
    """Where to send requests: the announced address, with the host through which the bus itself was reached."""
    bus, control = _TCP.fullmatch(bus_url), _TCP.fullmatch(announced)
    if bus is None or control is None:
        return announced
    return f"tcp://{bus['host']}:{control['port']}"


def refuse_taken_path(address: str) -> None:
    """Raise BusError when an ipc path is in use or is no socket: ZeroMQ would take it over without asking."""
    path = Path(address.removeprefix("ipc://"))
    if not address.startswith("ipc:///") or not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise BusError(
            f"cannot publish on {address}: a file of this name exists and is no socket; choose another with --publish"
        )
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.connect(str(path))
        raise BusError(f"cannot publish on {address}: address already in use; choose another with --publish")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
