import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gui.demo_feed import DemoFeed, demo_bin, demo_hello, demo_label
from gui.snapshot import FeedReport, Snapshot
from gui.state import WindowState
from gui.window import require_qt, save_picture, show_feed
from pipeline.schema.errors import AddressRefusedError, InputError, MissingExtraError, SaccadeError
from pipeline.schema.messages import Gap, Request, Status


def _snapshot(n_bins: int = 30, *extra: object, report: FeedReport | None = None) -> Snapshot:
    state = WindowState("tcp://127.0.0.1:5556")
    state.apply(demo_hello(), None, 0)
    for seq in range(n_bins):
        for message, array in demo_bin(seq):
            state.apply(message, array, 0)
    for message in extra:
        state.apply(message, None, 0)  # type: ignore[arg-type]  # any message that has no array
    state.apply_report(report or FeedReport(can_control=True))
    return state.snapshot(0)


def _status(state: str, process: str = "capture") -> Status:
    return Status(source="demo", process=process, state=state, host_ns=0)  # type: ignore[arg-type]  # one of the five states


@pytest.fixture
def board(application: object) -> object:
    from gui.panels.board import Board

    made = Board("test")
    yield made
    made.close()
    made.deleteLater()


def test_importing_the_window_loads_no_qt() -> None:
    code = "import sys, gui.window; sys.exit(any(name.startswith(('PySide6', 'pyqtgraph')) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_extra_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PySide6", None)
    monkeypatch.setitem(sys.modules, "PySide6.QtWidgets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'saccade\[gui\]'"):
        require_qt()


@pytest.mark.gui
def test_a_missing_pyqtgraph_is_named_too(application: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyqtgraph", None)
    with pytest.raises(MissingExtraError, match="pyqtgraph"):
        require_qt()


def test_a_missing_shared_library_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> ModuleType:
        raise ImportError("libEGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("gui.window.import_module", refuse)
    with pytest.raises(SaccadeError, match=r"libEGL\.so\.1.*apt-get install"):
        require_qt()


@pytest.mark.gui
def test_a_qt_that_loses_references_is_refused(application: object, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter((10_000, 9_800))
    monkeypatch.setattr(sys, "getrefcount", lambda _thing: next(counts))
    with pytest.raises(SaccadeError, match=r"PySide6-Essentials!=6\.12\.0"):
        require_qt()


@pytest.mark.gui
@pytest.mark.parametrize(
    "snapshot",
    [
        WindowState("tcp://127.0.0.1:5556").snapshot(0),
        _snapshot(),
        _snapshot(0),
        _snapshot(30, _status("paused")),
        _snapshot(30, _status("failed")),
        _snapshot(30, _status("ended", "inference")),
        _snapshot(30, Gap(source="demo", topic="frame", after_seq=29, n_lost=5, host_ns=0), demo_label(36)),
        _snapshot(30, report=FeedReport(reply="seek: no", n_pictures_skipped=4, failure="the socket is gone")),
    ],
    ids=["before anything", "running", "only a hello", "paused", "failed", "ended", "gap", "broken feed"],
)
def test_every_state_can_be_drawn(board: object, snapshot: Snapshot) -> None:
    for width, height in ((1280, 800), (300, 200), (2560, 1440)):
        board.resize(width, height)
        board.draw(snapshot)
        assert not board.grab().isNull()


@pytest.mark.gui
def test_the_picture_keeps_square_pixels_of_whole_size(application: object) -> None:
    import numpy as np

    from gui.panels.pane import ImagePane
    from gui.theme import event_colours

    pane = ImagePane(event_colours(), "", is_square=True)
    pane.resize(100, 70)
    pane.show_indices(np.full((10, 20), 0xF0, dtype=np.uint8))
    image = pane.grab().toImage()
    # 20 x 10 pixels fit five times: 100 x 50, ten rows of ground above and below
    assert [image.pixelColor(50, y).name() for y in (9, 10, 59, 60)] == ["#0a0d12", "#ff9d45", "#ff9d45", "#0a0d12"]
    pane.deleteLater()


@pytest.mark.gui
def test_every_index_is_its_own_place_in_the_colour_table(application: object) -> None:
    import numpy as np

    from gui.panels.pane import ImagePane

    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    pane = ImagePane(greys, "", is_square=False)
    pane.resize(256, 100)
    pane.show_indices(np.arange(256, dtype=np.uint8)[None])
    image = pane.grab().toImage()
    assert [image.pixelColor(x, 50).red() for x in range(256)] == list(range(256))
    pane.deleteLater()


@pytest.mark.gui
def test_a_picture_without_pixels_gives_its_place_back_to_the_sentence(application: object) -> None:
    import numpy as np

    from gui.panels.pane import ImagePane
    from gui.theme import event_colours

    pane = ImagePane(event_colours(), "nothing yet", is_square=True)
    pane.resize(100, 70)
    empty = pane.grab().toImage()
    pane.show_indices(np.full((10, 20), 0xF0, dtype=np.uint8))
    assert pane.grab().toImage() != empty
    pane.show_indices(np.zeros((0, 400), dtype=np.uint8))
    assert pane.grab().toImage() == empty
    pane.deleteLater()


@pytest.mark.gui
def test_a_curve_is_filled_from_zero_up_and_open_where_nothing_is_known(application: object) -> None:
    import numpy as np

    from gui.panels.curve import Curve
    from gui.theme import SURFACE

    curve = Curve()
    curve.resize(100, 52)
    # half as high as the top on the left, a hole, full height on the right
    values = np.repeat((0.5, np.nan, 1.0), (40, 20, 41))
    curve.show_values(values)
    image = curve.grab().toImage()
    filled = image.pixelColor(20, 45).name()
    assert filled != SURFACE
    assert [image.pixelColor(x, 45).name() for x in (50, 80)] == [SURFACE, filled]
    assert [image.pixelColor(x, 10).name() for x in (20, 80)] == [SURFACE, filled]
    curve.show_values(np.zeros(0))
    assert curve.grab().toImage().pixelColor(20, 45).name() == SURFACE
    curve.deleteLater()


@pytest.mark.gui
def test_pictures_and_curves_take_neither_clicks_nor_keys(board: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    from gui.panels.canvas import Canvas

    heard: list[Request] = []
    board.requested.connect(heard.append)
    board.draw(_snapshot())
    board.grab()
    canvases = board.findChildren(Canvas)
    assert len(canvases) == 5
    for canvas in canvases:
        under = board.childAt(canvas.mapTo(board, canvas.rect().center()))
        assert under not in (canvas, canvas.viewport())
        QTest.mouseClick(under, Qt.MouseButton.RightButton)
        assert not canvas.hasFocus()
    QTest.keyClick(board, Qt.Key.Key_Space)
    assert heard == [Request("pause")]


@pytest.mark.gui
def test_on_is_orange_off_is_blue_and_both_are_brighter_than_the_ground() -> None:
    from gui.theme import event_colours

    colours = event_colours()
    assert colours[0x00].tolist() == [0x0A, 0x0D, 0x12]
    assert colours[0xF0].tolist() == [0xFF, 0x9D, 0x45]
    assert colours[0x0F].tolist() == [0x4B, 0x9D, 0xFF]


@pytest.mark.gui
@pytest.mark.parametrize(
    ("key", "before", "asked"),
    [
        ("Key_Space", (), Request("pause")),
        ("Key_Space", (_status("paused"),), Request("resume")),
        ("Key_Space", (_status("ended", "inference"),), Request("seek", 0.0)),
        ("Key_Home", (), Request("seek", 0.0)),
        ("Key_Left", (), Request("seek", 500_000.0)),
        ("Key_Right", (), Request("seek", 1_500_000.0)),
        ("Key_Plus", (), Request("speed", 2.0)),
        ("Key_Minus", (), Request("speed", 0.5)),
        ("Key_L", (), Request("loop", 1.0)),
    ],
)
def test_keys_become_requests(board: object, key: str, before: tuple[Status, ...], asked: Request) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    heard: list[Request] = []
    board.requested.connect(heard.append)
    board.draw(_snapshot(150, *before))
    QTest.keyClick(board, getattr(Qt.Key, key))
    assert heard == [asked]


@pytest.mark.gui
def test_speed_runs_up_to_max_and_no_further(board: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    heard: list[Request] = []
    board.requested.connect(heard.append)
    fast = Status(source="demo", process="capture", state="running", speed=10.0, host_ns=0)
    flat_out = Status(source="demo", process="capture", state="running", speed=0.0, host_ns=0)
    for status in (fast, flat_out):
        board.draw(_snapshot(1, status))
        QTest.keyClick(board, Qt.Key.Key_Plus)
    QTest.keyClick(board, Qt.Key.Key_Minus)
    assert [request.value for request in heard] == [0.0, 0.0, 10.0]


@pytest.mark.gui
def test_without_a_control_address_buttons_are_off_and_say_why(board: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QPushButton

    heard: list[Request] = []
    board.requested.connect(heard.append)
    board.draw(_snapshot(report=FeedReport(can_control=False)))
    buttons = board.findChildren(QPushButton)
    assert buttons
    assert not any(button.isEnabled() for button in buttons)
    assert {button.toolTip() for button in buttons} == {"This bus announced no address for requests."}
    for key in (Qt.Key.Key_Space, Qt.Key.Key_L, Qt.Key.Key_Right):
        QTest.keyClick(board, key)
    assert heard == []


@pytest.mark.gui
def test_a_live_source_can_be_looked_at_only(board: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QPushButton, QSlider

    heard: list[Request] = []
    board.requested.connect(heard.append)
    board.draw(_snapshot(30, Status(source="demo", process="capture", state="running", host_ns=0, is_live=True)))
    widgets = [*board.findChildren(QPushButton), board.findChild(QSlider)]
    assert not any(widget.isEnabled() for widget in widgets)
    assert all("live" in widget.toolTip() for widget in widgets)
    QTest.keyClick(board, Qt.Key.Key_Right)
    assert heard == []


@pytest.mark.gui
def test_the_slider_spans_the_whole_recording(board: object) -> None:
    from PySide6.QtWidgets import QSlider

    status = Status(source="demo", process="capture", state="running", host_ns=0, duration_us=36_000_000)
    board.draw(_snapshot(30, status))
    slider = board.findChild(QSlider)
    assert (slider.value(), slider.maximum()) == (300, 36_000)


@pytest.mark.gui
def test_the_loop_button_follows_the_source_and_a_click_is_ahead_of_it(board: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QPushButton

    def status(*, is_looped: bool) -> Status:
        return Status(source="demo", process="capture", state="running", host_ns=0, is_looped=is_looped)

    button = next(button for button in board.findChildren(QPushButton) if button.isCheckable())
    board.draw(_snapshot(1, status(is_looped=True)))
    assert button.isChecked()
    heard: list[Request] = []
    board.requested.connect(heard.append)
    QTest.keyClick(board, Qt.Key.Key_L)
    assert heard == [Request("loop", 0.0)]
    board.draw(_snapshot(1, status(is_looped=True)))
    assert not button.isChecked()
    board.draw(_snapshot(1, status(is_looped=False)))
    assert not button.isChecked()
    QTest.keyClick(board, Qt.Key.Key_L)
    board.draw(_snapshot(1, status(is_looped=False), report=FeedReport(can_control=True, reply="loop: no")))
    assert not button.isChecked()


@pytest.mark.gui
def test_a_window_shows_a_feed_leaves_a_picture_and_closes(application: object, tmp_path: Path) -> None:
    feed = DemoFeed()
    picture = tmp_path / "window.png"
    assert show_feed(feed, "demo", title="test", screenshot=picture, seconds=0.2) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.gui
def test_escape_closes_the_window(application: object) -> None:
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    def press_once_it_is_there() -> None:
        if QApplication.activeWindow() is not None:
            timer.stop()
            QTest.keyClick(QApplication.activeWindow(), Qt.Key.Key_Escape)

    timer = QTimer()
    timer.timeout.connect(press_once_it_is_there)
    timer.start(5)
    assert show_feed(DemoFeed(), "demo", title="test", seconds=20) == 0


@pytest.mark.gui
def test_an_interrupt_closes_the_window_with_its_exit_code(application: object) -> None:
    import os
    import signal

    from PySide6.QtCore import QTimer

    # a shell that starts the tests in the background has them ignore interrupts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        QTimer.singleShot(50, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert show_feed(DemoFeed(), "demo", title="test", seconds=20) == 130
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.gui
def test_a_picture_that_cannot_be_written_is_an_error_that_names_it(board: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        save_picture(board, tmp_path / "nowhere" / "window.png")


@pytest.mark.gui
def test_an_address_that_others_could_reach_is_refused_before_a_window_opens() -> None:
    from gui.window import open_window

    with pytest.raises(AddressRefusedError, match=r"0\.0\.0\.0"):
        open_window("tcp://0.0.0.0:5556", seconds=0)


@pytest.mark.gui
def test_a_window_on_a_silent_bus_waits_and_leaves_no_thread(application: object, tmp_path: Path) -> None:
    from gui.window import open_window

    assert open_window(f"ipc://{tmp_path}/nobody", seconds=0.1) == 0
