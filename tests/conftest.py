"""Gates, leak guards and the fixtures that every test may use."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

_SHARED_DATA = Path(os.environ.get("SACCADE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
_SHARED_MODELS = Path(os.environ.get("SACCADE_SHARED_MODELS", Path(__file__).parents[2] / "shared" / "models"))


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory of their own for the tests and their children, so that they neither see nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings that are not ours to commit."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real recordings at {_SHARED_DATA} (set SACCADE_SHARED_DATA)")
    return _SHARED_DATA


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of golden vectors."""
    if not _SHARED_MODELS.is_dir():
        pytest.skip(f"no folder of golden vectors at {_SHARED_MODELS} (set SACCADE_SHARED_MODELS)")
    return _SHARED_MODELS


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or a socket behind."""
    threads = set(threading.enumerate())
    me = psutil.Process()
    children = _children_of(me)
    sockets = len(me.net_connections())
    yield
    leaked = [t for t in threading.enumerate() if t not in threads and t.is_alive() and not _is_library_thread(t)]
    assert not leaked, f"threads left running: {leaked}"
    left = [c for c in _children_of(me) - children if c.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"child processes left running: {left}"
    if len(me.net_connections()) > sockets:
        gc.collect()
    assert len(me.net_connections()) <= sockets, "sockets left open"


def _children_of(me: psutil.Process) -> set[psutil.Process]:
    """Every process below this one; asks the system for all its processes only where this one has any."""
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # looks without taking the end of a child from others
        except ChildProcessError:
            return set()
    return set(me.children(recursive=True))


def _is_library_thread(thread: threading.Thread) -> bool:
    # numba, hypothesis and pytest-timeout keep daemon threads of their own for the life of the process
    return thread.name.startswith(("numba", "hypothesis", "pytest_timeout"))
