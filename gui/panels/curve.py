"""A small curve of past numbers, from zero up, without axes: what it rises and falls by is all it says."""

import numpy as np
import numpy.typing as npt
from pyqtgraph import PlotCurveItem, ViewBox, mkPen
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from gui.panels.canvas import Canvas
from gui.theme import ACCENT, SURFACE

_HEIGHT_PX = 52
_FILL_ALPHA = 40
# Room over the highest point, as a share of it, so that its line is not cut.
_HEADROOM = 0.04


class Curve(QWidget):
    """Draws float64 (n,), oldest first, one point for each; NaN leaves a hole."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        # one pixel wide: Qt draws thin lines many times faster than broad ones
        self._line = PlotCurveItem(pen=mkPen(ACCENT, width=1), connect="finite", antialias=True)
        self._area = PlotCurveItem(pen=None, brush=_fill(), fillLevel="enclosed")
        self._box = ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self._box.disableAutoRange()
        self._box.addItem(self._area)
        self._box.addItem(self._line)
        canvas = Canvas(SURFACE)
        canvas.setMinimumSize(1, 1)
        canvas.setCentralItem(self._box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(canvas)
        self._extent = (0, 0.0)

    def show_values(self, values: npt.NDArray[np.float64]) -> None:
        """Show these."""
        if len(values) == 0 and self._extent[0] == 0:
            return
        x = np.arange(len(values), dtype=np.float64)
        self._line.setData(x, values)
        # The area is an outline of its own, closed at zero: filled from the line itself, pyqtgraph cuts it into many pieces, at
        # half as much again for the whole curve.
        self._area.setData(np.pad(x, 1, mode="edge") if len(x) else x, _outline(values))
        top = float(np.nanmax(values, initial=0.0))
        if (len(values), top) != self._extent:
            self._extent = (len(values), top)
            ceiling = (top or 1.0) * (1 + _HEADROOM)
            self._box.setRange(xRange=(0, max(len(values) - 1, 1)), yRange=(0, ceiling), padding=0)

    def sizeHint(self) -> QSize:
        """A strip of three text lines."""
        return QSize(120, _HEIGHT_PX)


def _fill() -> QColor:
    colour = QColor(ACCENT)
    colour.setAlpha(_FILL_ALPHA)
    return colour


def _outline(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Upper edge of the area, float64 (n + 2,): from zero, back to zero, and at zero where nothing is known; (0,) of none."""
    return np.pad(np.nan_to_num(values, nan=0.0), 1) if len(values) else values
