"""The prediction: the stable label large, its confidence, and one bar for each class."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from gui.snapshot import Answer, ScoreRow, Snapshot
from gui.theme import (
    ACCENT,
    BODY_POINTS,
    CAPTION_POINTS,
    DIM,
    FAINT,
    LINE,
    QUIET_BAR,
    TEXT,
    Card,
    colour_of_class,
    draw_empty,
    font,
    set_colour,
    text_label,
)
from gui.wording import UNKNOWN, format_label

_LABEL_POINTS = 26.0
_LONG_LABEL_POINTS = 19.0
# Longer names than this would fill more than two large lines.
_LONG_LABEL = 18
_CONFIDENCE_POINTS = 15.0
# Wide enough for a dozen large letters in a line, but no more than a share of a narrow card. Never as wide as the words are,
# so that the bars stand still when the label changes.
_WORDS_PX = 280
_WORDS_SHARE = 0.4
_ROW_PX = 30.0
# Rows of this many classes have their full height; more share it, so that the raster below keeps its room.
_N_FULL_ROWS = 8
# Rows that are reckoned with before the first answer.
_N_EXPECTED_ROWS = 8
_DOT_PX = 8.0
# What rounds to 0 % has no bar.
_SMALLEST_BAR = 0.005


class PredictionPanel(Card):
    """Draws `snapshot.answer`."""

    def __init__(self) -> None:
        super().__init__("PREDICTION")
        self._label = text_label("", TEXT, _LABEL_POINTS, is_bold=True)
        self._label.setWordWrap(True)
        self._confidence = text_label("", DIM, _CONFIDENCE_POINTS)
        self._remark = text_label("", FAINT, CAPTION_POINTS)
        self._remark.setWordWrap(True)
        self._bars = _ScoreBars()
        self._block = QWidget()
        words = QVBoxLayout(self._block)
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(2)
        for widget in (self._label, self._confidence, self._remark):
            words.addWidget(widget)
        words.addStretch(1)
        columns = QHBoxLayout()
        columns.setSpacing(16)
        columns.addWidget(self._block)
        columns.addWidget(self._bars, 1)
        self.body.addLayout(columns, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the new width between words and bars."""
        super().resizeEvent(event)
        self._block.setFixedWidth(min(_WORDS_PX, int(_WORDS_SHARE * self.width())))

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest answer."""
        answer = snapshot.answer
        if answer is None:
            self._say(UNKNOWN, FAINT, "", "no decision yet")
        elif answer.is_nothing:
            self._say("nothing", FAINT, "", "nobody does anything, or no class is sure enough")
        else:
            colour = TEXT if answer.is_settled else DIM
            self._say(format_label(answer.label), colour, f"{100 * answer.confidence:.0f} %", _remark(answer))
        self._confidence.setVisible(answer is not None and not answer.is_nothing)
        if answer is not None:
            self._bars.show_rows(answer.rows, is_quiet=answer.is_nothing)

    def _say(self, label: str, colour: str, confidence: str, remark: str) -> None:
        if label != self._label.text():
            self._label.setFont(font(_LABEL_POINTS if len(label) <= _LONG_LABEL else _LONG_LABEL_POINTS, is_bold=True))
            self._label.setText(label)
        set_colour(self._label, colour)
        self._confidence.setText(confidence)
        self._remark.setText(remark)


def _remark(answer: Answer) -> str:
    return "confidence of the newest bin" if answer.is_settled else "changing its mind"


class _ScoreBars(QWidget):
    """Name, bar and percent of each class, one line each."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[ScoreRow, ...] = ()
        self._is_quiet = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def show_rows(self, rows: tuple[ScoreRow, ...], *, is_quiet: bool) -> None:
        """Draw these rows; quiet ones without accent."""
        if (rows, is_quiet) != (self._rows, self._is_quiet):
            if len(rows) != len(self._rows):
                self.updateGeometry()
            self._rows, self._is_quiet = rows, is_quiet
            self.update()

    def sizeHint(self) -> QSize:
        """Room for the rows."""
        return QSize(300, int(min(len(self._rows) or _N_EXPECTED_ROWS, _N_FULL_ROWS) * _ROW_PX))

    def minimumSizeHint(self) -> QSize:
        """Room for a few narrow rows."""
        return QSize(180, int(4 * _ROW_PX))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint every row, from the top."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._rows:
            self._paint_rows(painter)
        else:
            draw_empty(painter, QRectF(self.rect()), "Scores appear with the first label.")
        painter.end()

    def _paint_rows(self, painter: QPainter) -> None:
        row_px = min(_ROW_PX, self.height() / len(self._rows))
        # text must fit its row when many classes share little room
        painter.setFont(font(min(BODY_POINTS, 0.55 * row_px)))
        metrics = QFontMetricsF(painter.font())
        name_px = max(metrics.horizontalAdvance(format_label(row.name)) for row in self._rows) + _DOT_PX + 8
        name_px = min(name_px, 0.6 * self.width())
        number_px = metrics.horizontalAdvance("100 %") + 8
        for place, row in enumerate(self._rows):
            area = QRectF(0, place * row_px, self.width(), row_px)
            self._paint_row(painter, area, row, (name_px, number_px))

    def _paint_row(self, painter: QPainter, area: QRectF, row: ScoreRow, columns: tuple[float, float]) -> None:
        name_px, number_px = columns
        is_lit = row.is_leader and not self._is_quiet
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour_of_class(row.index))
        painter.drawEllipse(QRectF(0, area.center().y() - _DOT_PX / 2, _DOT_PX, _DOT_PX))
        text_area = area.adjusted(_DOT_PX + 6, 0, 0, 0)
        text_area.setWidth(name_px - _DOT_PX - 8)
        painter.setPen(QColor(TEXT if is_lit else DIM))
        metrics = QFontMetricsF(painter.font())
        name = metrics.elidedText(format_label(row.name), Qt.TextElideMode.ElideMiddle, text_area.width())
        painter.drawText(text_area, Qt.AlignmentFlag.AlignVCenter, name)
        track = QRectF(name_px + 6, area.center().y() - 3, area.width() - name_px - number_px - 6, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(LINE))
        painter.drawRoundedRect(track, 3, 3)
        if row.score and row.score >= _SMALLEST_BAR:
            painter.setBrush(QColor(ACCENT if is_lit else QUIET_BAR).lighter(100 if is_lit else 140))
            painter.drawRoundedRect(QRectF(track.x(), track.y(), max(6.0, track.width() * min(row.score, 1.0)), 6), 3, 3)
        painter.setPen(QColor(TEXT if is_lit else FAINT))
        number = f"{100 * row.score:.0f} %" if row.score is not None else UNKNOWN
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, number)
