"""The window as a whole: `open_window` joins feed, state and board for as long as it is open.

Importing this file costs nothing: Qt is loaded when a window opens, and what is missing for it is named.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gui.feed import BusFeed, Feed
from gui.state import WindowState
from pipeline.schema.clock import host_ns
from pipeline.schema.errors import InputError, MissingExtraError, SaccadeError

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from gui.panels.board import Board

# Pictures come at most 30 times a second; drawing more often would only take time from inference.
REFRESH_MS = 33
# Exit code of a program that was interrupted from the keyboard.
_INTERRUPTED = 130
_QT_LIBRARIES = "libgl1 libegl1 libopengl0 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 libxcb-cursor0"


def open_window(bus_url: str, *, title: str = "Saccade", screenshot: Path | None = None, seconds: float | None = None) -> int:
    """Show the bus at `bus_url` until the window is closed; the exit code.

    With `seconds` the window closes by itself after that time; with `screenshot` it leaves a PNG of itself there.
    The exit code is 0, or 130 when interrupted from the keyboard: what a run came to is for its owner to say.
    """
    require_qt()
    # the bus comes first: an address that cannot be used is told before anything appears
    feed = BusFeed(bus_url)
    try:
        return show_feed(feed, bus_url, title=title, screenshot=screenshot, seconds=seconds)
    finally:
        feed.close()


def show_feed(feed: Feed, url: str, *, title: str, screenshot: Path | None = None, seconds: float | None = None) -> int:
    """Show any feed until the window is closed; see `open_window`. `url` is only what the window waits for, in words."""
    from PySide6.QtCore import QTimer

    from gui.panels.board import Board

    application = prepare_application()
    board = Board(title)
    player = Player(feed, WindowState(url), board)
    timer = QTimer()
    timer.timeout.connect(player.step)
    board.requested.connect(feed.send)
    board.closed.connect(application.quit)
    player.step()
    board.show()
    timer.start(REFRESH_MS)
    if seconds is not None:
        QTimer.singleShot(int(1000 * seconds), board.close)
    try:
        with _interrupts(board.close) as was_interrupted:
            application.exec()
            if screenshot is not None:
                save_picture(board, screenshot)
    finally:
        timer.stop()
        board.deleteLater()
        application.processEvents()
    return _INTERRUPTED if was_interrupted() else 0


class Player:
    """One turn of the window: messages into the state, the state onto the board."""

    def __init__(self, feed: Feed, state: WindowState, board: "Board", clock: Callable[[], int] = host_ns) -> None:
        self._feed = feed
        self._state = state
        self._board = board
        self._clock = clock

    def step(self) -> None:
        """Take what arrived since the last turn and draw."""
        for arrival in self._feed.drain():
            self._state.apply(arrival.message, arrival.array, arrival.arrived_ns)
        self._state.apply_report(self._feed.report())
        self._board.draw(self._state.snapshot(self._clock()))


def require_qt() -> None:
    """Load Qt and pyqtgraph; MissingExtraError when one is not installed, SaccadeError when it cannot work here."""
    try:
        import_module("PySide6.QtWidgets")
        # after Qt: it takes the binding that is already loaded
        import_module("pyqtgraph")
    except ModuleNotFoundError as error:
        raise MissingExtraError("gui", "PySide6 and pyqtgraph") from error
    except ImportError as error:
        raise SaccadeError(
            f"Qt cannot start, a shared library is missing: {error}; "
            f"on Debian or Ubuntu type: sudo apt-get install -y {_QT_LIBRARIES}"
        ) from error
    if _loses_none():
        raise SaccadeError(
            "this PySide6 would end this Python after some seconds of drawing (it counts references to None wrongly); "
            "install another one: pip install 'PySide6-Essentials!=6.12.0'"
        )


def _loses_none() -> bool:
    """Whether functions of Qt that give None each take a reference to it away, as in PySide6 6.12.0 below Python 3.12."""
    from PySide6.QtCore import QObject

    probe, n_calls = QObject(), 200
    before = sys.getrefcount(None)
    for _ in range(n_calls):
        probe.setObjectName("probe")
    # other threads move the count a little meanwhile
    return before - sys.getrefcount(None) > n_calls // 2


def save_picture(board: "Board", path: Path) -> None:
    """Write what the board shows as a PNG; InputError when it cannot be written."""
    if not board.grab().save(str(path), "PNG"):
        raise InputError(f"cannot write a picture to {path}; does its folder exist?")


def prepare_application() -> "QApplication":
    """Give the one QApplication, made if need be, with our theme."""
    from PySide6.QtWidgets import QApplication

    from gui.theme import apply_theme

    running = QApplication.instance()
    application = running if isinstance(running, QApplication) else QApplication(["saccade"])
    application.setApplicationName("saccade")
    apply_theme(application)
    return application


@contextmanager
def _interrupts(close: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Inside, an interrupt closes the window, unless this process ignores it; gives a function that says whether one came."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        close()

    minded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, note) for number in minded}
    try:
        yield lambda: signal.SIGINT in seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
