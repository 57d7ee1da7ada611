"""Commands that show a stream as it happens: demo, replay, daemon, listen, view. Heavy imports happen inside."""

import importlib.util
import os
import sys
from dataclasses import asdict
from pathlib import Path

from app.reading import AS_IT_IS, WHOLE, Reading, Span
from app.source_options import ReadingFlags, SpanFlags


def demo(*, headless: bool = False) -> int:
    """Recognise the shipped recording: in a window, or as text where there is no screen.

    Parameters
    ----------
    headless
        Print labels instead of opening a window.
    """
    recording = Path(__file__).parents[2] / "recordings" / "demo.aedat4"
    if not recording.is_file():
        from pipeline.schema.errors import InputError

        raise InputError(f"the demo recording {recording} is missing; reinstall saccade, or replay a file of your own")
    return replay(str(recording), headless=headless)


def replay(  # noqa: PLR0913 - each is one flag of the command
    file: str,
    *,
    speed: str | None = None,
    loop: bool | None = None,
    span: SpanFlags = WHOLE,
    reading: ReadingFlags = AS_IT_IS,
    headless: bool = False,
    json: bool = False,
    network: str | None = None,
    readout: str | None = None,
    device: str | None = None,
    publish: str | None = None,
    record_to: Path | None = None,
) -> int:
    """Replay a recording through the recogniser, as if it happened now.

    Parameters
    ----------
    file
        The recording, or a source such as synthetic:gestures.
    speed
        Factor such as 0.5 or 2, or max for as fast as possible; 1 by default.
    loop
        Begin again at the end.
    headless
        Print labels instead of opening a window.
    json
        Print every label as one line of JSON; implies --headless.
    network
        Checkpoint, by path or name.
    readout
        running (a decision every bin) or window (the published network, every T bins).
    device
        Where the network runs: cpu by default, or cuda.
    publish
        Also publish on this address, such as tcp://127.0.0.1:5556.
    record_to
        Let others record over the bus, below this folder.
    """
    from app.config import Settings, load_settings, override
    from app.printer import LabelPrinter
    from app.streaming import Plan, Run, make_settings

    given = load_settings()
    tree = {
        "source": override(given.source, uri=file, speed=speed, loop=loop, **_given(span), **_given(reading)),
        "recogniser": override(given.recogniser, network=network, readout=readout, device=device),
        "publish": override(given.publish, url=publish),
        "record": override(given.record, to=None if record_to is None else str(record_to)),
    }
    settings: Settings = make_settings(tree)
    is_windowed = not headless and not json and _has_window()
    plan = Plan(settings, is_windowed=is_windowed, title=f"Saccade: {Path(file).name}")
    return Run(plan, LabelPrinter(is_json=json)).go()


def daemon(*, config: Path | None = None, record_to: Path | None = None) -> int:
    """Run as a service: publish labels on the bus and print them as JSON, until SIGTERM.

    Parameters
    ----------
    config
        TOML file with the tables source, recogniser, publish and record.
    record_to
        Let others record over the bus, below this folder.
    """
    from app.daemon import run_daemon

    return run_daemon(config, record_to)


def listen(url: str = "tcp://127.0.0.1:5556", *, json: bool = False, seconds: float | None = None) -> int:
    """Print the labels of a running Saccade, until it ends or Ctrl-C.

    Parameters
    ----------
    url
        Address on which it publishes.
    json
        Print every label and every gap as one line of JSON.
    seconds
        Stop after this time.
    """
    from app.listener import listen_to
    from app.printer import LabelPrinter

    return listen_to(url, LabelPrinter(is_json=json), seconds)


def view(url: str = "tcp://127.0.0.1:5556") -> int:
    """Open a window on a running Saccade.

    Parameters
    ----------
    url
        Address on which it publishes.
    """
    from pipeline.addresses import check_address
    from pipeline.schema.errors import MissingExtraError

    check_address(url)
    if importlib.util.find_spec("PySide6") is None:
        raise MissingExtraError("gui", "PySide6")
    from gui.window import open_window

    return open_window(url, title=f"Saccade: {url}")


def _given(flags: Span | Reading) -> dict[str, object]:
    """The flags that were given; the others leave the configuration file its word."""
    return {name: value for name, value in asdict(flags).items() if value is not None}


def _has_window() -> bool:
    """Whether a window can be shown here; says why when not."""
    if importlib.util.find_spec("PySide6") is None:
        reason = "PySide6 is not installed (pip install 'saccade[gui]')"
    elif sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        reason = "there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    else:
        return True
    print(f"saccade: no window, because {reason}; printing labels instead", file=sys.stderr)
    return False
