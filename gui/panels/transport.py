"""Pause, restart, seek, speed, loop: the panel turns clicks into `Request`s and never acts by itself."""

from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSlider, QStyle, QWidget

from gui.snapshot import Playback, Snapshot
from gui.theme import BODY_POINTS, CAPTION_POINTS, FAINT, TEXT, WARNING, ElidingLabel, icon, set_colour, text_label
from gui.wording import format_clock, format_speed
from pipeline.schema.clock import US_PER_S
from pipeline.schema.messages import Request

# 0 is "as fast as possible" and stands after the fastest number.
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 0.0)
SEEK_STEP_US = US_PER_S
# The slider counts milliseconds: its numbers are 32 bits wide, enough for 24 days.
_US_PER_STEP = 1000
_ICON_PX = 16

Command = Literal["pause", "resume", "seek", "speed", "loop"]


class TransportPanel(QFrame):
    """Draws `snapshot.playback`; `requested` carries a `Request`."""

    requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("card")
        self._playback = Playback()
        self._shows_play = False
        self._was_looped = False
        self._pause = _button("pause", "Pause or resume (Space)", self.toggle_pause)
        self._restart = _button("restart", "From the beginning (Home)", self.restart)
        self._slower = _button("minus", "Slower (−)", lambda: self.change_speed(-1))
        self._faster = _button("plus", "Faster (+)", lambda: self.change_speed(1))
        self._loop = _button("loop", "Play again and again (L)", self._send_loop)
        self._loop.setCheckable(True)
        self._slider = _SeekSlider()
        self._slider.sliderReleased.connect(lambda: self._send("seek", self._slider.value() * _US_PER_STEP))
        self._clock = text_label("", TEXT, BODY_POINTS)
        self._speed = text_label(format_speed(1.0), TEXT, BODY_POINTS)
        self._speed.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._speed.setFixedWidth(48)
        self._note = ElidingLabel("", WARNING, CAPTION_POINTS)
        self._lay_out()

    def draw(self, snapshot: Snapshot) -> None:
        """Show position, speed, and which buttons may be used."""
        playback = self._playback = snapshot.playback
        is_held = playback.is_paused or playback.is_over
        if is_held != self._shows_play:
            self._shows_play = is_held
            self._pause.setIcon(icon("play" if is_held else "pause"))
        self._clock.setText(_describe_position(playback))
        self._speed.setText(format_speed(playback.speed))
        self._note.show_text(playback.note)
        self._note.setVisible(bool(playback.note))
        self._enable(playback)
        self._follow_loop(playback)
        if not self._slider.isSliderDown():
            with QSignalBlocker(self._slider):
                self._slider.setRange(0, max(playback.extent_us // _US_PER_STEP, 1))
                self._slider.setValue(playback.position_us // _US_PER_STEP)

    def toggle_pause(self) -> None:
        """Ask for the other of pause and resume; once it is over, for the beginning."""
        if self._playback.is_over:
            self.restart()
        else:
            self._send("resume" if self._playback.is_paused else "pause")

    def restart(self) -> None:
        """Ask for the beginning."""
        self._send("seek", 0.0)

    def step(self, direction: int) -> None:
        """Ask for a second later (+1) or earlier (-1)."""
        playback = self._playback
        wanted_us = min(max(playback.position_us + direction * SEEK_STEP_US, 0), max(playback.extent_us, 0))
        self._send("seek", float(wanted_us))

    def change_speed(self, direction: int) -> None:
        """Ask for the next faster (+1) or slower (-1) speed."""
        places = [place for place, speed in enumerate(SPEEDS) if speed == self._playback.speed]
        # a speed that is not in our list is taken for the nearest slower one that is
        here = places[0] if places else max(sum(0 < speed < self._playback.speed for speed in SPEEDS) - 1, 0)
        self._send("speed", SPEEDS[min(max(here + direction, 0), len(SPEEDS) - 1)])

    def toggle_loop(self) -> None:
        """Ask for the other of looping and not."""
        if self._loop.isEnabled():
            self._loop.toggle()
            self._send_loop()

    def _send_loop(self) -> None:
        self._send("loop", float(self._loop.isChecked()))

    def _send(self, command: Command, value: float | None = None) -> None:
        if not self._playback.obstacle:
            self.requested.emit(Request(command=command, value=value))

    def _follow_loop(self, playback: Playback) -> None:
        """Show what the source says once it says something new, or refused: a fresh click is ahead of its answer."""
        if playback.is_looped != self._was_looped or playback.note:
            self._was_looped = playback.is_looped
            self._loop.setChecked(playback.is_looped)

    def _enable(self, playback: Playback) -> None:
        for widget in (self._pause, self._restart, self._slower, self._faster, self._loop, self._slider):
            set_usable(widget, playback.obstacle)
        set_colour(self._speed, FAINT if playback.obstacle else TEXT)

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 12, 6)
        row.setSpacing(8)
        row.addWidget(self._pause)
        row.addWidget(self._restart)
        row.addSpacing(4)
        row.addWidget(self._slider, 1)
        row.addWidget(self._note)
        row.addWidget(self._clock)
        row.addSpacing(8)
        for widget in (self._slower, self._speed, self._faster):
            row.addWidget(widget)
        row.addSpacing(4)
        row.addWidget(self._loop)


class _SeekSlider(QSlider):
    """A slider that jumps to where it is clicked."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setProperty("hint", "Drag to another moment (← and → step by a second)")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Bring the handle under the pointer, then let it be dragged."""
        if event.button() == Qt.MouseButton.LeftButton:
            place = int(event.position().x())
            self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), place, self.width()))
        super().mousePressEvent(event)


def _describe_position(playback: Playback) -> str:
    position = format_clock(playback.position_us)
    # of a stream, or on a first pass nobody measured, the end is not known
    return f"{position} / {format_clock(playback.extent_us)}" if playback.extent_us > playback.position_us else position


def _button(kind: str, hint: str, on_click: Callable[[], None]) -> QPushButton:
    button = QPushButton(icon(kind), "")
    button.setProperty("hint", hint)
    button.setToolTip(hint)
    button.setFixedWidth(40)
    button.setIconSize(QSize(_ICON_PX, _ICON_PX))
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.clicked.connect(lambda _checked=False: on_click())
    return button


def set_usable(widget: QWidget, obstacle: str) -> None:
    """Enable a widget, or disable it with the reason as its tooltip."""
    widget.setEnabled(not obstacle)
    widget.setToolTip(obstacle or str(widget.property("hint") or ""))
