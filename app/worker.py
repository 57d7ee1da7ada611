"""Body of a child process: `python -m app.worker ROLE`, with its job as one JSON line on stdin.

Stdin stays open as a lifeline: when it ends, the owner is gone and so are we. Stdout carries one line at the very end, the
last words, from which the owner learns why we ended. Logs go to stderr.
"""

import logging
import os
import signal
import sys
import threading

import msgspec

from app.jobs import Job, LastWords
from app.logging import set_up_logging
from pipeline.schema.errors import SaccadeError

_LOG = logging.getLogger(__name__)
# How long a process that lost its owner may take to end by itself.
_GRACE_S = 5.0


def run_job(job: Job, stop: threading.Event) -> int:
    """Do the job until it is done or `stop` is set, and give the exit code."""
    if job.window is not None:
        from gui.window import open_window

        return open_window(job.window.url, title=job.window.title)
    from app.loading import built_without_pauses
    from app.wiring import build_capture, build_inference
    from pipeline.service import Service, run_service, signals_set

    service: Service
    with built_without_pauses():
        if job.capture is not None:
            service = build_capture(job.capture, stop)
        else:
            assert job.inference is not None, "a job without a body"
            service = build_inference(job.inference, stop)
    with signals_set(stop, signal.SIGTERM):
        run_service(service, stop)
    return 0


def main() -> int:
    """Run one worker; errors become last words and an exit code, never a traceback for the user."""
    # only the owner decides what Ctrl-C means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    role = sys.argv[1] if len(sys.argv) > 1 else "worker"
    stop = threading.Event()
    try:
        job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    except msgspec.MsgspecError as error:
        print(f"saccade {role}: no job on stdin ({error}); this program is started by saccade itself", file=sys.stderr)
        return 2
    set_up_logging(job.options, role)
    threading.Thread(target=_watch_lifeline, args=(role, stop), name="lifeline", daemon=True).start()
    try:
        return run_job(job, stop)
    except SaccadeError as error:
        return _say_last_words(str(error), error.exit_code)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the rim of the process: the unforeseen still ends in one sentence
        _LOG.debug("unforeseen error", exc_info=True)
        return _say_last_words(f"unforeseen error in {role}: {type(error).__name__}: {error} (-v shows where)", 1)


def _say_last_words(text: str, exit_code: int) -> int:
    sys.stdout.buffer.write(msgspec.json.encode(LastWords(text, exit_code)) + b"\n")
    sys.stdout.flush()
    return exit_code


def _watch_lifeline(role: str, stop: threading.Event) -> None:
    # read() on the raw descriptor: the buffered reader's lock would be held at the end of the interpreter
    while os.read(0, 4096):
        pass
    print(f"saccade {role}: the program that started me is gone; ending", file=sys.stderr)
    stop.set()
    threading.Event().wait(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
