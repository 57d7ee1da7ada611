import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app import launcher
from app.config import GlobalOptions
from app.jobs import CaptureJob, Job, Places
from app.launcher import Workers, private_folder
from pipeline.schema.errors import SaccadeError, WorkerLostError

JOB = Job(GlobalOptions())


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Lets a few lines of Python stand in for app.worker."""

    def write(body):
        (tmp_path / "app").mkdir(exist_ok=True)
        (tmp_path / "app" / "__init__.py").touch()
        (tmp_path / "app" / "worker.py").write_text(body)
        monkeypatch.setattr(launcher, "_environment", lambda: {"PYTHONPATH": str(tmp_path)})

    return write


def wait_for_failure(workers):
    workers.wait_for("capture")
    with pytest.raises(SaccadeError) as caught:
        workers.check()
    return caught.value


def test_a_worker_that_was_killed_is_named_with_the_signal(stand_in):
    stand_in("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with Workers() as workers:
        workers.start("capture", JOB)
        error = wait_for_failure(workers)
    assert isinstance(error, WorkerLostError)
    assert "capture" in str(error)
    assert "SIGKILL" in str(error)
    assert error.exit_code == 1


def test_the_last_words_of_a_worker_are_repeated_with_its_exit_code(stand_in):
    stand_in("""import sys; print('{"text":"no such file","exit_code":3}'); sys.exit(3)""")
    with Workers() as workers:
        workers.start("capture", JOB)
        error = wait_for_failure(workers)
    assert (str(error), error.exit_code) == ("no such file", 3)


def test_a_worker_that_ends_early_is_lost_even_with_exit_code_zero(stand_in):
    stand_in("")
    with Workers() as workers:
        workers.start("capture", JOB)
        assert "exit code 0" in str(wait_for_failure(workers))


def test_a_worker_that_does_not_listen_is_killed(stand_in, monkeypatch):
    stand_in("import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\nsys.stdin.read()")
    monkeypatch.setattr(launcher, "_GRACE_S", 0.1)
    with Workers() as workers:
        workers.start("capture", JOB)
        assert workers._running["capture"].stdout.readline() == b"deaf\n"
        workers.stop()
        assert workers._running["capture"].returncode == -9


def test_a_missing_recording_ends_the_real_worker_with_its_sentence(tmp_path):
    with private_folder() as folder, Workers() as workers:
        workers.start("capture", Job(GlobalOptions(), capture=CaptureJob(Places(folder), str(tmp_path / "none.aedat4"))))
        error = wait_for_failure(workers)
    assert error.exit_code == 3
    assert "none.aedat4 does not exist" in str(error)


def test_the_folder_of_a_run_is_private_and_gone_afterwards():
    with private_folder() as folder:
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        Path(folder, "left").touch()
    assert not Path(folder).exists()


@pytest.mark.parametrize("n_bytes", range(74, 96))
def test_a_temporary_folder_of_any_length_has_room_for_the_sockets(monkeypatch, n_bytes):
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        long = Path(parent, "x" * (n_bytes - len(parent) - 1))
        long.mkdir()
        monkeypatch.setattr(launcher.tempfile, "gettempdir", lambda: str(long))
        with private_folder() as folder:
            for name in ("frames", "capture", "labels", "control"):
                assert Places(folder).address(name).endswith(f"/{name}")
            assert folder.startswith(str(long)) == (n_bytes <= 78)


def test_the_owner_loads_neither_torch_nor_numba_nor_qt():
    heavy = "('torch', 'numba', 'PySide6')"
    code = f"import sys, app.streaming, app.daemon, app.listener; print([name for name in {heavy} if name in sys.modules])"
    environment = launcher._environment()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "[]"
