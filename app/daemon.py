"""The headless service: labels on a bus for others and as JSON on stdout, with signs of life for systemd where it asks."""

import logging
import os
from pathlib import Path
from typing import Protocol

import msgspec

from app.config import DEFAULT_PUBLISH_URL, RecordSection, load_settings
from app.printer import LabelPrinter
from app.streaming import Plan, Run
from pipeline.addresses import check_address
from pipeline.schema.clock import NS_PER_S, host_ns
from pipeline.schema.errors import UsageError
from pipeline.service import Pulse

_LOG = logging.getLogger(__name__)
# systemd asks for a sign twice within its watchdog time; without one, every five seconds is often enough.
_DEFAULT_WATCHDOG_US = 10_000_000


class Notifier(Protocol):
    """Who wants to hear that the service lives; `sdnotify.SystemdNotifier` is one."""

    def notify(self, state: str) -> None:
        """Pass on `READY=1`, `WATCHDOG=1` or `STOPPING=1`."""
        ...


class NoNotifier:
    """Stands where nobody asked."""

    def notify(self, state: str) -> None:
        """Do nothing."""


def open_notifier() -> Notifier:
    """Give systemd's ear where `NOTIFY_SOCKET` names one and the extra is installed."""
    if "NOTIFY_SOCKET" not in os.environ:
        return NoNotifier()
    try:
        import sdnotify
    except ImportError:
        _LOG.warning("systemd wants to be notified, but sdnotify is not installed: pip install 'saccade[daemon]'")
        return NoNotifier()
    notifier: Notifier = sdnotify.SystemdNotifier()
    return notifier


def run_daemon(config: Path | None, record_to: Path | None = None) -> int:
    """Serve until the source ends or a signal comes: 0 after SIGTERM, as services expect. `record_to` beats the file's."""
    settings = load_settings(config)
    if record_to is not None:
        settings = msgspec.structs.replace(settings, record=RecordSection(str(record_to)))
    if not settings.source.uri:
        raise UsageError('the daemon needs a source; write [source] uri = "file:recording.aedat4" into its configuration file')
    url = settings.publish.url or DEFAULT_PUBLISH_URL
    check_address(url)
    settings = msgspec.structs.replace(settings, publish=msgspec.structs.replace(settings.publish, url=url))
    notifier = open_notifier()
    pulse = Pulse(int(os.environ.get("WATCHDOG_USEC", _DEFAULT_WATCHDOG_US)) * 1000 // 2)
    is_ready = False

    def show_life() -> None:
        nonlocal is_ready
        if printer.heard_ns and not is_ready:
            is_ready = True
            notifier.notify("READY=1")
        # a pulse while the bus is silent would hide a pipeline that hangs
        if is_ready and host_ns() - printer.heard_ns < 5 * NS_PER_S and pulse.is_due(host_ns()):
            notifier.notify("WATCHDOG=1")

    printer = LabelPrinter(is_json=True)
    run = Run(Plan(settings), printer, show_life)
    try:
        code = run.go()
    finally:
        notifier.notify("STOPPING=1")
    return 0 if run.terminated.is_set() else code
