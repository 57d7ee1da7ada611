"""The strip of past answers: the last seconds, coloured by class, newest at the right."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.history import LabelRun
from gui.snapshot import Snapshot, Timeline
from gui.theme import BACKGROUND, CAPTION_POINTS, WELL, Card, colour_of_class, draw_empty, font
from gui.wording import format_label
from pipeline.schema.clock import US_PER_S

# A narrower stretch would show little more than an ellipsis.
_SMALLEST_NAMED_PX = 48


class TimelinePanel(Card):
    """Draws `snapshot.timeline`."""

    def __init__(self) -> None:
        super().__init__("ANSWERS")
        self._strip = _Strip()
        self.body.addWidget(self._strip)

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest runs."""
        timeline = snapshot.timeline
        if timeline is not None:
            self.set_note(f"last {timeline.span_us // US_PER_S} s")
            self._strip.show_timeline(timeline)


class _Strip(QWidget):
    """One coloured stretch for each run, its name inside where there is room."""

    def __init__(self) -> None:
        super().__init__()
        self._timeline: Timeline | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_timeline(self, timeline: Timeline) -> None:
        """Draw this one."""
        if timeline != self._timeline:
            self._timeline = timeline
            self.update()

    def sizeHint(self) -> QSize:
        """A strip of one text line."""
        return QSize(300, 24)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint all runs."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(WELL))
        painter.drawRoundedRect(area, 4, 4)
        if self._timeline is None:
            draw_empty(painter, area, "Past answers line up here.")
        else:
            painter.setFont(font(CAPTION_POINTS))
            for run in self._timeline.runs:
                self._paint_run(painter, self._timeline, run)
        painter.end()

    def _paint_run(self, painter: QPainter, timeline: Timeline, run: LabelRun) -> None:
        start_us = timeline.end_us - timeline.span_us
        px_per_us = self.width() / timeline.span_us
        left = max(run.start_us - start_us, 0) * px_per_us
        right = (run.end_us - start_us) * px_per_us
        area = QRectF(left, 0, max(right - left - 1, 1), self.height())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour_of_class(run.index))
        if run.index < 0:
            # "nothing" is a thin line, not a block: it is the absence of an answer
            painter.drawRect(area.adjusted(0, area.height() / 2 - 1, 0, 1 - area.height() / 2))
            return
        painter.drawRoundedRect(area, 3, 3)
        if area.width() >= _SMALLEST_NAMED_PX:
            room_px = area.width() - 8
            name = QFontMetricsF(painter.font()).elidedText(format_label(run.name), Qt.TextElideMode.ElideRight, room_px)
            painter.setPen(QColor(BACKGROUND))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, name)
