"""What tests of the window share: an application, and a guard that no top-level widget outlives its test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


@pytest.fixture
def application() -> Iterator["QApplication"]:
    """The one QApplication, with our theme; the test fails when it leaves a visible or hidden top-level widget."""
    pytest.importorskip("PySide6.QtWidgets", reason="the gui extra is not installed", exc_type=ImportError)
    from PySide6.QtCore import QEvent
    from PySide6.QtWidgets import QApplication

    from gui.window import prepare_application

    running = prepare_application()
    before = set(QApplication.topLevelWidgets())
    yield running
    # deletions wait for the event loop, which a test does not run
    running.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    running.processEvents()
    left = [widget for widget in QApplication.topLevelWidgets() if widget not in before]
    assert not left, f"top-level widgets left: {left}"
