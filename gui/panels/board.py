"""All panels on one board, and the keys: it draws a snapshot and passes intentions on."""

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.panels.energy import EnergyPanel
from gui.panels.events import EventsPanel
from gui.panels.prediction import PredictionPanel
from gui.panels.raster import RasterPanel
from gui.panels.status import HeaderPanel, StatusPanel
from gui.panels.timeline import TimelinePanel
from gui.panels.transport import TransportPanel
from gui.snapshot import Snapshot
from gui.theme import SPACE_PX

_WIDTH_PX, _HEIGHT_PX = 1280, 800


class Board(QWidget):
    """The window's content. `requested` carries a `Request`; `closed` comes once, when the window was closed."""

    requested = Signal(object)
    closed = Signal()

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setWindowTitle(title)
        self.resize(_WIDTH_PX, _HEIGHT_PX)
        self.setMinimumSize(960, 640)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._header = HeaderPanel("Saccade")
        self._events, self._timeline = EventsPanel(), TimelinePanel()
        self._prediction, self._raster, self._energy = PredictionPanel(), RasterPanel(), EnergyPanel()
        self._transport, self._status = TransportPanel(), StatusPanel()
        self._transport.requested.connect(self.requested)
        self._lay_out()
        self._keys = self._name_keys()

    def draw(self, snapshot: Snapshot) -> None:
        """Hand the snapshot to every panel."""
        for panel in (self._header, self._events, self._timeline, self._prediction, self._raster, self._energy):
            panel.draw(snapshot)
        self._transport.draw(snapshot)
        self._status.draw(snapshot)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Do what the key stands for; others go their usual way."""
        act = self._keys.get(event.key())
        if act is None:
            super().keyPressEvent(event)
        else:
            act()

    def closeEvent(self, event: object) -> None:
        """Say that the window was closed."""
        del event
        self.closed.emit()

    def _name_keys(self) -> dict[int, Callable[[], object]]:
        key, transport = Qt.Key, self._transport
        return {
            key.Key_Space: transport.toggle_pause,
            key.Key_Home: transport.restart,
            key.Key_Left: lambda: transport.step(-1),
            key.Key_Right: lambda: transport.step(1),
            key.Key_Minus: lambda: transport.change_speed(-1),
            key.Key_Plus: lambda: transport.change_speed(1),
            # plus without shift on many keyboards
            key.Key_Equal: lambda: transport.change_speed(1),
            key.Key_L: transport.toggle_loop,
            key.Key_F: self._toggle_full_screen,
            key.Key_Escape: self.close,
            key.Key_Q: self.close,
        }

    def _toggle_full_screen(self) -> None:
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def _lay_out(self) -> None:
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addWidget(self._events, 1)
        left.addWidget(self._timeline)
        left.addWidget(self._energy)
        # as tall as its rows are; the raster takes what is left
        right.addWidget(self._prediction)
        right.addWidget(self._raster, 1)
        middle = QHBoxLayout()
        middle.addLayout(left, 5)
        middle.addLayout(right, 7)
        column = QVBoxLayout(self)
        column.addWidget(self._header)
        column.addLayout(middle, 1)
        column.addWidget(self._transport)
        column.addWidget(self._status)
        column.setContentsMargins(SPACE_PX, SPACE_PX, SPACE_PX, SPACE_PX)
        for layout in (left, right, middle, column):
            layout.setSpacing(SPACE_PX)
