"""A small curve of past numbers, from zero up, without axes: what it rises and falls by is all it says."""

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.theme import ACCENT

_HEIGHT_PX = 52
_FILL_ALPHA = 40


class Curve(QWidget):
    """Draws float64 (n,), oldest first, one point for each; NaN leaves a hole."""

    def __init__(self) -> None:
        super().__init__()
        self._values = np.zeros(0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_values(self, values: npt.NDArray[np.float64]) -> None:
        """Show these."""
        self._values = values
        self.update()

    def sizeHint(self) -> QSize:
        """A strip of three text lines."""
        return QSize(120, _HEIGHT_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint each stretch of known numbers."""
        del event
        known = np.isfinite(self._values)
        if not known.any():
            return
        top = max(float(self._values[known].max()), np.finfo(float).tiny)
        x = np.linspace(0, self.width() - 1, len(self._values))
        y = self.height() - 1 - self._values / top * (self.height() - 3)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for start, stop in _stretches(known):
            self._paint_stretch(painter, x[start:stop], y[start:stop])
        painter.end()

    def _paint_stretch(self, painter: QPainter, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
        points = [QPointF(*point) for point in zip(x.tolist(), y.tolist(), strict=True)]
        floor = float(self.height())
        fill = QColor(ACCENT)
        fill.setAlpha(_FILL_ALPHA)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(QPolygonF([QPointF(points[0].x(), floor), *points, QPointF(points[-1].x(), floor)]))
        # one pixel wide: Qt draws thin lines many times faster than broad ones
        painter.setPen(QPen(QColor(ACCENT), 1))
        painter.drawPolyline(QPolygonF(points))


def _stretches(known: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and stop of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
