"""Work and energy of each time bin: operations counted, microjoules estimated, watts measured where a sensor exists."""

import numpy as np
import numpy.typing as npt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout

from gui.panels.curve import Curve
from gui.snapshot import Snapshot
from gui.theme import (
    CAPTION_POINTS,
    DIM,
    FAINT,
    NUMBER_POINTS,
    TEXT,
    Card,
    ElidingLabel,
    set_colour,
    text_label,
)
from gui.wording import NOT_AVAILABLE, UNKNOWN, format_amount
from pipeline.schema.clock import US_PER_S


class EnergyPanel(Card):
    """Draws `snapshot.cost`."""

    def __init__(self) -> None:
        super().__init__("ENERGY")
        self._sops = _Tile("Operations per bin", "Synaptic operations, counted: spikes times their fan-out")
        self._energy = _Tile("Estimated energy per bin", "Estimated from the operations; not a measurement of this machine")
        self._power = _Tile("Measured power", "What a sensor of this machine reads, everything it runs included")
        row = QHBoxLayout()
        row.setSpacing(16)
        for tile in (self._sops, self._energy, self._power):
            row.addLayout(tile, 1)
        self.body.addLayout(row, 1)
        self._revision = 0

    def draw(self, snapshot: Snapshot) -> None:
        """Show the newest curves and numbers."""
        cost = snapshot.cost
        if cost is None or cost.revision == self._revision:
            return
        self._revision = cost.revision
        self.set_note(f"last {cost.span_us / US_PER_S:g} s, curves from zero")
        numbers = snapshot.numbers
        self._sops.show_curve(cost.sops, format_amount(numbers.sops, "SOP"))
        self._energy.show_curve(cost.energy_uj, format_amount(numbers.energy_uj, "µJ"))
        if cost.power_sensor:
            self._power.set_caption(f"Measured power, {cost.power_sensor}")
            self._power.show_curve(cost.power_w, format_amount(numbers.power_w, "W"))
        else:
            self._power.show_absent(NOT_AVAILABLE, "This machine offers no power sensor that may be read.")


class _Tile(QVBoxLayout):
    """Caption, current number, and the curve of the last bins."""

    def __init__(self, caption: str, hint: str) -> None:
        super().__init__()
        self.setSpacing(2)
        self._caption = ElidingLabel(caption, DIM, CAPTION_POINTS)
        self._number = text_label(UNKNOWN, FAINT, NUMBER_POINTS)
        self._curve = Curve()
        for widget in (self._caption, self._number, self._curve):
            widget.setToolTip(hint)
            self.addWidget(widget)

    def set_caption(self, text: str) -> None:
        """Change the caption."""
        self._caption.show_text(text)

    def show_curve(self, values: npt.NDArray[np.float64], number: str) -> None:
        """Show a number and its past, float64 (n,), NaN where unknown."""
        self._number.setText(number)
        set_colour(self._number, TEXT)
        self._curve.show_values(values)

    def show_absent(self, words: str, hint: str) -> None:
        """Show that there is nothing to measure with."""
        self._number.setText(words)
        self._number.setToolTip(hint)
        set_colour(self._number, FAINT)
        self._curve.show_values(np.zeros(0))
