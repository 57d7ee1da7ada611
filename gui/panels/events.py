"""The events picture: ON and OFF in two colours over a dark ground, pixels kept square and sharp."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from gui.panels.pane import ImagePane
from gui.snapshot import Snapshot
from gui.theme import CAPTION_POINTS, DIM, OFF_COLOUR, ON_COLOUR, Card, event_colours, text_label


class EventsPanel(Card):
    """Draws `snapshot.picture`; changes nothing while its revision stays the same."""

    def __init__(self) -> None:
        super().__init__("EVENTS", _legend())
        self._view = ImagePane(event_colours(), "The events appear here as soon as they arrive.", is_square=True)
        self.body.addWidget(self._view, 1)
        self._revision = 0

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest picture."""
        origin, picture = snapshot.origin, snapshot.picture
        if origin.sensor_width:
            self.set_note(f"{origin.sensor_width} × {origin.sensor_height} px")
        if picture is not None and picture.revision != self._revision:
            self._revision = picture.revision
            self._view.show_indices(picture.indices)


def _legend() -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    for colour, text in ((ON_COLOUR, "ON (brighter)"), (OFF_COLOUR, "OFF (darker)")):
        row.addWidget(_Swatch(colour))
        row.addWidget(text_label(text, DIM, CAPTION_POINTS))
        row.addSpacing(10)
    return row


class _Swatch(QWidget):
    """A small square of one colour."""

    def __init__(self, colour: str) -> None:
        super().__init__()
        self._colour = QColor(colour)
        self.setFixedSize(10, 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the square."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colour)
        painter.drawRoundedRect(self.rect(), 2, 2)
        painter.end()
