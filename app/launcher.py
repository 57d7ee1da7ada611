"""The owner of the processes: starts them, watches them, ends them. Nothing outlives it; it loads no torch and no numba."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

import msgspec

from app.jobs import Job, LastWords
from pipeline.schema.errors import SaccadeError, WorkerLostError

_LOG = logging.getLogger(__name__)
# A worker that was told to end gets this long before it is killed; it needs a linger of one second at most.
_GRACE_S = 5.0
# Longest temporary folder for which all sockets of a run inside (`/saccade-xxxxxxxx/control`) stay within 103 bytes.
_MAX_FOLDER_BYTES = 78
_ROOT = Path(__file__).parents[1]


class Workers:
    """The child processes of one run; used in a `with` block, at whose end none of them is left."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str, job: Job) -> None:
        """Start one worker and give it its job."""
        # -P: a folder called `app` where the user happens to stand must not be taken for ours
        command = [sys.executable, "-P", "-m", "app.worker", role]
        # a session of its own: Ctrl-C in the terminal is for the owner alone, who tells the workers
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), start_new_session=True
        )
        self._running[role] = process
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; `check` finds out why
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()

    def check(self) -> dict[str, int]:
        """Exit codes of the workers that ended well; an error with the sentence and exit code of one that did not."""
        ended = {role: process.returncode for role, process in self._running.items() if process.poll() is not None}
        failed = {role: code for role, code in ended.items() if code != 0 or role != "window"}
        # one that says why it ended is the cause, the others its victims
        for role in sorted(failed, key=lambda role: failed[role] < 0):
            raise self._error_of(role, failed[role])
        return ended

    def stop(self, *, keep: str = "") -> None:
        """End all workers but `keep`, politely first."""
        chosen = [process for role, process in self._running.items() if role != keep]
        for process in chosen:
            if process.poll() is None:
                process.terminate()
        deadline = monotonic() + _GRACE_S
        for process in chosen:
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                _LOG.warning("process %d did not end in %g s and is killed", process.pid, _GRACE_S)
                process.kill()
                process.wait()

    def wait_for(self, role: str) -> int:
        """Wait until this worker has ended and give its exit code."""
        return self._running[role].wait()

    def __contains__(self, role: str) -> bool:
        return role in self._running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for process in self._running.values():
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def _error_of(self, role: str, code: int) -> SaccadeError:
        process = self._running[role]
        words = process.stdout.read() if process.stdout is not None else b""
        try:
            last = msgspec.json.decode(words.splitlines()[-1], type=LastWords)
        except (IndexError, msgspec.MsgspecError):
            cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return WorkerLostError(f"the {role} process {cause} before its work was done")
        error = SaccadeError(last.text)
        error.exit_code = last.exit_code
        return error


@contextlib.contextmanager
def private_folder() -> Iterator[str]:
    """Make a folder that only this user can enter, for the sockets of one run; it is gone afterwards."""
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="saccade-", dir=parent if len(parent.encode()) <= _MAX_FOLDER_BYTES else "/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """The environment of a worker: as ours, with this very checkout to import from when it is not installed.

    One thread a worker unless the user chose otherwise: one bin is too little work to share, and on a busy machine threads wait
    for each other (a step of the shipped network with both cores busy: 14 ms with one thread, 250 ms with two).
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    if str(_ROOT) not in sysconfig.get_paths().values():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), environment.get("PYTHONPATH")]))
    return environment
