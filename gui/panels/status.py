"""Header and status line: who is speaking, how it is going, and everything that was lost."""

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from gui.health import describe_losses
from gui.snapshot import Losses, Snapshot
from gui.theme import (
    ACCENT,
    BODY_POINTS,
    CAPTION_POINTS,
    DIM,
    FAILURE,
    FAINT,
    NUMBER_POINTS,
    ROW_PX,
    TEXT,
    WARNING,
    ElidingLabel,
    set_colour,
    text_label,
)
from gui.wording import UNKNOWN, count_of, format_amount, format_bin_rate, format_clock, format_latency

_COLOURS = {
    "waiting": FAINT,
    "starting": FAINT,
    "running": ACCENT,
    "paused": DIM,
    "stale": WARNING,
    "ended": DIM,
    "failed": FAILURE,
}
_TITLE_POINTS = 13.0


class HeaderPanel(QWidget):
    """Draws `snapshot.origin` and `snapshot.connection`."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._source = ElidingLabel("", TEXT, BODY_POINTS)
        self._network = ElidingLabel("", DIM, BODY_POINTS)
        self._dot = _Dot()
        self._connection = ElidingLabel("", DIM, BODY_POINTS)
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 0, 2, 0)
        row.setSpacing(14)
        row.addWidget(text_label(title, TEXT, _TITLE_POINTS, is_bold=True))
        row.addWidget(self._source)
        row.addWidget(self._network)
        row.addStretch(1)
        row.addWidget(self._dot)
        row.addWidget(self._connection)
        self.setFixedHeight(ROW_PX - 8)

    def draw(self, snapshot: Snapshot) -> None:
        """Show names and state."""
        origin, connection = snapshot.origin, snapshot.connection
        self._source.show_text(origin.source)
        self._network.show_text(f"network {origin.network}" if origin.network else "")
        colour = _COLOURS[connection.kind]
        self._dot.set_colour(colour)
        self._connection.show_text(connection.text)
        set_colour(self._connection, colour if connection.kind in ("stale", "failed") else TEXT)


class StatusPanel(QFrame):
    """Draws `snapshot.numbers`: one caption and one number for each thing."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("card")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 12, 6)
        row.setSpacing(20)
        self._event_rate = _add_tile(row, "events", 3)
        self._bin_rate = _add_tile(row, "time bins", 2)
        self._latency = _add_tile(row, "latency, median / 99 %", 4)
        self._losses = _add_tile(row, "lost", 6)
        self._time = _add_tile(row, "sensor time", 2)

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest numbers."""
        numbers = snapshot.numbers
        self._event_rate.setText(format_amount(numbers.event_rate_hz, "ev/s"))
        self._bin_rate.setText(format_bin_rate(numbers.bin_rate_hz))
        self._latency.setText(format_latency(numbers.latency_p50_ms, numbers.latency_p99_ms))
        self._latency.setToolTip(f"From bin closed to label published. Last bin: {numbers.stages}" if numbers.stages else "")
        self._time.setText(format_clock(snapshot.playback.position_us))
        self._show_losses(numbers.losses)

    def _show_losses(self, losses: Losses | None) -> None:
        if losses is None:
            return
        words = [count_of(losses.n_frames, "frame"), count_of(losses.n_gaps, "gap"), count_of(losses.n_events, "event")]
        if losses.n_labels:
            words.append(count_of(losses.n_labels, "label"))
        self._losses.setText("  ·  ".join(words))
        self._losses.setToolTip(describe_losses(losses))
        set_colour(self._losses, WARNING if losses.is_serious else TEXT)


def _add_tile(row: QHBoxLayout, caption: str, stretch: int) -> QLabel:
    """Add a caption with a number under it; each keeps its share of the width, so that nothing moves when digits change."""
    tile = QVBoxLayout()
    tile.setSpacing(0)
    number = text_label(UNKNOWN, TEXT, NUMBER_POINTS)
    tile.addWidget(text_label(caption, DIM, CAPTION_POINTS))
    tile.addWidget(number)
    number.setMinimumWidth(1)
    row.addLayout(tile, stretch)
    return number


class _Dot(QWidget):
    """A round lamp; its colour repeats what the words beside it say."""

    def __init__(self) -> None:
        super().__init__()
        self._colour = FAINT
        self.setFixedSize(10, 10)

    def set_colour(self, colour: str) -> None:
        """Light it in this colour."""
        if colour != self._colour:
            self._colour = colour
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the lamp."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._colour))
        painter.drawEllipse(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()
