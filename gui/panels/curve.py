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
        fill = QColor(ACCENT)
        fill.setAlpha(_FILL_ALPHA)
        # one pixel wide: Qt draws thin lines many times faster than broad ones
        self._curve = PlotCurveItem(pen=mkPen(ACCENT, width=1), brush=fill, fillLevel=0.0, connect="finite", antialias=True)
        self._range = ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self._range.disableAutoRange()
        self._range.addItem(self._curve)
        canvas = Canvas(SURFACE)
        canvas.setMinimumSize(1, 1)
        canvas.setCentralItem(self._range)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(canvas)
        self._extent = (0, 0.0)

    def show_values(self, values: npt.NDArray[np.float64]) -> None:
        """Show these."""
        if len(values) == 0 and self._extent[0] == 0:
            return
        top = float(np.nanmax(values, initial=0.0))
        self._curve.setData(values)
        if (len(values), top) != self._extent:
            self._extent = (len(values), top)
            ceiling = (top or 1.0) * (1 + _HEADROOM)
            self._range.setRange(xRange=(0, max(len(values) - 1, 1)), yRange=(0, ceiling), padding=0)

    def sizeHint(self) -> QSize:
        """A strip of three text lines."""
        return QSize(120, _HEIGHT_PX)
