"""The ground of every picture and curve: pyqtgraph's view, without axes, menus or mouse; its units are the widget's pixels.

Only this folder draws with pyqtgraph. What is drawn here is only looked at: clicks, keys and tooltips go to what lies around.
"""

from pyqtgraph import GraphicsView
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy


class Canvas(GraphicsView):
    """An empty view of one colour."""

    def __init__(self, background: str) -> None:
        super().__init__(useOpenGL=False, background=background)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setInteractive(False)
        # a cached ground is a second copy of every pixel, for one colour that costs nothing to fill
        self.setCacheMode(self.CacheModeFlag.CacheNone)
