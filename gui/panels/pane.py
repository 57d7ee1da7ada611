"""A picture in a panel: one image with a colour table, square pixels or stretched, and a sentence while there is none.

Painted by Qt itself: for one indexed image a plotting library costs more to load and to draw than it saves in code.
"""

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, qRgb
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.theme import WELL, draw_empty

# Below this whole-number magnification the room lost to whole numbers is worth more than equal pixels.
_SMALLEST_WHOLE_SCALE = 3


class ImagePane(QWidget):
    """Shows colour indices, uint8 (H, W), through `colours`, uint8 (256, 3); `empty_text` until the first."""

    def __init__(self, colours: npt.NDArray[np.uint8], empty_text: str, *, is_square: bool) -> None:
        super().__init__()
        self._colours = [qRgb(*row) for row in colours.tolist()]
        self._empty_text = empty_text
        self._is_square = is_square
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_indices(self, indices: npt.NDArray[np.uint8]) -> None:
        """Show these; nothing to show when there are none."""
        height, width = indices.shape
        if indices.size == 0:
            self._image = None
        else:
            # the image only borrows the bytes it is made from: the copy is what it owns
            self._image = QImage(indices.tobytes(), width, height, width, QImage.Format.Format_Indexed8).copy()
            self._image.setColorTable(self._colours)
        self.update()

    def sizeHint(self) -> QSize:
        """Room to look at."""
        return QSize(400, 300)

    def minimumSizeHint(self) -> QSize:
        """Room to see that there is something."""
        return QSize(160, 100)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture, or the sentence that stands in for it."""
        del event
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(WELL))
        if self._image is None:
            draw_empty(painter, QRectF(self.rect()), self._empty_text)
        else:
            painter.drawImage(self._place(self._image), self._image)
        painter.end()

    def _place(self, image: QImage) -> QRectF:
        """Where the image goes: everywhere, or centred with square pixels of whole device pixels if they fit."""
        if not self._is_square:
            return QRectF(self.rect())
        ratio = self.devicePixelRatioF()
        scale = min(self.width() / image.width(), self.height() / image.height()) * ratio
        scale = (int(scale) if scale >= _SMALLEST_WHOLE_SCALE else scale) / ratio
        width, height = image.width() * scale, image.height() * scale
        # starting on a whole pixel of the device keeps every edge sharp
        left = int((self.width() - width) / 2 * ratio) / ratio
        top = int((self.height() - height) / 2 * ratio) / ratio
        return QRectF(left, top, width, height)
