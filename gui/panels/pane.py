"""A picture in a panel: one image with a colour table, square pixels or stretched, and a sentence while there is none."""

import numpy as np
import numpy.typing as npt
from pyqtgraph import ImageItem
from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent

from gui.panels.canvas import Canvas
from gui.theme import WELL, draw_empty

# Below this whole-number magnification the room lost to whole numbers is worth more than equal pixels.
_SMALLEST_WHOLE_SCALE = 3
# Levels that make every index its own place in a table of 256 colours.
_INDEX_LEVELS = (0, 256)


class ImagePane(Canvas):
    """Shows colour indices, uint8 (H, W), through `colours`, uint8 (256, 3); `empty_text` until the first."""

    def __init__(self, colours: npt.NDArray[np.uint8], empty_text: str, *, is_square: bool) -> None:
        self._shape = (0, 0)
        self._image = ImageItem(axisOrder="row-major", levels=_INDEX_LEVELS, lut=colours)
        self._empty_text = empty_text
        self._is_square = is_square
        super().__init__(WELL)
        self.addItem(self._image)

    def show_indices(self, indices: npt.NDArray[np.uint8]) -> None:
        """Show these; nothing to show when there are none."""
        if indices.size == 0:
            self._image.clear()
        else:
            self._image.setImage(indices, autoLevels=False)
        if indices.shape != self._shape:
            self._shape = indices.shape
            self._place()
            self.viewport().update()

    def sizeHint(self) -> QSize:
        """Room to look at."""
        return QSize(400, 300)

    def minimumSizeHint(self) -> QSize:
        """Room to see that there is something."""
        return QSize(160, 100)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the image in the new room."""
        super().resizeEvent(event)
        self._place()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture, or the sentence that stands in for it."""
        super().paintEvent(event)
        if 0 in self._shape:
            painter = QPainter(self.viewport())
            draw_empty(painter, QRectF(self.rect()), self._empty_text)
            painter.end()

    def _place(self) -> None:
        """Put the image everywhere, or centred with square pixels of whole device pixels if they fit."""
        if 0 in self._shape or not self._is_square:
            self._image.setRect(QRectF(self.rect()))
            return
        rows, columns = self._shape
        ratio = self.devicePixelRatioF()
        scale = min(self.width() / columns, self.height() / rows) * ratio
        scale = (int(scale) if scale >= _SMALLEST_WHOLE_SCALE else scale) / ratio
        width, height = columns * scale, rows * scale
        # starting on a whole pixel of the device keeps every edge sharp
        left = int((self.width() - width) / 2 * ratio) / ratio
        top = int((self.height() - height) / 2 * ratio) / ratio
        self._image.setRect(QRectF(left, top, width, height))
