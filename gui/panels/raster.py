"""The spike raster: sampled neurons down, time bins across, newest at the right; layers named at the side with their rates."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from gui.panels.pane import ImagePane
from gui.snapshot import LayerRate, Snapshot
from gui.theme import CAPTION_POINTS, DIM, FAINT, LINE, TEXT, Card, font, raster_colours
from gui.wording import format_share
from pipeline.schema.clock import US_PER_S

_NAMES_PX = 190
# Small text that can still be read, and how large text fits a band of so many pixels.
_SMALLEST_POINTS = 7.0
_POINTS_PER_PX = 0.62
_EMPTY_TEXT = "Spikes of sampled neurons scroll here, one column a time bin."


class RasterPanel(Card):
    """Draws `snapshot.raster`."""

    def __init__(self) -> None:
        super().__init__("SPIKES")
        self._view = ImagePane(raster_colours(), _EMPTY_TEXT, is_square=False)
        self._names = _LayerNames()
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._view, 1)
        row.addWidget(self._names)
        self.body.addLayout(row, 1)
        self._revision = 0

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest raster."""
        raster = snapshot.raster
        if raster is None or raster.revision == self._revision:
            return
        self._revision = raster.revision
        n_neurons = sum(layer.n_neurons for layer in raster.layers)
        self.set_note(f"{len(raster.image)} of {n_neurons:,} neurons, last {raster.span_us / US_PER_S:g} s")
        self._view.show_indices(raster.image)
        self._names.show_layers(raster.layers)


class _LayerNames(QWidget):
    """Name and firing rate of each layer, level with its rows; a thin line where a layer begins."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: tuple[LayerRate, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)

    def show_layers(self, layers: tuple[LayerRate, ...]) -> None:
        """Draw these."""
        if layers != self._layers:
            self._layers = layers
            self.setToolTip("\n".join(f"{layer.name}: {format_share(layer.firing_rate)}" for layer in layers))
            self.update()

    def sizeHint(self) -> QSize:
        """Room for a name and a percentage."""
        return QSize(_NAMES_PX, 100)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint all layers; names that would overlap the one above are left out (the tooltip has them all)."""
        del event
        painter = QPainter(self)
        n_rows = max(sum(layer.n_rows for layer in self._layers), 1)
        band_px = self.height() / max(len(self._layers), 1)
        painter.setFont(font(min(CAPTION_POINTS, max(_SMALLEST_POINTS, _POINTS_PER_PX * band_px))))
        line_px = QFontMetricsF(painter.font()).height()
        row, free_from = 0, 0.0
        for layer in self._layers:
            top = self.height() * row / n_rows
            bottom = self.height() * (row + layer.n_rows) / n_rows
            if row and band_px > line_px:
                painter.setPen(QColor(LINE))
                painter.drawLine(0, int(top), self.width(), int(top))
            centre = (top + bottom) / 2
            if centre - line_px / 2 >= free_from - 1:
                self._paint_layer(painter, QRectF(0, centre - line_px / 2, self.width(), line_px), layer)
                free_from = centre + line_px / 2
            row += layer.n_rows
        painter.end()

    def _paint_layer(self, painter: QPainter, area: QRectF, layer: LayerRate) -> None:
        rate = format_share(layer.firing_rate)
        metrics = QFontMetricsF(painter.font())
        room_px = area.width() - metrics.horizontalAdvance("99.9 %") - 8
        # the end of a name says more than its beginning
        name = metrics.elidedText(layer.name, Qt.TextElideMode.ElideLeft, room_px)
        painter.setPen(QColor(DIM))
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, name)
        painter.setPen(QColor(TEXT if layer.firing_rate > 0 else FAINT))
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, rate)
