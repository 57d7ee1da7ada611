"""Colours, type, icons and the card that every panel sits on: one dark theme, one accent.

Knows how things look, never what they mean.
"""

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QIcon, QPainter, QPaintEvent, QPalette, QPixmap, QPolygonF
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from gui.history import N_LEVELS, RASTER_GAP, RASTER_ODD_LAYER, RASTER_SPIKE

BACKGROUND = "#0d1117"
SURFACE = "#151b23"
WELL = "#0a0d12"
LINE = "#262e38"
TEXT = "#e8edf2"
DIM = "#98a3af"
FAINT = "#5d6875"
ACCENT = "#4fd6b8"
WARNING = "#f0c05a"
FAILURE = "#ff7b72"
# Orange and blue stay apart for every common kind of colour blindness.
ON_COLOUR = "#ff9d45"
OFF_COLOUR = "#4b9dff"
QUIET_BAR = "#3a4653"

# Muted hues for classes on a dark ground (after Paul Tol's light scheme, https://sronpersonalpages.nl/~pault/).
CLASS_COLOURS = (
    "#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#44bb99", "#bb99dd",
    "#99ddff", "#bbcc33", "#dd9999", "#aaaa55", "#88c0a8", "#b0b7c3",
)  # fmt: skip

SPACE_PX = 10
ROW_PX = 40
CAPTION_POINTS = 8.5
BODY_POINTS = 10.0
NUMBER_POINTS = 12.0

_FAMILIES = ["Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "DejaVu Sans"]
_ICON_PX = 64

STYLE = f"""
QWidget {{ color: {TEXT}; }}
QToolTip {{ color: {TEXT}; background: {SURFACE}; border: 1px solid {LINE}; padding: 4px; }}
QFrame#card {{ background: {SURFACE}; border: none; border-radius: 8px; }}
QPushButton {{ background: {LINE}; border: none; border-radius: 6px; padding: 0 10px; min-height: 28px; }}
QPushButton:hover {{ background: {QUIET_BAR}; }}
QPushButton:pressed {{ background: {BACKGROUND}; }}
QPushButton:focus {{ outline: none; }}
QPushButton:checked {{ background: {ACCENT}; color: {BACKGROUND}; }}
QPushButton:disabled {{ background: {BACKGROUND}; color: {FAINT}; }}
QSlider {{ min-height: 28px; }}
QSlider::groove:horizontal {{ height: 4px; background: {LINE}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {FAINT}; }}
QSlider::handle:horizontal {{ width: 12px; height: 12px; margin: -4px 0; border-radius: 6px; background: {TEXT}; }}
QSlider::handle:horizontal:disabled {{ background: {FAINT}; }}
"""


def apply_theme(application: QApplication) -> None:
    """Give the application our palette, type and style."""
    application.setStyle("Fusion")
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.Window, QColor(BACKGROUND))
    palette.setColor(QPalette.ColorRole.Base, QColor(WELL))
    palette.setColor(QPalette.ColorRole.Text, QColor(TEXT))
    palette.setColor(QPalette.ColorRole.WindowText, QColor(TEXT))
    palette.setColor(QPalette.ColorRole.Highlight, QColor(ACCENT))
    application.setPalette(palette)
    application.setFont(font(BODY_POINTS))
    application.setStyleSheet(STYLE)


def font(points: float, *, is_bold: bool = False) -> QFont:
    """Our type at a size, with digits of equal width so that numbers do not jump."""
    made = QFont(_FAMILIES)
    made.setPointSizeF(points)
    made.setWeight(QFont.Weight.DemiBold if is_bold else QFont.Weight.Normal)
    made.setFeature(QFont.Tag("tnum"), 1)
    return made


def colour_of_class(index: int) -> QColor:
    """Hue of a class; "nothing" (-1) is a quiet grey."""
    return QColor(QUIET_BAR) if index < 0 else QColor(CLASS_COLOURS[index % len(CLASS_COLOURS)])


def event_colours() -> npt.NDArray[np.uint8]:
    """Colour of every picture index, uint8 (256, 3): as bright as its brighter polarity, with the hue of what prevails.

    Where both are strong the hue is a neutral grey, never a glare that hides the shape.
    """
    ground, on, off = (_rgb(name) for name in (WELL, ON_COLOUR, OFF_COLOUR))
    index = np.arange(N_LEVELS * N_LEVELS)
    on_share = (index // N_LEVELS / (N_LEVELS - 1))[:, None]
    off_share = (index % N_LEVELS / (N_LEVELS - 1))[:, None]
    brightness = np.maximum(on_share, off_share)
    # squares let the newer, brighter polarity win over the fading one
    weight = on_share**2 / np.maximum(on_share**2 + off_share**2, np.finfo(float).tiny)
    colours: npt.NDArray[np.uint8] = np.round(ground + brightness * (weight * on + (1 - weight) * off - ground)).astype(
        np.uint8
    )
    return colours


def raster_colours() -> npt.NDArray[np.uint8]:
    """Colour of every raster code, uint8 (256, 3)."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[0] = _rgb(WELL)
    colours[RASTER_ODD_LAYER] = _rgb("#131922")
    colours[RASTER_SPIKE] = colours[RASTER_ODD_LAYER | RASTER_SPIKE] = _rgb("#d5e4ea")
    colours[RASTER_GAP] = _rgb("#4a3a17")
    return colours


def icon(kind: str, colour: str = TEXT) -> QIcon:
    """A drawn icon: play, pause, restart, loop, minus, plus. Drawn, because fonts differ in which of them they have."""
    pixmap = QPixmap(_ICON_PX, _ICON_PX)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    _ICONS[kind](painter, colour)
    painter.end()
    return QIcon(pixmap)


class Card(QFrame):
    """A surface with a caption, perhaps a legend beside it, a quiet note at its right, and room for a body."""

    def __init__(self, caption: str, legend: QHBoxLayout | None = None) -> None:
        super().__init__()
        self.setObjectName("card")
        self._note = text_label("", FAINT, CAPTION_POINTS)
        head = QHBoxLayout()
        head.addWidget(text_label(caption, DIM, CAPTION_POINTS, is_bold=True))
        if legend is not None:
            head.addSpacing(12)
            head.addLayout(legend)
        head.addStretch(1)
        head.addWidget(self._note)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(12, 8, 12, 10)
        self.body.setSpacing(6)
        self.body.addLayout(head)

    def set_note(self, text: str) -> None:
        """Show a quiet remark beside the caption."""
        self._note.setText(text)


class ElidingLabel(QLabel):
    """A label that shortens its text with an ellipsis where room is scarce, and then tells all of it in a tooltip."""

    def __init__(self, text: str, colour: str, points: float) -> None:
        super().__init__()
        self._text = ""
        self.setFont(font(points))
        set_colour(self, colour)
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Show this text."""
        if text != self._text:
            self._text = text
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        """Room for the whole text."""
        return QSize(self.fontMetrics().horizontalAdvance(self._text) + 2, self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        """Room for the ellipsis."""
        return QSize(self.fontMetrics().horizontalAdvance("…"), self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint as much as there is room for."""
        del event
        shown = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, self.width())
        if shown != self._text and self.toolTip() == "":
            self.setToolTip(self._text)
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
        painter.end()


def text_label(text: str, colour: str, points: float, *, is_bold: bool = False) -> QLabel:
    """A label in our type."""
    label = QLabel(text)
    label.setFont(font(points, is_bold=is_bold))
    label.setTextFormat(Qt.TextFormat.PlainText)
    set_colour(label, colour)
    return label


def set_colour(widget: QWidget, colour: str) -> None:
    """Change the text colour of a widget, only when it is another one: restyling costs a layout."""
    style = f"color: {colour};"
    if widget.styleSheet() != style:
        widget.setStyleSheet(style)


def draw_empty(painter: QPainter, area: QRectF, text: str) -> None:
    """What a panel shows before its first message: one quiet sentence in the middle."""
    painter.setPen(QColor(FAINT))
    painter.setFont(font(BODY_POINTS))
    painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)


def _rgb(name: str) -> npt.NDArray[np.float64]:
    colour = QColor(name)
    return np.array([colour.red(), colour.green(), colour.blue()], dtype=np.float64)


def _draw_play(painter: QPainter, _colour: str) -> None:
    painter.drawPolygon(QPolygonF([QPointF(18, 10), QPointF(54, 32), QPointF(18, 54)]))


def _draw_pause(painter: QPainter, _colour: str) -> None:
    painter.drawRoundedRect(QRectF(16, 12, 11, 40), 3, 3)
    painter.drawRoundedRect(QRectF(37, 12, 11, 40), 3, 3)


def _draw_restart(painter: QPainter, _colour: str) -> None:
    painter.drawRoundedRect(QRectF(12, 12, 8, 40), 3, 3)
    painter.drawPolygon(QPolygonF([QPointF(52, 10), QPointF(22, 32), QPointF(52, 54)]))


def _draw_loop(painter: QPainter, colour: str) -> None:
    pen = painter.pen()
    pen.setStyle(Qt.PenStyle.SolidLine)
    pen.setColor(QColor(colour))
    pen.setWidthF(6)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    # Qt counts sixteenths of a degree: most of a circle, open where the arrow head sits
    painter.drawArc(QRectF(14, 14, 36, 36), 60 * 16, 290 * 16)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawPolygon(QPolygonF([QPointF(34, 4), QPointF(54, 18), QPointF(34, 30)]))


def _draw_minus(painter: QPainter, _colour: str) -> None:
    painter.drawRoundedRect(QRectF(14, 28, 36, 8), 3, 3)


def _draw_plus(painter: QPainter, _colour: str) -> None:
    painter.drawRoundedRect(QRectF(14, 28, 36, 8), 3, 3)
    painter.drawRoundedRect(QRectF(28, 14, 8, 36), 3, 3)


_ICONS = {
    "play": _draw_play,
    "pause": _draw_pause,
    "restart": _draw_restart,
    "loop": _draw_loop,
    "minus": _draw_minus,
    "plus": _draw_plus,
}
